/* Signed and unsigned division and remainder by values of every length: data-dependent time where the divider stops early. */
#include "bench.h"

static uint32_t numbers[64];

void prepare(void) {
    uint32_t random = 2;
    for (int i = 0; i < 64; i++) numbers[i] = (next_random(&random) >> i % 31) | 1;
}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j < 8; j++) {
            const uint32_t a = numbers[i] * 2654435761u, b = numbers[(i + 7 * j) & 63];
            checksum += a / b + (a % b) * 3 + (uint32_t)((int32_t)a / -(int32_t)(b >> 1 | 1));
        }
    }
    return checksum;
}
