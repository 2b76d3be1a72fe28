/* Causal depthwise convolution and a bitwise CRC-32: short multiply-accumulate loops, shifts, a branch a bit. */
#include "bench.h"

enum { CHANNELS = 16, STEPS = 24, TAPS = 4 };
static int16_t signal[STEPS][CHANNELS];
static int8_t taps[CHANNELS][TAPS];
static int16_t filtered[STEPS][CHANNELS];

void prepare(void) {
    uint32_t random = 4;
    for (int t = 0; t < STEPS; t++)
        for (int c = 0; c < CHANNELS; c++) signal[t][c] = (int16_t)next_random(&random);
    for (int c = 0; c < CHANNELS; c++)
        for (int k = 0; k < TAPS; k++) taps[c][k] = (int8_t)next_random(&random);
}

uint32_t program(void) {
    for (int t = TAPS - 1; t < STEPS; t++) {
        for (int c = 0; c < CHANNELS; c++) {
            int32_t sum = 0;
            for (int k = 0; k < TAPS; k++) sum += taps[c][k] * signal[t - k][c];
            filtered[t][c] = (int16_t)(sum >> 7);
        }
    }
    uint32_t crc = ~0u;
    const uint8_t *bytes = (const uint8_t *)filtered;
    for (uint32_t i = 0; i < sizeof filtered; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}
