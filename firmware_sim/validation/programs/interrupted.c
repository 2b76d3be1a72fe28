/* Interrupts in the middle of work: a timer fires once in each round of a computation, each time a few cycles later in it, so that it meets
 * loads, stores, multiplications, branches and calls. What is computed does not depend on where. */
#include "bench.h"

#define MTIME (*(volatile uint32_t *)0x0200BFF8u)
#define MTIMECMP ((volatile uint32_t *)0x02004000u)

enum { ROUNDS = 96, FIRST = 5, STEP = 3, VALUES = 64 }; /* FIRST and STEP in ticks of mtime */

static volatile uint32_t fired;
static uint32_t log_of[8];
static int32_t values[VALUES];

__attribute__((interrupt("machine"), aligned(4))) static void on_timer(void) {
    MTIMECMP[0] = UINT32_MAX; /* the upper word stays zero: no run lasts 2^32 ticks */
    log_of[fired & 7] += fired;
    fired = fired + 1;
}

/* Vectored (Ibex knows no other mode): entry 7 is the machine timer's. */
__attribute__((naked, aligned(256))) static void vectors(void) {
    __asm__ volatile(".option push\n\t.option norvc\n\t.option norelax\n\t"
                     "j board_fault\n\t.rept 6\n\tj board_fault\n\t.endr\n\tj %0\n\t.option pop" ::"i"(on_timer));
}

void prepare(void) {
    uint32_t random = 31;
    MTIMECMP[0] = UINT32_MAX;
    MTIMECMP[1] = 0;
    for (int i = 0; i < VALUES; i++) values[i] = (int32_t)(next_random(&random) >> 12);
    __asm__ volatile("csrw mtvec, %0\n\tcsrw mie, %1" ::"r"((uintptr_t)vectors | 1), "r"(1u << 7));
}

static __attribute__((noinline)) int32_t clipped(int32_t x) { return x > 900000 ? 900000 : x < -900000 ? -900000 : x; }

uint32_t program(void) {
    uint32_t checksum = 0;
    __asm__ volatile("csrsi mstatus, 8");
    for (uint32_t round = 0; round < ROUNDS; round++) {
        MTIMECMP[0] = MTIME + FIRST + STEP * round;
        for (int i = 1; i < VALUES; i++) {
            values[i] = clipped(values[i] + ((values[i - 1] * (int32_t)(round + 3)) >> 6) - (values[i] >> 2));
            if (values[i] & 1) checksum += (uint32_t)values[i];
            else checksum = checksum << 1 | checksum >> 31;
        }
    }
    __asm__ volatile("csrci mstatus, 8");
    for (int i = 0; i < 8; i++) checksum = checksum * 3 + log_of[i];
    return checksum + fired;
}
