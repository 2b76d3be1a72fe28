/* Runs one program and sends its checksum over the UART. The devices are those of QEMU's virt machine; the RTL's test bench has the same. */
#include "bench.h"
#include "board.h"
#include "bench_board.h"
#include "regions.h"

int main(void) {
    realm_region_outside();
    prepare();
    realm_region_program();
    const uint32_t checksum = program();
    realm_region_outside();
    bench_word(checksum);
    bench_leave();
}
