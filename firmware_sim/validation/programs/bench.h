/* What a program of the validation offers: prepare() once, then program() inside the measured region. program() returns a checksum, which
 * the emulator and the RTL must agree on. */
#ifndef REALM_BENCH_H
#define REALM_BENCH_H

#include <stdint.h>

void prepare(void);
uint32_t program(void);

/* Marsaglia's xorshift32: data that no compiler foresees. */
static inline uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

#endif
