/* The sieve of Eratosthenes over bytes: stores with a stride, a short inner loop. */
#include "bench.h"

enum { N = 2048 };
static uint8_t composite[N];

void prepare(void) {}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (uint32_t i = 2; i < N; i++) {
        if (composite[i]) continue;
        checksum = checksum * 3 + i;
        for (uint32_t j = i * i; j < N; j += i) composite[j] = 1;
    }
    return checksum;
}
