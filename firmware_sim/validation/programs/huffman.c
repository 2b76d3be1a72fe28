/* Decoding a bit stream through a binary tree: a shift, a load and a branch for every bit, each waiting for the one before. */
#include "bench.h"

struct node {
    uint8_t child[2]; /* above 127: a symbol */
};
static const struct node tree[8] = {{{1, 2}}, {{128, 3}}, {{4, 5}}, {{129, 130}}, {{131, 6}}, {{132, 7}}, {{133, 134}}, {{135, 136}}};
static uint32_t stream[64];

void prepare(void) {
    uint32_t random = 26;
    for (int i = 0; i < 64; i++) stream[i] = next_random(&random);
}

uint32_t program(void) {
    uint32_t checksum = 0, node = 0;
    for (uint32_t bit = 0; bit < 64 * 32; bit++) {
        node = tree[node].child[stream[bit >> 5] >> (bit & 31) & 1];
        if (node > 127) {
            checksum = checksum * 9 + node;
            node = 0;
        }
    }
    return checksum;
}
