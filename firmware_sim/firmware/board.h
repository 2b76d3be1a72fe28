/* The board layer: everything that main.c needs from the hardware. Write these five functions to bring the firmware to a board;
 * board_sim.c is the one for the simulator. */
#ifndef REALM_BOARD_H
#define REALM_BOARD_H

#include <stdint.h>

/* Start clocks, ADC with DMA, radio. Called once, before the first fetch. */
void board_init(void);

/* Sleep until the ADC's DMA has filled the next block, then point *samples at it and return how many ticks it holds.
 * A tick is REALM_FRONTEND_SAMPLE_LEN int16 counts, one per channel (REALM_DECODER_FEATURES_LEN int16 features where the bundle has no
 * front end). Blocks hold any number of ticks and need not end at a bin edge. The block stays valid until the next call.
 * Returns 0 once where the recording paused: it was stopped, or samples with an artefact (stimulation, a saturated amplifier) are left
 * out. Front end and decoder then start anew, and the next block begins with the first tick of a bin. */
uint32_t board_fetch(const int16_t **samples);

/* Queue `count` output values for the radio. Must not block. */
void board_send(const int16_t *output, uint32_t count);

/* Show `bytes` of memory to a test bench. A real board leaves it empty. */
void board_trace(const void *data, uint32_t bytes);

/* Called by the start-up code on a processor fault. Does not return. */
void board_fault(void) __attribute__((noreturn));

#endif
