/* Arm's semihosting calls (Arm 100863; RISC-V semihosting uses the same numbers): how the simulated board reaches files of the host. */
#ifndef REALM_SEMIHOSTING_H
#define REALM_SEMIHOSTING_H

#include <stdint.h>

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { OPEN_READ_BINARY = 1, OPEN_WRITE_BINARY = 5 };
enum { APPLICATION_EXIT = 0x20026 };

static inline int32_t semihosting(uint32_t call, const void *arguments) {
#if defined(__arm__)
    register uint32_t r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
#elif defined(__riscv)
    register uint32_t a0 __asm__("a0") = call;
    register const void *a1 __asm__("a1") = arguments;
    /* The three instructions are the magic sequence: uncompressed, and on one page. */
    __asm__ volatile(".balign 16\n\t.option push\n\t.option norvc\n\t"
                     "slli x0, x0, 0x1f\n\tebreak\n\tsrai x0, x0, 7\n\t.option pop"
                     : "+r"(a0) : "r"(a1) : "memory");
    return (int32_t)a0;
#else
#error "semihosting: only Arm and RISC-V"
#endif
}

#endif
