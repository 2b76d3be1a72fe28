/* What the start-up code calls on a fault, where a bundle's self-test is the program. */
#include "board.h"
#include "semihosting.h"

void board_fault(void) {
    const uint32_t arguments[2] = {APPLICATION_EXIT, 3};
    semihosting(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}
