/* Words and halfwords at every offset, loaded and stored by single instructions: accesses that cross a word boundary take two transfers. */
#include "bench.h"

static uint8_t bytes[512] __attribute__((aligned(4)));

void prepare(void) {
    uint32_t random = 7;
    for (int i = 0; i < 512; i++) bytes[i] = (uint8_t)next_random(&random);
}

static inline uint32_t load_word(const uint8_t *at) {
    uint32_t value;
    __asm__ volatile("lw %0, 0(%1)" : "=r"(value) : "r"(at) : "memory");
    return value;
}

static inline int32_t load_half(const uint8_t *at) {
    int32_t value;
    __asm__ volatile("lh %0, 0(%1)" : "=r"(value) : "r"(at) : "memory");
    return value;
}

static inline void store_word(uint8_t *at, uint32_t value) { __asm__ volatile("sw %0, 0(%1)" ::"r"(value), "r"(at) : "memory"); }
static inline void store_half(uint8_t *at, uint32_t value) { __asm__ volatile("sh %0, 0(%1)" ::"r"(value), "r"(at) : "memory"); }

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int offset = 0; offset < 400; offset++) {
        checksum += load_word(bytes + offset);
        checksum ^= (uint32_t)load_half(bytes + offset + 1) << (offset & 7);
        store_word(bytes + (offset * 7 & 255), checksum);
        store_half(bytes + 256 + (offset * 3 & 127), checksum >> 8);
        checksum += load_word(bytes + offset + 3) >> 1;
    }
    return checksum;
}
