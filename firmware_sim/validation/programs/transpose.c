/* A product of two int16 matrices with one of them walked by columns, and a transposition in place. */
#include "bench.h"

enum { N = 16 };
static int16_t a[N][N], b[N][N];
static int32_t product[N][N];

void prepare(void) {
    uint32_t random = 28;
    for (int i = 0; i < N * N; i++) a[i / N][i % N] = (int16_t)next_random(&random), b[i % N][i / N] = (int16_t)next_random(&random);
}

uint32_t program(void) {
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            int32_t sum = 0;
            for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j] >> 4;
            product[i][j] = sum;
        }
    }
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            const int32_t t = product[i][j];
            product[i][j] = product[j][i];
            product[j][i] = t;
        }
    }
    uint32_t checksum = 0;
    for (int i = 0; i < N * N; i++) checksum = checksum * 3 + (uint32_t)product[i / N][i % N];
    return checksum;
}
