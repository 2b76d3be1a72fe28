/* Nearest neighbours: distances of int16 vectors in 64 bits, the three best kept in order. */
#include "bench.h"

enum { POINTS = 40, DIMS = 12, KEPT = 3 };

static int16_t points[POINTS][DIMS], wanted[DIMS];

void prepare(void) {
    uint32_t random = 5;
    for (int i = 0; i < POINTS * DIMS; i++) points[i / DIMS][i % DIMS] = (int16_t)(next_random(&random) >> 15);
    for (int i = 0; i < DIMS; i++) wanted[i] = (int16_t)(next_random(&random) >> 16);
}

static __attribute__((noinline)) uint64_t distance(const int16_t *a, const int16_t *b) {
    uint64_t total = 0;
    for (int i = 0; i < DIMS; i++) {
        const int64_t d = a[i] - b[i];
        total += (uint64_t)(d * d);
    }
    return total;
}

uint32_t program(void) {
    uint64_t best[KEPT] = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    uint32_t who[KEPT] = {0};
    for (uint32_t i = 0; i < POINTS; i++) {
        const uint64_t d = distance(points[i], wanted);
        int at = KEPT;
        while (at > 0 && d < best[at - 1]) at--;
        for (int k = KEPT - 1; k > at; k--) best[k] = best[k - 1], who[k] = who[k - 1];
        if (at < KEPT) best[at] = d, who[at] = i;
    }
    return who[0] * 1600 + who[1] * 40 + who[2] + (uint32_t)(best[0] ^ best[2] >> 32);
}
