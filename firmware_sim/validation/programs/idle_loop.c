/* Naps behind work that grows and shrinks; every other time the timer has already fired, and WFI finds its interrupt waiting. */
#include "bench.h"

#define MTIME (*(volatile uint32_t *)0x0200BFF8u)
#define MTIMECMP ((volatile uint32_t *)0x02004000u)

static volatile uint32_t woken;
static uint32_t history[16];

__attribute__((interrupt("machine"), aligned(4))) static void on_timer(void) {
    MTIMECMP[0] = UINT32_MAX;
    history[woken & 15] += woken;
    woken = woken + 1;
}

__attribute__((naked, aligned(256))) static void vectors(void) {
    __asm__ volatile(".option push\n\t.option norvc\n\t.option norelax\n\t"
                     "j board_fault\n\t.rept 6\n\tj board_fault\n\t.endr\n\tj %0\n\t.option pop" ::"i"(on_timer));
}

void prepare(void) {
    MTIMECMP[0] = UINT32_MAX;
    MTIMECMP[1] = 0;
    __asm__ volatile("csrw mtvec, %0\n\tcsrw mie, %1" ::"r"((uintptr_t)vectors | 1), "r"(1u << 7));
}

uint32_t program(void) {
    uint32_t checksum = 1;
    for (uint32_t nap = 0; nap < 20; nap++) {
        for (uint32_t i = 0; i < 20 + 40 * (nap & 3); i++) checksum = (checksum ^ i) * 16777619u >> 1;
        MTIMECMP[0] = nap & 1 ? 0 : MTIME + 3000;
        __asm__ volatile("nop\n\tnop\n\tnop\n\twfi\n\tcsrsi mstatus, 8\n\tnop\n\tcsrci mstatus, 8" ::: "memory");
        checksum += woken;
    }
    for (int i = 0; i < 16; i++) checksum = checksum * 3 + history[i];
    return checksum;
}
