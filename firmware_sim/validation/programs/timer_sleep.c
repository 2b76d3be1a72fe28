/* The main loop of an implant: work, then sleep until the timer's interrupt. Interrupts stay masked until the core has woken, so that the
 * path is the same wherever the timer runs at another speed. */
#include "bench.h"

#define MTIME (*(volatile uint32_t *)0x0200BFF8u)
#define MTIMECMP ((volatile uint32_t *)0x02004000u)

enum { PERIOD = 2000, BLOCKS = 24, SAMPLES = 32 }; /* in ticks of mtime */

static volatile uint32_t ticks;
static int32_t states[SAMPLES];

__attribute__((interrupt("machine"), aligned(4))) static void on_timer(void) {
    MTIMECMP[0] = UINT32_MAX; /* the upper word stays zero: no run lasts 2^32 ticks */
    ticks = ticks + 1;
}

/* Vectored (Ibex knows no other mode): entry 7 is the machine timer's. */
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
    uint32_t checksum = 0;
    for (uint32_t block = 0; block < BLOCKS; block++) {
        for (int i = 0; i < SAMPLES; i++) {
            states[i] += (int32_t)(block * 977 + (uint32_t)i * 31) - (states[i] >> 3);
            checksum = checksum * 7 + (uint32_t)states[i];
        }
        MTIMECMP[0] = MTIME + PERIOD;
        __asm__ volatile("wfi\n\tcsrsi mstatus, 8\n\tcsrci mstatus, 8" ::: "memory"); /* wake, let the interrupt in, mask it again */
        checksum += ticks;
    }
    return checksum;
}
