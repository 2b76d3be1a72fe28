"""Cycle counts of small programs, computed by hand from the tables, against what the plugin and the tables give."""

import shutil
from dataclasses import replace

import capstone6pwndbg as capstone
import pytest
from elftools.elf.elffile import ELFFile

from firmware_sim.attribution import count_cycles
from firmware_sim.build import compile_sources, copy_firmware, link
from firmware_sim.cores import core_names, load_core, parse_core
from firmware_sim.decode import UnknownInstruction, decode_rv32, decode_thumb
from firmware_sim.elf import SymbolMap, read_symbols
from firmware_sim.profile import read_profile
from firmware_sim.qemu import execute
from firmware_sim.targets import get_target
from firmware_sim.timing import Cycles, block_cycles
from realm_edge.errors import UserError

MAIN = {
    "rv32imc": """
    .text
    .option norvc
    .balign 4
    .globl main
    .type main, @function
main:
    addi sp, sp, -16
    jal realm_region_outside
    jal realm_region_decoder
    jal program
    jal realm_region_outside
    jal end_of_program
    .size main, . - main
    .option rvc
    .balign 4
    .type program, @function
program:
""",
    "cortex-m4": """
    .syntax unified
    .thumb
    .text
    .balign 4
    .globl main
    .type main, %function
main:
    sub sp, #16
    bl realm_region_outside
    bl realm_region_decoder
    bl program
    bl realm_region_outside
    bl end_of_program
    .size main, . - main
    .balign 4
    .type program, %function
program:
""",
}
BOARD = """
#include "board.h"
#include "semihosting.h"
static void __attribute__((noreturn)) leave(uint32_t status) {
    const uint32_t arguments[2] = {APPLICATION_EXIT, status};
    semihosting(SYS_EXIT_EXTENDED, arguments);
    for (;;) {}
}
void end_of_program(void) { leave(0); }
void board_fault(void) { leave(3); }
"""


def run_program(target_name, body, folder):
    """Assemble ``body`` as the function ``program``, run it once, and return its cycles by core table."""
    target = get_target(target_name)
    if shutil.which(target.machine.emulator) is None:
        pytest.skip(f"{target.machine.emulator} is not installed: apt-get install qemu-system-arm qemu-system-misc")
    folder.mkdir(exist_ok=True)
    names = copy_firmware(("regions.c", target.compiler.startup), folder)
    (folder / "program.S").write_text(MAIN[target_name] + body + "\n    .size program, . - program\n")
    (folder / "board.c").write_text(BOARD)
    objects = compile_sources([*names, "program.S", "board.c"], target, folder)
    elf = link(objects, [], target, folder)
    execute(elf, target, folder, 60.0)
    profile, symbols = read_profile(folder / "profile.txt"), SymbolMap(read_symbols(elf))

    def cycles(table):
        return count_cycles(profile, table, symbols)["decoder"].functions["program"].cycles

    return cycles


IBEX = {  # body, cycles on ibex-small, cycles on ibex-maxperf
    "loop of ten": (
        # li 1, ten addi 10, nine taken branches, one not taken 1, ret 2
        "li t0, 10\n1: addi t0, t0, -1\n bnez t0, 1b\n ret",
        1 + 10 + 9 * 3 + 1 + 2,
        1 + 10 + 9 * 2 + 1 + 2,
    ),
    "loop to an unaligned 32-bit target": (
        # the compressed li puts the 32-bit xori at an address that is 2 modulo 4: one more cycle a taken branch
        "c.li t0, 10\n1: xori t1, t1, 5\n addi t0, t0, -1\n bnez t0, 1b\n ret",
        1 + 20 + 9 * (3 + 1) + 1 + 2,
        1 + 20 + 9 * (2 + 1) + 1 + 2,
    ),
    "multiply and divide": (
        "li a0, 7\n li a1, 3\n mul a2, a0, a1\n mulh a3, a0, a1\n div a4, a0, a1\n remu a5, a0, a1\n ret",
        2 + 3 + 4 + 37 + 37 + 2,
        2 + 1 + 2 + 37 + 37 + 2,
    ),
    "load, then use": (
        # the second load's value is used at once (load-use on maxperf), the first one's is not
        "lw a0, 0(sp)\n lw a1, 4(sp)\n add a2, a1, a1\n add a3, a0, a0\n sw a3, 8(sp)\n c.lwsp a4, 0(sp)\n c.add a4, a0\n ret",
        2 + 2 + 1 + 1 + 2 + 2 + 1 + 2,
        1 + 1 + (1 + 1) + 1 + 1 + 1 + (1 + 1) + 2,
    ),
    "load, then branch on it": ("lw a0, 0(sp)\n beq a0, a0, 1f\n nop\n .balign 4\n1: ret", 2 + 3 + 2, 1 + (2 + 1) + 2),
    "jump to the next instruction, which is unaligned": (
        "c.nop\n c.nop\n c.j 1f\n1: xori t1, t1, 5\n ret",
        2 + (2 + 1) + 1 + 2,
        2 + (2 + 1) + 1 + 2,
    ),
    "control and status registers": (
        # only what sets bits of mstatus or mie flushes the pipeline
        "csrr t0, mstatus\n csrci mstatus, 8\n csrw mstatus, t0\n csrw mie, x0\n csrr t0, mie\n csrw mscratch, t0\n ret",
        1 + 1 + 3 + 3 + 1 + 1 + 2,
        1 + 1 + 3 + 3 + 1 + 1 + 2,
    ),
    "jump over": ("j 1f\n nop\n .balign 4\n1: nop\n ret", 2 + 1 + 2, 2 + 1 + 2),
}


