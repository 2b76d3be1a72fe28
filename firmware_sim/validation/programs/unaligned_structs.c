/* A log of packed records, read field by field at addresses that follow no alignment, by the instructions themselves. */
#include "bench.h"

enum { RECORD = 11, RECORDS = 40 };
static uint8_t log[RECORD * RECORDS] __attribute__((aligned(4)));

void prepare(void) {
    uint32_t random = 31;
    for (int i = 0; i < RECORD * RECORDS; i++) log[i] = (uint8_t)next_random(&random);
}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (uint8_t *at = log; at < log + RECORD * RECORDS; at += RECORD) {
        uint32_t time, value, flags;
        __asm__ volatile("lw %0, 0(%3)\n\tlhu %1, 4(%3)\n\tlbu %2, 10(%3)" : "=&r"(time), "=&r"(value), "=&r"(flags) : "r"(at) : "memory");
        checksum = (checksum ^ time) * 3 + value;
        if (flags & 1) __asm__ volatile("sw %0, 6(%1)" ::"r"(checksum), "r"(at) : "memory");
        if (flags & 2) __asm__ volatile("sh %0, 5(%1)\n\tlw %0, 3(%1)" : "+r"(checksum) : "r"(at) : "memory");
    }
    return checksum;
}
