/* A radix-2 FFT of 64 points in Q15: strided loads, a table of twiddles, many live registers. */
#include "bench.h"

enum { N = 64, LOG = 6 };
static int16_t re[N], im[N];
static int16_t cosine[N / 2], sine[N / 2];

void prepare(void) {
    uint32_t random = 22;
    int32_t c = 32767, s = 0;
    for (int k = 0; k < N / 2; k++) { /* a rotation by 2 pi / 64 a step: good enough for a checksum */
        cosine[k] = (int16_t)c;
        sine[k] = (int16_t)s;
        const int32_t turned = (c * 32610 - s * 3212) >> 15;
        s = (s * 32610 + c * 3212) >> 15;
        c = turned;
    }
    for (int i = 0; i < N; i++) re[i] = (int16_t)(next_random(&random) & 0x3FFF);
}

uint32_t program(void) {
    for (int i = 0; i < N; i++) {
        int j = 0;
        for (int bit = 0; bit < LOG; bit++) j |= (i >> bit & 1) << (LOG - 1 - bit);
        if (j > i) {
            const int16_t a = re[i], b = im[i];
            re[i] = re[j], im[i] = im[j];
            re[j] = a, im[j] = b;
        }
    }
    for (int half = 1; half < N; half *= 2) {
        for (int start = 0; start < N; start += 2 * half) {
            for (int k = 0; k < half; k++) {
                const int w = k * (N / 2 / half), i = start + k, j = i + half;
                const int32_t tr = (re[j] * cosine[w] + im[j] * sine[w]) >> 15, ti = (im[j] * cosine[w] - re[j] * sine[w]) >> 15;
                const int32_t ar = re[i], ai = im[i];
                re[i] = (int16_t)((ar + tr) >> 1), im[i] = (int16_t)((ai + ti) >> 1);
                re[j] = (int16_t)((ar - tr) >> 1), im[j] = (int16_t)((ai - ti) >> 1);
            }
        }
    }
    uint32_t checksum = 0;
    for (int i = 0; i < N; i++) checksum = checksum * 31 + (uint16_t)re[i] + ((uint32_t)(uint16_t)im[i] << 16);
    return checksum;
}
