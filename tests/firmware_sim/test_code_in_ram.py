"""Kernels and driver in RAM that executes code: where they lie, what they take of both memories, that their fetches do not wait."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_sim.build import build_firmware
from firmware_sim.bundle import load_bundle
from firmware_sim.compare import Expected
from firmware_sim.components import load_components
from firmware_sim.elf import memory_use, read_symbols
from firmware_sim.simulate import simulate_stream
from firmware_sim.stream_report import stream_report
from firmware_sim.targets import CodeRam, get_target, targets
from firmware_sim.toolchain import zig_cc
from firmware_sim.workload import Delays, Sensed
from quantization.summaries import R2
from tests.small_run import needs_emulator

STEPS = 20
ROOT = Path(__file__).parents[2]
HOT = ("realm_decoder_step", "realm_frontend_block", "realm_decoder_k00_linear", "realm_frontend_k00_filter", "memset")


def part(name: str, nbytes: int | None, **changes):
    """A target, its flash made slow, with so many bytes of RAM that executes code."""
    target = get_target(name)
    flash = replace(target.flash, wait_states=3, instruction_cache_bytes=0)
    return replace(target, flash=flash, code_ram=None if nbytes is None else CodeRam(nbytes, "test"), **changes)


def simulated(tiny, folder, target):
    needs_emulator()
    write_bundle, mirror = tiny
    answer = mirror(STEPS, True)
    bundle = write_bundle(folder / "bundle", target.name, True)
    expected = Expected(answer.outputs, dict(answer.states), answer.features)
    result = simulate_stream(bundle, target, answer.samples, expected, folder / "run")
    assert result.bit_exact
    return result


def told(result) -> str:
    return stream_report(result, [], load_components(), R2(float=0.6, int8=0.6, wiener=0.5), Sensed(250.0, 100.0), Delays()).code_runs_from


@pytest.mark.parametrize("name", ["cortex-m4", "rv32imc", "stm32g0b1"])
def test_hot_functions_lie_in_ram_and_count_in_both_memories(name, tiny, tmp_path):
    write_bundle, _ = tiny
    bundle = load_bundle(write_bundle(tmp_path / "bundle", name, True))
    elf = {size: build_firmware(bundle, part(name, size), tmp_path / str(size)) for size in (65_536, None)}
    machine, symbols, plain = get_target(name).machine, read_symbols(elf[65_536]), read_symbols(elf[None])
    hot = [symbol for symbol in HOT if symbol in plain]
    assert set(HOT) - set(hot) <= {"memset"}  # where the compiler clears by itself
    for symbol in hot:
        assert 0 <= symbols[symbol].address - machine.ram_origin < machine.ram_length
        assert 0 <= plain[symbol].address - machine.flash_origin < machine.flash_length
    for symbol in ("main", "realm_reset", "realm_region_decoder"):
        assert 0 <= symbols[symbol].address - machine.flash_origin < machine.flash_length
    use, before = memory_use(elf[65_536]), memory_use(elf[None])
    assert before.code_in_ram == 0 and use.code_in_ram >= sum(symbols[symbol].size for symbol in hot)
    assert use.ram == before.ram + use.code_in_ram == use.data_in_ram + use.code_in_ram
    assert 0 <= use.flash - before.flash < 200  # jumps from one memory to the other, and padding


@pytest.mark.parametrize("name", ["cortex-m4", "rv32imc"])
def test_fetches_from_ram_wait_for_nothing_and_constants_still_do(name, tiny, tmp_path):
    fast, slow = (simulated(tiny, tmp_path / str(size), part(name, size)) for size in (65_536, None))
    kernels, before = ({row.symbol: row for row in result.kernels} for result in (fast, slow))
    filtered = "realm_frontend_k00_filter"  # reads no constants
    assert kernels[filtered].stall_cycles == 0 < before[filtered].stall_cycles
    assert 0 < kernels["realm_decoder_k00_linear"].stall_cycles < before["realm_decoder_k00_linear"].stall_cycles
    assert fast.regions["loop"].stalls.cycles > 0  # the main loop stays in flash
    assert fast.cycles_per_step.cycles < slow.cycles_per_step.cycles
    assert told(slow) == "flash"
    assert told(fast) == f"RAM: {fast.memory.code_in_ram:,} bytes of kernels and driver, which start-up copies there"


def test_code_that_finds_no_room_in_ram_runs_from_flash_and_that_is_told(tiny, tmp_path):
    placed = simulated(tiny, tmp_path / "placed", part("cortex-m4", 65_536)).memory
    ring = 2 * 5 * 3 * 2
    for room, changes in (
        (placed.code_in_ram - 1, {"nbytes": placed.code_in_ram - 1}),
        (placed.code_in_ram - 1, {"nbytes": 65_536, "ram_bytes": placed.ram + ring - 1}),  # state, stack and the ADC's ring come first
    ):
        result = simulated(tiny, tmp_path / "small", part("cortex-m4", **changes))
        assert result.memory.code_in_ram == 0
        assert (
            told(result) == f"flash: kernels and driver do not fit the {room:,} bytes that STM32L4R5 has left of the RAM that executes code"
        )
    assert simulated(tiny, tmp_path / "just", part("cortex-m4", 65_536, ram_bytes=placed.ram + ring)).memory.code_in_ram > 0


OWN_SCRIPT = """
MEMORY {
  FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 1M
  CODE_RAM (rwx) : ORIGIN = 0x10000000, LENGTH = 64K
  RAM (rw) : ORIGIN = 0x20000000, LENGTH = 64K
}
SECTIONS {
SECTION
  .text : { *(.text .text.*) } > FLASH
  .rodata : { *(.rodata .rodata.*) } > FLASH
  .data : { *(.data .bss) } > RAM
  /DISCARD/ : { *(.ARM.*) }
}
"""
OWN_MAIN = """
void realm_frontend_block(void);
void realm_decoder_step(void);
void _start(void) { realm_frontend_block(); realm_decoder_step(); }
"""


def test_the_linker_script_of_the_doc_places_an_archive_and_its_driver(tiny, tmp_path):
    write_bundle, _ = tiny
    bundle = write_bundle(tmp_path / "bundle", "cortex-m4", True)
    target, kernels = get_target("cortex-m4"), sorted((bundle / "lib").glob("*.o"))
    subprocess.run([sys.executable, "-m", "ziglang", "ar", "rcsD", "librealm.a", *kernels], cwd=tmp_path, check=True)
    (section,) = re.findall(r"```ld\n(.*?)```", (ROOT / "docs/kernels.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "own.ld").write_text(OWN_SCRIPT.replace("SECTION\n", section.replace("realm_lfp", "realm")))
    (tmp_path / "main.c").write_text(OWN_MAIN)
    flags = ["-target", target.compiler.triple, f"-mcpu={target.compiler.cpu}", "-O2", "-ffreestanding", "-fno-sanitize=all"]
    for name in ("realm_frontend", "realm_decoder"):
        source = str(bundle / "src" / f"{name}.c")
        zig_cc([*flags, "-ffunction-sections", "-I", str(bundle / "include"), "-c", source, "-o", f"{name}.o"], cwd=tmp_path)
    inputs = ["main.c", "realm_frontend.o", "realm_decoder.o", "librealm.a"]
    zig_cc([*flags, "-nostartfiles", "-Wl,-T,own.ld", *inputs, "-o", "own.elf"], cwd=tmp_path)
    symbols = read_symbols(tmp_path / "own.elf")
    for symbol in set(HOT) - {"memset"}:
        assert 0 <= symbols[symbol].address - 0x10000000 < 65_536, symbol
    assert 0x08000000 <= symbols["_start"].address < 0x08100000


def test_the_parts_whose_code_runs_from_ram():
    """Each has a source, and gains by it (docs/kernels.md)."""
    found = {name: target.code_ram for name, target in targets().items() if target.code_ram}
    assert {name: ram.nbytes for name, ram in found.items()} == {"cortex-m4": 65_536, "nrf52840": 262_144, "stm32g0b1": 147_456}
    for name, ram in found.items():
        assert ram.source and ram.nbytes <= get_target(name).ram_bytes and get_target(name).flash.wait_states
