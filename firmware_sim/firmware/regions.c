#include "regions.h"

/* Aligned, so that a call to a marker never pays for an unaligned jump target. The empty asm keeps the bodies from being removed. */
#define MARKER __attribute__((noinline, aligned(4)))

MARKER void realm_region_outside(void) { __asm__ volatile(""); }
MARKER void realm_region_frontend(void) { __asm__ volatile(""); }
MARKER void realm_region_decoder(void) { __asm__ volatile(""); }
MARKER void realm_region_send(void) { __asm__ volatile(""); }
MARKER void realm_region_reset(void) { __asm__ volatile(""); }
