/* An integer softmax without division: exponentials by a table and a shift, a reciprocal by Newton's method in Q30. */
#include "bench.h"

enum { N = 24, ROWS = 12 };
static int8_t scores[ROWS][N];
static uint16_t powers[32];

void prepare(void) {
    uint32_t random = 27, value = 65535;
    for (int i = 0; i < 32; i++) {
        powers[i] = (uint16_t)value;
        value = value * 64129u >> 16;
    }
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < N; i++) scores[r][i] = (int8_t)next_random(&random);
}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int r = 0; r < ROWS; r++) {
        int32_t most = -128;
        for (int i = 0; i < N; i++)
            if (scores[r][i] > most) most = scores[r][i];
        uint32_t weights[N], sum = 0;
        for (int i = 0; i < N; i++) {
            const uint32_t below = (uint32_t)(most - scores[r][i]);
            weights[i] = (uint32_t)powers[below & 31] >> (below >> 5);
            sum += weights[i];
        }
        int shift = 0;
        while (sum << shift < 0x80000000u) shift++;
        const uint32_t scaled = sum << shift;
        uint32_t inverse = 0xFFFFFFFFu - scaled + 1;
        for (int step = 0; step < 3; step++) {
            const uint32_t product = (uint32_t)(((uint64_t)inverse * scaled) >> 32);
            inverse = (uint32_t)(((uint64_t)inverse * (0u - product)) >> 31);
        }
        for (int i = 0; i < N; i++) checksum = checksum * 5 + (uint32_t)(((uint64_t)weights[i] * inverse) >> 40);
    }
    return checksum;
}
