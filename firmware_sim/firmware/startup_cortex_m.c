/* Reset of a Cortex-M core: vector table, code in RAM, .data, .bss, painted stack, floating-point unit and Helium on, main. */
#include "board.h"

extern uint32_t realm_ram_text_load[], realm_ram_text_start[], realm_ram_text_end[];
extern uint32_t realm_data_load[], realm_data_start[], realm_data_end[], realm_bss_start[], realm_bss_end[];
extern uint32_t realm_stack_bottom[], realm_stack_top[];
int main(void);

/* ARMv7-M ARM, B3.2: configuration and control, coprocessor access; Helium has the floating-point unit's (ARMv8-M ARM, DDI 0553) */
#define CCR (*(volatile uint32_t *)0xE000ED14u)
#define CPACR (*(volatile uint32_t *)0xE000ED88u)

static void copy(const uint32_t *from, uint32_t *to, const uint32_t *end) {
    while (to < end) *to++ = *from++;
}

void realm_reset(void) {
#if !defined(__ARM_ARCH_6M__)
    CPACR |= 0xFu << 20;
#else
    CCR |= 1u << 3; /* the simulated core would allow unaligned accesses, an ARMv6-M one faults */
#endif
    copy(realm_ram_text_load, realm_ram_text_start, realm_ram_text_end);
    copy(realm_data_load, realm_data_start, realm_data_end);
    __asm__ volatile("dsb\n\tisb" ::: "memory"); /* before the floating-point unit is used and what was copied is executed */
    for (uint32_t *to = realm_bss_start; to < realm_bss_end; to++) *to = 0;
    uint32_t *here = __builtin_frame_address(0);
    for (volatile uint32_t *to = realm_stack_bottom; to < here - 16; to++) *to = 0xA5A5A5A5u; /* 16 words: this frame */
    main();
    board_fault(); /* main does not return */
}

static void fault(void) { board_fault(); }

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)realm_stack_top, (uintptr_t)realm_reset,                                                     /* stack, reset */
    (uintptr_t)fault,           (uintptr_t)fault,       (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, /* NMI, faults */
    0, 0, 0, 0, (uintptr_t)fault, (uintptr_t)fault, 0, (uintptr_t)fault, (uintptr_t)fault,                    /* SVC, PendSV, SysTick */
};
