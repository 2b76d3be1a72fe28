/* The rounds of SHA-256 (FIPS 180-4) over four blocks: rotates, long dependences, more live values than registers. */
#include "bench.h"

static uint32_t constants[64], message[64];

void prepare(void) { /* the constants are random: what is measured is the rounds, not the digest */
    uint32_t random = 23;
    for (int i = 0; i < 64; i++) constants[i] = next_random(&random);
    for (int i = 0; i < 64; i++) message[i] = next_random(&random);
}

static inline uint32_t rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

uint32_t program(void) {
    uint32_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[64];
    for (int block = 0; block < 4; block++) {
        for (int i = 0; i < 16; i++) w[i] = message[block * 16 + i];
        for (int i = 16; i < 64; i++) {
            const uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
        }
        uint32_t v[8];
        for (int i = 0; i < 8; i++) v[i] = h[i];
        for (int i = 0; i < 64; i++) {
            const uint32_t e = v[4], a = v[0];
            const uint32_t t1 = v[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + constants[i] + w[i];
            const uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
            for (int k = 7; k > 0; k--) v[k] = v[k - 1];
            v[4] += t1;
            v[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++) h[i] += v[i];
    }
    return h[0] ^ h[1] ^ h[2] ^ h[3] ^ h[4] ^ h[5] ^ h[6] ^ h[7];
}
