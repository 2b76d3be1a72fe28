/* Base64 there and back: bytes, shifts, a table and early exits; the words come in at addresses that are no multiples of four. */
#include "bench.h"

enum { BYTES = 301 };

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static uint8_t plain[BYTES + 3], back[BYTES + 3];
static char text[BYTES * 2];

void prepare(void) {
    uint32_t random = 13;
    for (int i = 0; i < BYTES; i++) plain[i] = (uint8_t)(next_random(&random) >> 16);
}

static int value(char letter) {
    if (letter >= 'A' && letter <= 'Z') return letter - 'A';
    if (letter >= 'a' && letter <= 'z') return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9') return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

uint32_t program(void) {
    uint32_t checksum = 0, length = 0, bits = 0, n = 0, out = 0;
    for (uint32_t i = 0; i < BYTES; i += 3) {
        const uint32_t word = (uint32_t)plain[i] << 16 | (uint32_t)plain[i + 1] << 8 | plain[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) text[length++] = letters[word >> shift & 63];
    }
    text[length - 1] = '=';
    for (const char *at = text; *at != '='; at++) {
        const int six = value(*at);
        if (six < 0) break;
        bits = bits << 6 | (uint32_t)six;
        n += 6;
        if (n < 8) continue;
        n -= 8;
        back[out++] = (uint8_t)(bits >> n);
    }
    for (uint32_t i = 0; i < out; i++) checksum = (checksum << 5 | checksum >> 27) ^ back[i] ^ (back[i] != plain[i]) << 16;
    return checksum + out;
}