@pytest.mark.parametrize("name", list(IBEX))
def test_ibex_cycles_by_hand(name, tmp_path):
    body, small, maxperf = IBEX[name]
    cycles = run_program("rv32imc", body, tmp_path)
    short = 35 * body.count("div ") + 35 * body.count("rem")  # a division may take 2 cycles instead of 37
    assert cycles(load_core("ibex-small")) == Cycles(small, small - short, small)
    assert cycles(load_core("ibex-maxperf")) == Cycles(maxperf, maxperf - short, maxperf)


CV32E40P = {  # body, cycles
    "a jump waits for its register": ("la t0, 1f\n jr t0\n .balign 4\n1: ret", 2 + (2 + 1) + 2),
    "an instruction between": ("la t0, 1f\n nop\n jr t0\n .balign 4\n1: ret", 2 + 1 + 2 + 2),
    "a load is later": ("la t0, 1f\n sw t0, 0(sp)\n lw t1, 0(sp)\n jr t1\n .balign 4\n1: ret", 2 + 1 + 1 + (2 + 1 + 1) + 2),
    "a load, and an instruction between": (
        "la t0, 1f\n sw t0, 0(sp)\n lw t1, 0(sp)\n nop\n jr t1\n .balign 4\n1: ret",
        2 + 1 + 1 + 1 + (2 + 1) + 2,
    ),
    "a link in the register of the address": ("la t0, 1f\n nop\n jalr t0, t0, 0\n .balign 4\n1: ret", 2 + 1 + (2 + 1) + 2),
    "control and status registers": ("csrr t0, mepc\n csrr t0, mstatus\n csrr t0, mscratch\n csrw mie, x0\n ret", 4 + 4 + 1 + 1 + 2),
}


@pytest.mark.parametrize("name", list(CV32E40P))
def test_cv32e40p_cycles_by_hand(name, tmp_path):
    body, cycles = CV32E40P[name]
    assert run_program("rv32imc", body, tmp_path)(load_core("cv32e40p")) == Cycles(cycles, cycles, cycles)


M4 = {  # body, cycles without refills (low, nominal, high), number of refills
    "loop of ten": ("movs r0, #10\n1: subs r0, #1\n bne 1b\n bx lr", (1 + 10 + 10 + 1,) * 3, 9 + 1),
    "neighbouring loads pipeline": ("ldr r0, [sp]\n ldr r1, [sp, #4]\n ldr r2, [sp, #8]\n bx lr", (2 + 1 + 1 + 1,) * 3, 1),
    "a load whose address was just loaded does not": ("str sp, [sp]\n ldr r0, [sp]\n ldr r1, [r0]\n bx lr", (1 + 2 + 2 + 1,) * 3, 1),
    "push and pop": ("push {r4, r5, lr}\n pop {r4, r5, pc}", (4 + 4,) * 3, 1),
    "multiply": ("mul r0, r1, r2\n smull r0, r1, r2, r3\n smlad r0, r1, r2, r3\n bx lr", (1 + 1 + 1 + 1,) * 3, 1),
    "divide": ("movs r1, #3\n sdiv r0, r0, r1\n bx lr", (1 + 2 + 1, 1 + 7 + 1, 1 + 12 + 1), 1),
    "conditional return not taken": (
        "movs r0, #1\n cmp r0, #0\n it eq\n bxeq lr\n bx lr",
        (2 + 0 + 1 + 1, 2 + 1 + 1 + 1, 2 + 1 + 1 + 1),
        1,
    ),
    "conditional return taken": ("movs r0, #0\n cmp r0, #0\n it eq\n bxeq lr\n bx lr", (2 + 0 + 1, 2 + 1 + 1, 2 + 1 + 1), 1),
    "compare and branch": ("movs r0, #0\n cbz r0, 1f\n nop\n1: bx lr", (1 + 1 + 1,) * 3, 2),
    "floating point": (
        ".fpu fpv4-sp-d16\n vmov s0, r0\n vmul.f32 s1, s0, s0\n vfma.f32 s1, s0, s0\n vdiv.f32 s2, s1, s0\n bx lr",
        (1 + 1 + 3 + 14 + 1,) * 3,
        1,
    ),
}


@pytest.mark.parametrize("name", list(M4))
def test_cortex_m4_cycles_by_hand(name, tmp_path):
    body, (low, nominal, high), refills = M4[name]
    expected = Cycles(nominal + 2 * refills, low + refills, high + 3 * refills)
    assert run_program("cortex-m4", body, tmp_path)(load_core("cortex-m4")) == expected


