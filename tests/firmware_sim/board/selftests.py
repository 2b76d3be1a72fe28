"""Bundles of small graphs with their self-tests: built by zig cc or Debian's gcc, run in QEMU without the counting plugin."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from export.stepgraph import save_model
from firmware_sim.board.program import build_selftest, copy_selftest
from firmware_sim.build import linker_script
from firmware_sim.bundle import Bundle, load_bundle
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.targets import Target
from tests.firmware_sim.compiled_graphs import decoder, gru_decoder, lfp_frontend

ARM, RISCV = "arm-none-eabi-gcc", "riscv64-unknown-elf-gcc"
INSTALL = {ARM: "apt-get install gcc-arm-none-eabi", RISCV: "apt-get install gcc-riscv64-unknown-elf"}
_GCC_MACHINES = {
    "cortex-m0plus": (ARM, "-mcpu=cortex-m0plus", "-mthumb"),
    "cortex-m4": (ARM, "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "cortex-m7": (ARM, "-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
    "cortex-m33": (ARM, "-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
    "cortex-m55": (ARM, "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
    "rv32imc": (RISCV, "-march=rv32imc_zicsr", "-mabi=ilp32", "-mcmodel=medany"),
}
# Debian's gcc for RISC-V comes without a C library, and programs bring these along.
_MEMORY = """
#include <stddef.h>
void *memset(void *block, int value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) ((volatile unsigned char *)block)[i] = (unsigned char)value;
    return block;
}
void *memcpy(void *to, const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) ((volatile unsigned char *)to)[i] = ((const unsigned char *)from)[i];
    return to;
}
"""


@dataclass(frozen=True)
class Ran:
    """What a self-test in QEMU left."""

    status: int
    log: bytes


def write_lfp(folder: Path, build: str) -> Bundle:
    """A bundle with a front end."""
    save_model(lfp_frontend(), folder / "frontend.onnx")
    save_model(decoder(), folder / "decoder.onnx")
    write_bundle(folder / "lfp", "lfp", build, folder / "frontend.onnx", folder / "decoder.onnx")
    return load_bundle(folder / "lfp")


def write_spike(folder: Path, build: str) -> Bundle:
    """A bundle that takes features, of names of its own."""
    save_model(gru_decoder(), folder / "gru.onnx")
    write_bundle(folder / "spike", "spike", build, None, folder / "gru.onnx", "acme_2")
    return load_bundle(folder / "spike")


def needs_emulator(target: Target) -> None:
    """Skip the test where QEMU is missing."""
    if shutil.which(target.machine.emulator) is None:
        pytest.skip(f"{target.machine.emulator} is not installed: apt-get install qemu-system-arm qemu-system-misc")


def by_zig(bundle: Bundle, target: Target, folder: Path, flags: Sequence[str] = ()) -> Path:
    """The ELF file of the self-test."""
    folder.mkdir()
    return build_selftest(bundle, target, folder, flags)


def by_gcc(bundle: Bundle, target: Target, folder: Path, flags: Sequence[str] = ()) -> Path:
    """The same by Debian's gcc, strictly as C99, at the same addresses; skips the test where it is missing."""
    gcc, *machine = _GCC_MACHINES[target.build]
    if shutil.which(gcc) is None:
        pytest.skip(f"{gcc} is not installed: {INSTALL[gcc]}")
    folder.mkdir()
    copy_selftest(bundle, target, folder)
    (folder / "memory.c").write_text(_MEMORY)
    of_bundle = sorted(path.name for part in ("src", "selftest") for path in (bundle.path / part).glob("*.c"))
    theirs = ["selftest_fault.c", target.compiler.startup, "memory.c"]
    counter = f"-D{bundle.prefix.upper()}_SELFTEST_COUNTER=0"
    common = [gcc, *machine, "-O2", "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-ffunction-sections", "-fdata-sections"]
    common += ["-fno-strict-aliasing", counter, *flags]
    objects = []
    for names, strict in ((of_bundle, ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]), (theirs, ["-std=c11"])):
        for name in names:
            objects.append(f"{name}.gcc.o")
            _called([*common, *strict, "-c", name, "-o", objects[-1]], folder)
    (folder / "memory.ld").write_text(linker_script(target, bundle.stages))
    shutil.copytree(bundle.path / "lib", folder / "tvm")
    kernels = [f"tvm/{path.name}" for path in sorted((folder / "tvm").glob("*.o"))]
    linker = ["-nostartfiles", "-nostdlib", "-Wl,-T,memory.ld", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"]
    _called([gcc, *machine, *linker, *objects, *kernels, "-lgcc", "-o", "gcc.elf"], folder)
    return folder / "gcc.elf"


BUILDERS = {"zig": by_zig, "gcc": by_gcc}


def run(elf: Path, target: Target) -> Ran:
    """Run it to its end."""
    line = [target.machine.emulator, *target.machine.arguments, "-display", "none", "-monitor", "none", "-serial", "none"]
    line += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
    done = subprocess.run(line, capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    return Ran(done.returncode, done.stderr)


def _called(words: Sequence[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
