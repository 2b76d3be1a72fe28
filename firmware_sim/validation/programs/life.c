/* Conway's game of life on a torus of 32 x 32 bits: carries of a full adder a row, shifts and logic in long straight code. */
#include "bench.h"

enum { ROWS = 32, GENERATIONS = 12 };

static uint32_t board[ROWS], after[ROWS];

void prepare(void) {
    uint32_t random = 8;
    for (int i = 0; i < ROWS; i++) board[i] = next_random(&random) & next_random(&random);
}

static inline uint32_t left(uint32_t row) { return row << 1 | row >> 31; }
static inline uint32_t right(uint32_t row) { return row >> 1 | row << 31; }

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int generation = 0; generation < GENERATIONS; generation++) {
        for (int y = 0; y < ROWS; y++) {
            const uint32_t up = board[(y + 31) & 31], here = board[y], down = board[(y + 1) & 31];
            const uint32_t neighbours[8] = {left(up), up, right(up), left(here), right(here), left(down), down, right(down)};
            uint32_t ones = 0, twos = 0, fours = 0;
            for (int i = 0; i < 8; i++) {
                const uint32_t carry = ones & neighbours[i], more = twos & carry;
                ones ^= neighbours[i];
                twos ^= carry;
                fours |= more;
            }
            after[y] = twos & ~fours & (ones | here);
        }
        for (int y = 0; y < ROWS; y++) {
            board[y] = after[y];
            checksum = checksum * 31 + board[y];
        }
    }
    return checksum;
}
