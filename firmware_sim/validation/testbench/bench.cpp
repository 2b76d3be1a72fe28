// Test bench: runs an ELF on a core's RTL and counts each clock cycle for the instruction that stands in the decode stage, by region.
//
//   sim <elf> <counts file> <instruction wait states> <data wait states> <cycle limit> [<region>=<marker's address>:<its bytes>]...
//
// Regions are those of the counting plugin (plugin/realm_count.c): one begins when its marker function is entered, and the marker's own
// cycles are not counted. A cycle in which the decode stage is empty belongs to the instruction before; sleep is counted apart.
// Memory: 48 MiB at 0x80000000, as QEMU's virt machine has it, with its UART, its test device and its CLINT (mtime counts clock cycles).
// A memory with n wait states answers n + 1 cycles after it took a request, and takes the next one when it answers.
//
// The counts are text: region <name> <visits> <cycles> <cycles asleep>, then pc <address> and for each region <cycles> <instructions>.
#include <elf.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include "Vbench.h"
#include "verilated.h"

namespace {

constexpr uint32_t BASE = 0x80000000u, SIZE = 48u << 20, ROM = 0x1080u, UART = 0x10000000u, TEST = 0x100000u;
constexpr uint32_t MTIMECMP = 0x02004000u, MTIME = 0x0200BFF8u;
enum Status { PASSED = 0, FAILED = 1, WRONG_USE = 2, WRONG_ADDRESS = 3, TOO_LONG = 4 };

std::vector<uint8_t> memory(SIZE);
uint64_t cycle, mtimecmp = ~0ull;
int status = -1; // of the program, once it has ended

[[noreturn]] void stop(Status code, const std::string &words) {
    std::fprintf(stderr, "%s\n", words.c_str());
    std::exit(code);
}

uint32_t *half(uint64_t &value, uint32_t address) { return reinterpret_cast<uint32_t *>(&value) + (address >> 2 & 1); }

uint32_t read(uint32_t address) {
    address &= ~3u;
    if (address - BASE < SIZE) {
        uint32_t word;
        std::memcpy(&word, &memory[address - BASE], 4);
        return word;
    }
    if (address == ROM) return 0x800002b7u;     // lui t0, 0x80000
    if (address == ROM + 4) return 0x00028067u; // jr t0
    if ((address & ~4u) == MTIME) return *half(cycle, address);
    if ((address & ~4u) == MTIMECMP) return *half(mtimecmp, address);
    return 0; // fetches run ahead of the program
}

void write(uint32_t address, uint32_t word, unsigned bytes) {
    const uint32_t at = address & ~3u;
    if (at - BASE < SIZE) {
        for (unsigned i = 0; i < 4; i++)
            if (bytes >> i & 1) memory[at - BASE + i] = static_cast<uint8_t>(word >> 8 * i);
    } else if (at == UART) {
        std::putchar(static_cast<int>(word & 0xff));
    } else if (at == TEST) {
        status = word == 0x5555 ? PASSED : FAILED;
    } else if ((at & ~4u) == MTIMECMP) {
        *half(mtimecmp, at) = word;
    } else {
        char text[64];
        std::snprintf(text, sizeof text, "store to %08x, where nothing is", address);
        stop(WRONG_ADDRESS, text);
    }
}

uint32_t load_elf(const char *path) { // returns the end of the code
    std::FILE *file = std::fopen(path, "rb");
    if (!file) stop(WRONG_USE, std::string("cannot read ") + path);
    std::vector<uint8_t> image;
    for (int c; (c = std::fgetc(file)) != EOF;) image.push_back(static_cast<uint8_t>(c));
    std::fclose(file);
    const auto *header = reinterpret_cast<const Elf32_Ehdr *>(image.data());
    uint32_t end = BASE;
    for (unsigned i = 0; i < header->e_phnum; i++) {
        const auto *segment = reinterpret_cast<const Elf32_Phdr *>(&image[header->e_phoff + i * header->e_phentsize]);
        if (segment->p_type != PT_LOAD || !segment->p_filesz) continue;
        if (segment->p_paddr - BASE > SIZE - segment->p_filesz) stop(WRONG_USE, "a segment lies outside the memory");
        std::memcpy(&memory[segment->p_paddr - BASE], &image[segment->p_offset], segment->p_filesz);
        if (segment->p_flags & PF_X && segment->p_paddr + segment->p_filesz > end) end = segment->p_paddr + segment->p_filesz;
    }
    return end;
}

struct Port { // one access at a time; the next is taken in the cycle of the answer
    unsigned wait, left = 0;
    bool busy = false;
    uint32_t word = 0;
    bool answers() const { return busy && left == 0; }
    bool takes() const { return !busy || left == 0; }
    void clock(bool request, uint32_t answer) {
        if (takes()) {
            busy = request;
            left = wait;
            word = answer;
        } else {
            left--;
        }
    }
};

struct Count {
    uint64_t cycles, instructions;
};

struct Region {
    std::string name;
    uint32_t marker, end;
    uint64_t visits = 0, cycles = 0, asleep = 0;
    std::vector<Count> at; // by (address - BASE) / 2
};

} // namespace

