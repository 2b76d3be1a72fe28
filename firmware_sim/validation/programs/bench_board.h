#ifndef REALM_BENCH_BOARD_H
#define REALM_BENCH_BOARD_H

#include <stdint.h>

void bench_word(uint32_t word); /* a line of eight hex digits on the UART */
void bench_leave(void) __attribute__((noreturn));
void realm_region_program(void); /* the marker of the measured region */

#endif
