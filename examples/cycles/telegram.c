/* What a small sensor node does with a block of samples, and nothing of decoders: filter, median, CRC-32 of the telegram, ten times. */
#include <stdint.h>

enum { SAMPLES = 256, TAPS = 16, WINDOW = 9, TELEGRAMS = 10 };

static const int16_t taps[TAPS] = {-12, -31, -24, 58, 220, 441, 640, 756, 756, 640, 441, 220, 58, -24, -31, -12};
static int16_t samples[SAMPLES + TAPS], filtered[SAMPLES], telegram[SAMPLES];

static uint32_t table[256];

__attribute__((noinline)) static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
}

__attribute__((noinline)) static uint32_t crc32(const uint8_t *bytes, uint32_t count) {
    uint32_t c = ~0u;
    while (count--) c = table[(c ^ *bytes++) & 0xFF] ^ c >> 8;
    return ~c;
}

__attribute__((noinline)) static void fir(const int16_t *x, int16_t *y) {
    for (int n = 0; n < SAMPLES; n++) {
        int32_t sum = 0;
        for (int k = 0; k < TAPS; k++) sum += taps[k] * x[n + k];
        y[n] = (int16_t)(sum >> 12);
    }
}

__attribute__((noinline)) static void sort(int16_t *values, int count) {
    for (int i = 1; i < count; i++) {
        const int16_t value = values[i];
        int at = i;
        for (; at && values[at - 1] > value; at--) values[at] = values[at - 1];
        values[at] = value;
    }
}

__attribute__((noinline)) static void median(const int16_t *x, int16_t *y) {
    for (int n = 0; n < SAMPLES; n++) {
        int16_t window[WINDOW];
        for (int k = 0; k < WINDOW; k++) window[k] = x[n + k < SAMPLES ? n + k : SAMPLES - 1];
        sort(window, WINDOW);
        y[n] = window[WINDOW / 2];
    }
}

__attribute__((noinline)) static void measure(uint32_t *noise) {
    for (int n = 0; n < SAMPLES + TAPS; n++) {
        *noise = *noise * 1664525u + 1013904223u;
        samples[n] = (int16_t)(*noise >> 20);
    }
}

int main(void) {
    uint32_t noise = 1, crc = 0;
    make_table();
    for (int i = 0; i < TELEGRAMS; i++) {
        measure(&noise);
        fir(samples, filtered);
        median(filtered, telegram);
        crc ^= crc32((const uint8_t *)telegram, sizeof telegram);
    }
    return crc != 0x28dfba05u; /* wrong results end with status 1: their cycles would say nothing */
}
