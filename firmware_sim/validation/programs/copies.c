/* Blocks moved forwards, backwards and byte by byte, and filled: stores and loads in a row. */
#include "bench.h"

static uint32_t from[256], to[256];

void prepare(void) {
    uint32_t random = 11;
    for (int i = 0; i < 256; i++) from[i] = next_random(&random);
}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int repeat = 0; repeat < 3; repeat++) {
        __builtin_memcpy(to, from, sizeof to);
        for (int i = 255; i > 0; i--) to[i] = to[i - 1] + 1;
        volatile uint8_t *bytes = (volatile uint8_t *)to;
        for (int i = 0; i < 300; i++) bytes[i + 400] = bytes[i];
        __builtin_memset(from + 8 * repeat, repeat, 64);
        for (int i = 0; i < 256; i++) checksum = checksum * 3 + to[i];
    }
    return checksum;
}
