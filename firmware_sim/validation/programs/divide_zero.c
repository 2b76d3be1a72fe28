/* Division and remainder by zero and of the most negative number by -1: no trap on RISC-V, and a time of its own. */
#include "bench.h"

static volatile int32_t zero, minus_one = -1, least = INT32_MIN;

void prepare(void) {}

#define BINARY(name, instruction)                                                     \
    static inline uint32_t name(uint32_t a, uint32_t b) {                             \
        uint32_t value;                                                               \
        __asm__ volatile(instruction " %0, %1, %2" : "=r"(value) : "r"(a), "r"(b)); \
        return value;                                                                 \
    }
BINARY(divide, "div")
BINARY(divide_unsigned, "divu")
BINARY(remainder, "rem")
BINARY(remainder_unsigned, "remu")

uint32_t program(void) {
    uint32_t checksum = 0;
    for (uint32_t i = 0; i < 100; i++) {
        const uint32_t a = i * 2654435761u, none = (uint32_t)zero;
        checksum = checksum * 3 + divide(a, none) + divide_unsigned(a, none) + remainder(a, none) + remainder_unsigned(a, none);
        checksum += divide((uint32_t)least, (uint32_t)minus_one) ^ remainder((uint32_t)least, (uint32_t)minus_one);
    }
    return checksum;
}
