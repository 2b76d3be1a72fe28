/* The board layer of a whole firmware on the test bench: samples lie in flash, what is traced goes into a checksum. */
#include "bench_board.h"
#include "board.h"

extern const int16_t realm_bench_samples[];
extern const uint32_t realm_bench_blocks, realm_bench_block_len; /* in int16 counts */

static uint32_t block, checksum = 2166136261u;
static volatile int16_t radio_fifo[64];

void board_init(void) {}

uint32_t board_fetch(const int16_t **samples) {
    if (block == realm_bench_blocks) {
        bench_word(checksum);
        bench_leave();
    }
    *samples = realm_bench_samples + block++ * realm_bench_block_len;
    return REALM_BLOCK_TICKS;
}

void board_send(const int16_t *output, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) radio_fifo[i & 63] = output[i];
}

void board_trace(const void *data, uint32_t bytes) { /* FNV-1a */
    for (const uint8_t *at = data, *end = at + bytes; at < end; at++) checksum = (checksum ^ *at) * 16777619u;
}
