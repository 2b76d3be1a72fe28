/* Insertion sort and string comparison: branches that depend on data, byte loads, stores. */
#include "bench.h"

enum { N = 96 };
static int32_t numbers[N];
static char text[2][128];

void prepare(void) {
    uint32_t random = 3;
    for (int i = 0; i < N; i++) numbers[i] = (int32_t)next_random(&random) >> 8;
    for (int i = 0; i < 127; i++) text[0][i] = text[1][i] = (char)('a' + next_random(&random) % 26);
    text[1][120] = '!';
}

static int compare(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

uint32_t program(void) {
    for (int i = 1; i < N; i++) {
        const int32_t value = numbers[i];
        int j = i;
        while (j > 0 && numbers[j - 1] > value) {
            numbers[j] = numbers[j - 1];
            j--;
        }
        numbers[j] = value;
    }
    uint32_t checksum = 0;
    for (int i = 0; i < N; i++) checksum = checksum * 17 + (uint32_t)numbers[i];
    for (int i = 0; i < 16; i++) checksum += (uint32_t)compare(text[0] + i, text[1] + i);
    return checksum;
}
