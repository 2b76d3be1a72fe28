/* UART and test device of QEMU's virt machine (hw/riscv/virt.c), and the measured region's marker. */
#include "bench_board.h"
#include "board.h"

#define UART (*(volatile uint8_t *)0x10000000u)
#define TEST (*(volatile uint32_t *)0x00100000u)

__attribute__((noinline, aligned(4))) void realm_region_program(void) { __asm__ volatile(""); }

static void __attribute__((noreturn)) leave(uint32_t word) {
    TEST = word;
    for (;;) {
    }
}

void bench_word(uint32_t word) {
    for (int shift = 28; shift >= 0; shift -= 4) UART = (uint8_t) "0123456789abcdef"[word >> shift & 15];
    UART = '\n';
}

void bench_leave(void) { leave(0x5555); }   /* FINISHER_PASS */
void board_fault(void) { leave(0x33333); }  /* FINISHER_FAIL with status 3 */
