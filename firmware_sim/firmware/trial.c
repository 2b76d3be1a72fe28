/* Runs instructions whose number is known: the counting plugin has to find it, or cannot be used with this emulator (emulator.py). */
#include "board.h"
#include "regions.h"
#include "semihosting.h"

#if defined(__arm__)
#define DEVICE 0xE000ED00u /* CPUID of every Cortex-M */
#else
#define DEVICE 0x0200BFF8u /* mtime of QEMU's virt machine */
#endif

/* Three instructions a round, and the return; the first reaches a device, where newer emulators leave a block before its end. */
__attribute__((naked, noinline)) void realm_trial_loop(uint32_t rounds, uint32_t device) {
#if defined(__arm__)
    __asm__("0: ldr r2, [r1]\n\tsubs r0, #1\n\tbne 0b\n\tbx lr");
#else
    __asm__("0: lw a2, 0(a1)\n\taddi a0, a0, -1\n\tbnez a0, 0b\n\tret");
#endif
}

static void __attribute__((noreturn)) leave(uint32_t status) {
    const uint32_t arguments[2] = {APPLICATION_EXIT, status};
    semihosting(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

int main(void) {
    realm_region_decoder();
    realm_trial_loop(REALM_TRIAL_ROUNDS, DEVICE);
    realm_region_outside();
    leave(0);
}

void board_fault(void) { leave(3); }
