/* Quicksort by recursion with a comparison through a function pointer: calls, returns and spilled registers. */
#include "bench.h"

enum { N = 160 };
static uint32_t numbers[N];
static int (*volatile before)(uint32_t, uint32_t);

static int by_reversed_bytes(uint32_t a, uint32_t b) {
    return (a << 24 | (a << 8 & 0xFF0000) | (a >> 8 & 0xFF00) | a >> 24) < (b << 24 | (b << 8 & 0xFF0000) | (b >> 8 & 0xFF00) | b >> 24);
}

void prepare(void) {
    uint32_t random = 29;
    for (int i = 0; i < N; i++) numbers[i] = next_random(&random);
    before = by_reversed_bytes;
}

static void sort(uint32_t *from, uint32_t *to) { /* [from, to] */
    while (from < to) {
        uint32_t *low = from, *high = to;
        const uint32_t pivot = from[(to - from) / 2];
        while (low <= high) {
            while (before(*low, pivot)) low++;
            while (before(pivot, *high)) high--;
            if (low <= high) {
                const uint32_t t = *low;
                *low++ = *high;
                *high-- = t;
            }
        }
        sort(from, high);
        from = low;
    }
}

uint32_t program(void) {
    sort(numbers, numbers + N - 1);
    uint32_t checksum = 0;
    for (int i = 0; i < N; i++) checksum = checksum * 3 + numbers[i];
    return checksum;
}