def test_a_change_of_one_constant_changes_the_result(tmp_path):
    cycles = run_program("rv32imc", IBEX["loop of ten"][0], tmp_path)
    table = load_core("ibex-small")
    before = cycles(table).cycles
    for kind, times in (("alu", 11), ("branch_taken", 9), ("branch", 1), ("jump", 1)):
        cost = table.cycles[kind]
        dearer = replace(table, cycles=table.cycles | {kind: replace(cost, cycles=cost.cycles + 1, high=cost.high + 1)})
        # A taken branch costs what the table says of taken ones, so the not-taken cost counts once.
        assert cycles(dearer).cycles - before == times, kind


def test_tables_match_the_values_that_were_validated_on_rtl():
    small, maxperf = load_core("ibex-small").cycles, load_core("ibex-maxperf").cycles
    kinds = ("alu", "load", "store", "mul", "mulh", "div", "jump", "branch", "branch_taken", "unaligned_target", "load_use")
    assert [small[k].cycles for k in kinds] == [1, 2, 2, 3, 4, 37, 2, 1, 3, 1, 0]
    assert [maxperf[k].cycles for k in kinds] == [1, 1, 1, 1, 2, 37, 2, 1, 2, 1, 1]


def kind_by_capstone(mnemonic):
    name = mnemonic.removeprefix("c.")
    if name in ("lw", "lh", "lhu", "lb", "lbu", "lwsp"):
        return "load"
    if name in ("sw", "sh", "sb", "swsp"):
        return "store"
    if name in ("mul",):
        return "mul"
    if name in ("mulh", "mulhu", "mulhsu"):
        return "mulh"
    if name in ("div", "divu", "rem", "remu"):
        return "div"
    if name in ("j", "jal", "jr", "jalr", "ret"):
        return "jump"
    if name.startswith("b"):
        return "branch"
    return "csr" if name.startswith("csr") else "alu"


def test_the_rv32_decoder_agrees_with_capstone_on_a_whole_firmware(tiny, tmp_path):
    """Capstone is the second opinion: same sizes and classes over a linked image with compressed code and compiler-rt's memset."""
    from firmware_sim.build import build_firmware
    from firmware_sim.bundle import load_bundle

    write_bundle, _ = tiny
    elf = build_firmware(load_bundle(write_bundle(tmp_path / "bundle", "rv32imc", True)), get_target("rv32imc"), tmp_path / "build")
    with elf.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(".text")
        code, address = section.data(), section["sh_addr"]
    engine = capstone.Cs(capstone.CS_ARCH_RISCV, capstone.CS_MODE_RISCV32 | capstone.CS_MODE_RISCVC)
    compared = 0
    for function in read_symbols(elf).values():
        if function.is_function and address <= function.address < address + len(code):
            body = code[function.address - address :][: function.size]  # by function: the padding between them is no code
            other = [(i.address, i.size, kind_by_capstone(i.mnemonic)) for i in engine.disasm(body, function.address)]
            assert [(i.address, i.size, i.kind) for i in decode_rv32(body, function.address)] == other, function.name
            compared += len(other)
    assert compared > 150


def test_bytes_that_are_no_instruction_of_the_core_are_refused():
    with pytest.raises(UnknownInstruction, match="not RV32IMC"):
        decode_rv32(b"\x00\x00", 0)
    with pytest.raises(UnknownInstruction, match="not RV32IMC"):
        decode_rv32((0x00000053).to_bytes(4, "little"), 0)  # fadd.s
    with pytest.raises(UnknownInstruction, match="not Thumb-2"):
        decode_thumb(b"\xff\xff\xff\xff", 0)


def test_a_class_that_the_table_lacks_is_named():
    table = load_core("ibex-small")
    without = replace(table, cycles={k: v for k, v in table.cycles.items() if k != "mul"})
    with pytest.raises(UserError, match="core table 'ibex-small' has no entry 'mul'"):
        block_cycles(without, decode_rv32((0x02B50633).to_bytes(4, "little"), 0x100))  # mul a2, a0, a1


@pytest.mark.parametrize("name", core_names())
def test_every_entry_of_every_table_has_a_source(name):
    table = load_core(name)
    assert all(cost.source for cost in table.cycles.values())
    assert table.label in ("RTL-validated table", "table-based", "table-based, estimated")


def test_wrong_core_tables_are_refused():
    with pytest.raises(UserError, match="unknown core 'm99'"):
        load_core("m99")
    head = 'name = "x"\nisa = "thumb"\nlabel = "l"\nvalidation = "v"\nsource = "s"\n[cycles]\n'
    with pytest.raises(UserError, match=r"t\.toml: entry 'alu' has low 3, cycles 1"):
        parse_core(head + 'alu = { cycles = 1, low = 3, source = "s" }', "t.toml")
    with pytest.raises(UserError, match=r"t\.toml: entry 'alu' has no source"):
        parse_core(head + 'alu = { cycles = 1, source = " " }', "t.toml")
    with pytest.raises(UserError, match=r"t\.toml: not a core table"):
        parse_core(head + "alu = 3", "t.toml")
