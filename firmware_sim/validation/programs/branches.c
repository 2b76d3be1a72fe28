/* The Collatz sequence and a bit count: taken and not taken branches in an order that follows the data. */
#include "bench.h"

static uint32_t first;

void prepare(void) { first = 27; }

uint32_t program(void) {
    uint32_t checksum = 0;
    for (uint32_t start = first; start < first + 40; start++) {
        uint32_t n = start, steps = 0;
        while (n != 1) {
            n = n & 1 ? 3 * n + 1 : n >> 1;
            steps++;
        }
        for (uint32_t bits = start * 2654435761u; bits; bits &= bits - 1) steps++;
        checksum = checksum * 5 + steps;
    }
    return checksum;
}
