/* The implant's main loop: wait for a block of samples, front end per block, decoder step per bin, send, sleep; start anew after a pause.
 * State and scratch are static: there is no heap, and the stack holds only call frames. What is traced at each bin edge is, in this order:
 * output, then with a front end its features and state, then the decoder's state. */
#include "board.h"
#include "regions.h"
#include "model.h"

uint8_t realm_decoder_state[REALM_DECODER_STATE_BYTES] __attribute__((aligned(8)));
static uint8_t decoder_scratch[REALM_DECODER_SCRATCH_BYTES + 8] __attribute__((aligned(8))); /* + 8: a bundle may need none */
int16_t realm_output[REALM_DECODER_OUTPUT_LEN];

static void decode(const int16_t *features) {
    realm_region_decoder();
    realm_decoder_step(realm_decoder_state, decoder_scratch, features, realm_output);
    realm_region_send();
    board_send(realm_output, REALM_DECODER_OUTPUT_LEN);
    realm_region_outside();
    board_trace(realm_output, sizeof realm_output);
}

#if REALM_HAS_FRONTEND

uint8_t realm_frontend_state[REALM_FRONTEND_STATE_BYTES] __attribute__((aligned(8)));
static uint8_t frontend_scratch[REALM_FRONTEND_SCRATCH_BYTES + 8] __attribute__((aligned(8)));
int16_t realm_features[REALM_FRONTEND_FEATURES_LEN];

static void take(const int16_t *samples, uint32_t count) {
    int32_t valid = 0;
    realm_region_frontend();
    realm_frontend_block(realm_frontend_state, frontend_scratch, samples, (int32_t)count, realm_features, &valid);
    realm_region_outside();
    if (!valid) return;
    decode(realm_features);
    board_trace(realm_features, sizeof realm_features);
    board_trace(realm_frontend_state, sizeof realm_frontend_state);
    board_trace(realm_decoder_state, sizeof realm_decoder_state);
}

#else /* spike counts or features come in by the board, one bin a tick */

static void take(const int16_t *features, uint32_t count) {
    for (uint32_t t = 0; t < count; t++) {
        decode(features + t * REALM_DECODER_FEATURES_LEN);
        board_trace(realm_decoder_state, sizeof realm_decoder_state);
    }
}

#endif

static void start_anew(void) {
    realm_region_reset();
    realm_decoder_init(realm_decoder_state);
#if REALM_HAS_FRONTEND
    realm_frontend_init(realm_frontend_state);
#endif
    realm_region_outside();
}

int main(void) {
    realm_region_outside();
    board_init();
    for (;;) { /* a segment of the recording */
        start_anew();
        const int16_t *block;
        uint32_t ticks;
        while ((ticks = board_fetch(&block)) != 0) take(block, ticks);
    }
}
