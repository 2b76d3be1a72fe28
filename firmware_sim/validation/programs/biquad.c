/* A cascade of integer biquads with 64-bit accumulators over eight channels: the front end's inner loop. */
#include "bench.h"

enum { CHANNELS = 8, STEPS = 24, SECTIONS = 2 };
static int16_t samples[STEPS][CHANNELS];
static int32_t delays[SECTIONS][CHANNELS][2];
static const int32_t taps[SECTIONS][5] = {{70001, 140002, 70001, -90210, 31111}, {50003, -100006, 50003, 120123, -60606}};

void prepare(void) {
    uint32_t random = 21;
    for (int t = 0; t < STEPS; t++)
        for (int c = 0; c < CHANNELS; c++) samples[t][c] = (int16_t)next_random(&random);
}

uint32_t program(void) {
    uint32_t checksum = 0;
    for (int t = 0; t < STEPS; t++) {
        for (int c = 0; c < CHANNELS; c++) {
            int32_t x = samples[t][c];
            for (int s = 0; s < SECTIONS; s++) {
                int32_t *d = delays[s][c];
                const int32_t y = (int32_t)(((int64_t)taps[s][0] * x + d[0]) >> 17);
                d[0] = (int32_t)(((int64_t)taps[s][1] * x + (int64_t)taps[s][3] * y) >> 4) + d[1];
                d[1] = (int32_t)(((int64_t)taps[s][2] * x + (int64_t)taps[s][4] * y) >> 4);
                x = y;
            }
            checksum = checksum * 33 + (uint32_t)x;
        }
    }
    return checksum;
}
