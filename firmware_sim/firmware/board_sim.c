/* The simulator's board: samples come from the file samples.bin, traces go to dump.bin, both in the emulator's working folder.
 * pauses.bin lists, each as a little-endian 32-bit word, the blocks before which the recording paused.
 * The linker script keeps this object's code and data out of the sections that are counted against the part. */
#include "board.h"
#include "semihosting.h"
#include "model.h"
#if REALM_HAS_FRONTEND
#define TICK_LEN REALM_FRONTEND_SAMPLE_LEN
#else
#define TICK_LEN REALM_DECODER_FEATURES_LEN
#endif

#ifndef REALM_BLOCK_TICKS
#error "REALM_BLOCK_TICKS, the ticks of one block, comes from the build"
#endif

enum { EXIT_DONE = 0, EXIT_NO_FILE = 2, EXIT_FAULT = 3, EXIT_PARTIAL_BLOCK = 4, EXIT_WRITE = 5 };

extern uint32_t realm_stack_bottom[], realm_stack_top[];
#define STACK_PAINT 0xA5A5A5A5u /* the start-up code fills the stack with it */

int16_t realm_sim_block[REALM_BLOCK_TICKS * TICK_LEN];
static int16_t radio_fifo[64];
static int32_t samples_file, pauses_file, dump_file;
static uint32_t blocks, next_pause;

static void __attribute__((noreturn)) leave(uint32_t status) {
    const uint32_t arguments[2] = {APPLICATION_EXIT, status};
    semihosting(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

static int32_t open_file(const char *name, uint32_t length, uint32_t mode) {
    const uint32_t arguments[3] = {(uint32_t)(uintptr_t)name, mode, length};
    const int32_t file = semihosting(SYS_OPEN, arguments);
    if (file < 0) leave(EXIT_NO_FILE);
    return file;
}

static uint32_t read_file(int32_t file, void *to, uint32_t bytes) { /* returns the bytes that were not read */
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)(uintptr_t)to, bytes};
    return (uint32_t)semihosting(SYS_READ, arguments);
}

static void find_next_pause(void) {
    if (read_file(pauses_file, &next_pause, sizeof next_pause) != 0) next_pause = UINT32_MAX;
}

void board_init(void) {
    samples_file = open_file("samples.bin", 11, OPEN_READ_BINARY);
    pauses_file = open_file("pauses.bin", 10, OPEN_READ_BINARY);
    dump_file = open_file("dump.bin", 8, OPEN_WRITE_BINARY);
    find_next_pause();
}

static void __attribute__((noreturn)) finish(void) {
    /* The last word of the dump is the stack's high-water mark in bytes. */
    const uint32_t *word = realm_stack_bottom;
    while (word < realm_stack_top && *word == STACK_PAINT) word++;
    const uint32_t used = (uint32_t)((uintptr_t)realm_stack_top - (uintptr_t)word);
    board_trace(&used, sizeof used);
    const uint32_t files[3] = {(uint32_t)samples_file, (uint32_t)pauses_file, (uint32_t)dump_file};
    for (uint32_t i = 0; i < 3; i++) semihosting(SYS_CLOSE, &files[i]);
    leave(EXIT_DONE);
}

uint32_t board_fetch(const int16_t **samples) {
    if (blocks == next_pause) {
        find_next_pause();
        return 0;
    }
    const uint32_t missing = read_file(samples_file, realm_sim_block, sizeof realm_sim_block);
    if (missing == sizeof realm_sim_block) finish();
    if (missing != 0) leave(EXIT_PARTIAL_BLOCK);
    blocks++;
    *samples = realm_sim_block;
    return REALM_BLOCK_TICKS;
}

void board_send(const int16_t *output, uint32_t count) {
    volatile int16_t *fifo = radio_fifo; /* volatile: as a peripheral's register would be written */
    for (uint32_t i = 0; i < count; i++) fifo[i & 63] = output[i];
}

void board_trace(const void *data, uint32_t bytes) {
    const uint32_t arguments[3] = {(uint32_t)dump_file, (uint32_t)(uintptr_t)data, bytes};
    if (semihosting(SYS_WRITE, arguments) != 0) leave(EXIT_WRITE);
}

void board_fault(void) { leave(EXIT_FAULT); }
