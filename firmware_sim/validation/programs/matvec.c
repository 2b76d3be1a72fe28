/* int8 matrix times vector and requantisation, as a linear layer: loads, multiply-accumulate, high multiply, saturation. */
#include "bench.h"

enum { ROWS = 32, COLUMNS = 96 };
static int8_t weights[ROWS][COLUMNS], input[COLUMNS], output[ROWS];

void prepare(void) {
    uint32_t random = 1;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) weights[r][c] = (int8_t)next_random(&random);
    for (int c = 0; c < COLUMNS; c++) input[c] = (int8_t)next_random(&random);
}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int repeat = 0; repeat < 4; repeat++) {
        for (int r = 0; r < ROWS; r++) {
            int32_t sum = r - repeat;
            for (int c = 0; c < COLUMNS; c++) sum += weights[r][c] * input[c];
            int32_t scaled = (int32_t)(((int64_t)sum * (1518500250 + r)) >> 40);
            if (scaled > 127) scaled = 127;
            if (scaled < -127) scaled = -127;
            output[r] = (int8_t)scaled;
            checksum = checksum * 31 + (uint8_t)output[r];
        }
        input[repeat] = output[repeat];
    }
    return checksum;
}
