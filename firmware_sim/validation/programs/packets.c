/* A packet of bit fields, written and parsed, with CRC-8 by table and COBS stuffing: byte stores behind byte loads. */
#include "bench.h"

static uint8_t table[256], frame[80], stuffed[90];

void prepare(void) {
    for (int i = 0; i < 256; i++) {
        uint8_t crc = (uint8_t)i;
        for (int bit = 0; bit < 8; bit++) crc = (uint8_t)(crc & 0x80 ? crc << 1 ^ 0x07 : crc << 1);
        table[i] = crc;
    }
}

uint32_t program(void) {
    uint32_t checksum = 0, random = 30;
    for (int packet = 0; packet < 10; packet++) {
        uint32_t bits = 0, held = 0, length = 0;
        uint8_t crc = 0;
        while (length < 70) {
            const uint32_t width = 3 + (next_random(&random) & 7);
            bits |= (next_random(&random) & ((1u << width) - 1)) << held;
            for (held += width; held >= 8; held -= 8, bits >>= 8) {
                frame[length++] = (uint8_t)bits;
                crc = table[crc ^ (uint8_t)bits];
            }
        }
        frame[length++] = crc;
        uint32_t code = 0, out = 1;
        for (uint32_t i = 0; i < length; i++) {
            if (frame[i]) {
                stuffed[out++] = frame[i];
            } else {
                stuffed[code] = (uint8_t)(out - code);
                code = out++;
            }
        }
        stuffed[code] = (uint8_t)(out - code);
        for (uint32_t i = 0; i < out; i++) checksum = checksum * 3 + stuffed[i];
    }
    return checksum;
}
