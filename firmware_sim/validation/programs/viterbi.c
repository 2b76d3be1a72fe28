/* A Viterbi decoder of rate 1/2 and constraint length 5: add, compare, select; a trace back through a table of bits. */
#include "bench.h"

enum { STATES = 16, BITS = 96 };

static uint8_t received[BITS][2];
static uint16_t survivors[BITS];

static uint32_t parity(uint32_t x) {
    x ^= x >> 4;
    return 0x6996u >> (x & 15) & 1;
}

void prepare(void) {
    uint32_t random = 77, shift = 0;
    for (int i = 0; i < BITS; i++) {
        shift = (shift << 1 | (next_random(&random) >> 9 & 1)) & 31;
        received[i][0] = (uint8_t)parity(shift & 0x13);
        received[i][1] = (uint8_t)(parity(shift & 0x1d) ^ (next_random(&random) >> 20 < 200));
    }
}

uint32_t program(void) {
    uint32_t metrics[STATES] = {0}, next[STATES], best = 0, checksum = 0;
    for (int s = 1; s < STATES; s++) metrics[s] = 64;
    for (int i = 0; i < BITS; i++) {
        uint16_t from = 0;
        for (uint32_t s = 0; s < STATES; s++) {
            uint32_t cost[2];
            for (uint32_t old = 0; old < 2; old++) {
                const uint32_t before = s >> 1 | old << 3, bits = (before << 1 | (s & 1)) & 31;
                cost[old] = metrics[before] + (parity(bits & 0x13) != received[i][0]) + (parity(bits & 0x1d) != received[i][1]);
            }
            next[s] = cost[1] < cost[0] ? cost[1] : cost[0];
            from = (uint16_t)(from | (cost[1] < cost[0]) << s);
        }
        for (int s = 0; s < STATES; s++) metrics[s] = next[s];
        survivors[i] = from;
    }
    for (uint32_t s = 1; s < STATES; s++) best = metrics[s] < metrics[best] ? s : best;
    for (int i = BITS - 1; i >= 0; i--) {
        checksum = checksum * 2 + (best & 1) + (checksum >> 31);
        best = best >> 1 | (survivors[i] >> best & 1u) << 3;
    }
    return checksum ^ metrics[best];
}
