/* 64-bit multiplication, shifts and comparison: high multiplies of each sign, carries, compiler-rt's helpers. */
#include "bench.h"

static int64_t numbers[32];

void prepare(void) {
    uint32_t random = 10;
    for (int i = 0; i < 32; i++) numbers[i] = (int64_t)((uint64_t)next_random(&random) << 32 | next_random(&random)) >> i;
}

uint32_t program(void) {
    uint64_t sum = 0;
    for (int i = 0; i < 32; i++) {
        for (int j = 0; j < 32; j++) {
            const int64_t a = numbers[i], b = numbers[j];
            sum += (uint64_t)a * (uint64_t)b;
            sum ^= (uint64_t)(((int64_t)(int32_t)a * (int32_t)b) >> 31) + (uint64_t)(uint32_t)a * (uint32_t)b;
            sum = a < b ? sum << (i & 31) : sum >> (j & 7);
            sum += (uint64_t)(a >> (j & 31));
        }
    }
    return (uint32_t)(sum >> 32 ^ sum);
}
