"""Small bare-metal programs, linked with start-up code and linker script of ``examples/cycles``."""

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from firmware_sim.cycles.form import CyclesProfile
from firmware_sim.cycles.pricing import profile_of, table_of
from firmware_sim.cycles.program import read_program
from firmware_sim.cycles.run import Span, count
from firmware_sim.targets import Target, get_target
from firmware_sim.toolchain import zig_cc

EXAMPLE = Path(__file__).parents[3] / "examples" / "cycles"
START = {"cortex-m4": "start_cortex_m.c", "rv32imc": "start_rv32.S"}
FLAGS = ("-O2", "-ffreestanding", "-nostdlib", "-fno-sanitize=all", "-Wl,-e,reset")

# Every instruction is known: inner takes 5 rounds; outer calls it twice, tail jumps to it, again calls itself; main calls all three.
CALLS = {
    "cortex-m4": r"""
#define FUNCTION(name, code) __attribute__((naked, noinline, aligned(8))) void name(void) { __asm__(code); }
FUNCTION(inner, "movs r0, #5\n0: subs r0, #1\n bne 0b\n bx lr")
FUNCTION(outer, "push {r4, lr}\n bl inner\n bl inner\n pop {r4, pc}")
FUNCTION(tail, "b inner")
FUNCTION(again, "cmp r0, #0\n beq 1f\n push {r4, lr}\n subs r0, #1\n bl again\n pop {r4, pc}\n1: bx lr")
FUNCTION(main, "push {r4, lr}\n bl outer\n bl tail\n movs r0, #3\n bl again\n movs r0, #0\n pop {r4, pc}")
""",
    "rv32imc": r"""
#define FUNCTION(name, code) __attribute__((naked, noinline, aligned(8))) void name(void) { __asm__(code); }
FUNCTION(inner, "li a0, 5\n0: addi a0, a0, -1\n bnez a0, 0b\n ret")
FUNCTION(outer, "addi sp, sp, -16\n sw ra, 12(sp)\n jal inner\n jal inner\n lw ra, 12(sp)\n addi sp, sp, 16\n ret")
FUNCTION(tail, "j inner")
FUNCTION(again, "beqz a0, 1f\n addi sp, sp, -16\n sw ra, 12(sp)\n addi a0, a0, -1\n jal again\n lw ra, 12(sp)\n addi sp, sp, 16\n"
                " ret\n1: ret")
FUNCTION(main, "addi sp, sp, -16\n sw ra, 12(sp)\n jal outer\n jal tail\n li a0, 3\n jal again\n lw ra, 12(sp)\n addi sp, sp, 16\n"
               " li a0, 0\n ret")
""",
}  # fmt: skip


def link(folder: Path, target: Target, source: str, name: str = "program", flags: Sequence[str] = (), script: str = "") -> Path:
    """Compile and link ``source`` with the example's start-up code; ``script`` in place of the example's MEMORY line."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in EXAMPLE.iterdir():
        if path.suffix in (".c", ".S", ".ld"):
            shutil.copy(path, folder)
    if script:
        (folder / f"{target.build}.ld").write_text(f"{script}\nINCLUDE sections.ld\n")
    (folder / "program.c").write_text(source)
    place = ("-target", target.compiler.triple, f"-mcpu={target.compiler.cpu}", "-T", f"{target.build}.ld")
    zig_cc([*place, *FLAGS, *flags, START[target.build], "program.c", "-o", f"{name}.elf"], cwd=folder)
    return folder / f"{name}.elf"


def profiled(elf: Path, target: Target, entry: str | None = None, until: str | None = None, times: int = 1) -> CyclesProfile:
    """What ``realm-edge cycles`` computes."""
    program, table = read_program(elf, target), table_of(target)
    at = program.start if entry is None else program.address_of(entry, "--entry")
    end = None if until is None else program.address_of(until, "--until")
    span = Span(at, entry or program.functions.function_at(at), end, until or "", times)
    return profile_of(program, span, count(program, span, target, table, 60.0), target, table)


@cache
def needs(name: str) -> Target:
    """The target, where its emulator is installed."""
    target = get_target(name)
    if shutil.which(target.machine.emulator) is None:
        pytest.skip(f"{target.machine.emulator} is not installed: apt-get install qemu-system-arm qemu-system-misc")
    return target