int main(int argc, char **argv) {
    if (argc < 6) stop(WRONG_USE, "usage: sim elf counts instruction-wait data-wait limit [region=address:bytes]...");
    const uint32_t code_end = load_elf(argv[1]);
    Port instr{static_cast<unsigned>(std::atoi(argv[3]))}, data{static_cast<unsigned>(std::atoi(argv[4]))};
    const uint64_t limit = std::strtoull(argv[5], nullptr, 10);
    std::vector<Region> regions;
    for (int i = 6; i < argc; i++) {
        char name[32];
        unsigned address, bytes;
        if (std::sscanf(argv[i], "%31[^=]=%x:%u", name, &address, &bytes) != 3) stop(WRONG_USE, std::string("not a region: ") + argv[i]);
        regions.push_back({name, address, address + bytes, 0, 0, 0, std::vector<Count>((code_end - BASE) / 2 + 1)});
    }

    Vbench top;
    top.clk = 0;
    for (int reset_n : {1, 0, 0, 0, 1}) { // Ibex needs the falling edge
        top.reset_n = reset_n;
        top.clk = 0;
        top.eval();
        if (!reset_n) {
            top.clk = 1;
            top.eval();
        }
    }

    Region *current = nullptr;
    bool in_marker = false;
    uint32_t pc = 0;
    for (; status < 0; cycle++) {
        if (cycle == limit) stop(TOO_LONG, "still running at the cycle limit");
        top.clk = 0;
        top.irq_timer = cycle >= mtimecmp;
        top.instr_gnt = instr.takes();
        top.instr_rvalid = instr.answers();
        top.instr_rdata = instr.word;
        top.data_gnt = data.takes();
        top.data_rvalid = data.answers();
        top.data_rdata = data.word;
        top.eval();

        if (top.id_valid) {
            if (top.id_new || top.id_pc != pc) {
                in_marker = false;
                for (Region &region : regions) {
                    if (top.id_pc == region.marker && (&region != current || pc < region.marker || pc >= region.end)) {
                        region.visits++;
                        current = &region;
                    }
                    in_marker |= top.id_pc >= region.marker && top.id_pc < region.end;
                }
            }
            pc = top.id_pc;
        }
        if (current && !in_marker) {
            (top.sleeping ? current->asleep : current->cycles)++;
            if (pc - BASE < code_end - BASE) {
                Count &count = current->at[(pc - BASE) / 2];
                count.cycles += !top.sleeping;
                count.instructions += top.id_new;
            }
        }

        const bool store = top.data_req && data.takes() && top.data_we;
        const uint32_t fetched = top.instr_req && instr.takes() ? read(top.instr_addr) : 0;
        const uint32_t loaded = top.data_req && data.takes() && !top.data_we ? read(top.data_addr) : 0;
        if (store) write(top.data_addr, top.data_wdata, top.data_be);
        instr.clock(top.instr_req, fetched);
        data.clock(top.data_req, loaded);
        top.clk = 1;
        top.eval();
    }

    std::FILE *out = std::fopen(argv[2], "w");
    if (!out) stop(WRONG_USE, std::string("cannot write ") + argv[2]);
    for (const Region &region : regions)
        std::fprintf(out, "region %s %llu %llu %llu\n", region.name.c_str(), (unsigned long long)region.visits,
                     (unsigned long long)region.cycles, (unsigned long long)region.asleep);
    for (uint32_t i = 0; i <= (code_end - BASE) / 2; i++) {
        bool any = false;
        for (const Region &region : regions) any |= region.at[i].cycles || region.at[i].instructions;
        if (!any) continue;
        std::fprintf(out, "pc %x", BASE + 2 * i);
        for (const Region &region : regions)
            std::fprintf(out, " %llu %llu", (unsigned long long)region.at[i].cycles, (unsigned long long)region.at[i].instructions);
        std::fputc('\n', out);
    }
    if (std::fclose(out)) stop(WRONG_USE, std::string("cannot write ") + argv[2]);
    return status;
}
