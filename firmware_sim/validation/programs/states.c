/* A tokenizer as a state machine: a switch with many cases (a jump table), byte loads, unpredictable order. */
#include "bench.h"

static char text[600];

void prepare(void) {
    uint32_t random = 24;
    static const char letters[] = "abcx0129 +-*/()\"\n_.,";
    for (int i = 0; i < 599; i++) text[i] = letters[(next_random(&random) >> 8) % 20];
}

uint32_t program(void) {
    uint32_t counts[8] = {0}, state = 0, checksum = 0;
    for (const char *at = text; *at; at++) {
        switch (*at) {
        case ' ': state = 0; break;
        case '\n': state = 0, checksum ^= counts[0]; break;
        case '"': state = state == 5 ? 0 : 5; break;
        case '(': checksum += state << 3; state = 1; break;
        case ')': checksum ^= 0x55u << state; state = 2; break;
        case '+': counts[1]++; state = 3; break;
        case '-': counts[2] += 3; state = 3; break;
        case '*': counts[3] ^= checksum; state = 3; break;
        case '/': counts[4] = counts[3] + 1; state = 4; break;
        case '.': state = state == 6 ? 7 : 4; break;
        case ',': checksum = checksum << 5 | checksum >> 27; break;
        case '_': state = 2; checksum += 7; break;
        default: state = *at >= 'a' ? 2 : 6; checksum = checksum * 10 + (uint32_t)*at; break;
        }
        counts[state]++;
    }
    for (int i = 0; i < 8; i++) checksum = checksum * 7 + counts[i];
    return checksum;
}
