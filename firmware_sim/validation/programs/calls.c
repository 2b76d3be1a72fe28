/* Recursion and function pointers: calls, returns, indirect jumps right behind the load of their target. */
#include "bench.h"

static uint32_t add(uint32_t a, uint32_t b) { return a + b; }
static uint32_t mix(uint32_t a, uint32_t b) { return (a ^ b) * 9; }
static uint32_t turn(uint32_t a, uint32_t b) { return (a << 3 | a >> 29) - b; }
static uint32_t (*volatile table[4])(uint32_t, uint32_t);

void prepare(void) {
    table[0] = add;
    table[1] = mix;
    table[2] = turn;
    table[3] = mix;
}

__attribute__((noinline)) static uint32_t ackermann(uint32_t m, uint32_t n) {
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

uint32_t program(void) {
    uint32_t checksum = ackermann(2, 9);
    for (uint32_t i = 0; i < 600; i++) checksum = table[(checksum ^ i) & 3](checksum, i);
    return checksum;
}
