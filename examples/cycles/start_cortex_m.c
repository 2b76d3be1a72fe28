/* Start and end of a program on a Cortex-M: vector table, .data, .bss, main, and exit by semihosting. */
#include <stdint.h>

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_top[];
int main(void);

static void __attribute__((noreturn)) leave(uint32_t status) {
    const uint32_t arguments[2] = {0x20026, status}; /* SYS_EXIT_EXTENDED, ADP_Stopped_ApplicationExit */
    register uint32_t r0 __asm__("r0") = 0x20;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    for (;;) {
    }
}

void reset(void) {
    for (uint32_t *to = data_start, *from = data_load; to < data_end;) *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
    leave((uint32_t)main());
}

void fault(void) { leave(3); }

__attribute__((section(".start"), used)) const uintptr_t vectors[16] = {
    (uintptr_t)stack_top, (uintptr_t)reset, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
};
