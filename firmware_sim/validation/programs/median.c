/* A running median of nine by a sorting network: compare and exchange without loops, many branches that go either way. */
#include "bench.h"

static int16_t samples[160];

void prepare(void) {
    uint32_t random = 25;
    for (int i = 0; i < 160; i++) samples[i] = (int16_t)next_random(&random);
}

static inline void order(int16_t *a, int16_t *b) {
    if (*a > *b) {
        const int16_t t = *a;
        *a = *b;
        *b = t;
    }
}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int i = 0; i + 9 <= 160; i++) {
        int16_t p[9];
        for (int k = 0; k < 9; k++) p[k] = samples[i + k];
        static const uint8_t pairs[19][2] = {{1, 2}, {4, 5}, {7, 8}, {0, 1}, {3, 4}, {6, 7}, {1, 2}, {4, 5}, {7, 8}, {0, 3},
                                             {5, 8}, {4, 7}, {3, 6}, {1, 4}, {2, 5}, {4, 7}, {4, 2}, {6, 4}, {4, 2}};
        for (int k = 0; k < 19; k++) order(&p[pairs[k][0]], &p[pairs[k][1]]);
        checksum = checksum * 13 + (uint16_t)p[4];
    }
    return checksum;
}
