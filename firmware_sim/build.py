"""Links a bundle and the firmware sources to the ELF that is simulated, the same bytes each time."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from string import Template

from firmware_sim.bundle import Bundle
from firmware_sim.bundle_metadata import Stage
from firmware_sim.compiler.armv6m import check_armv6m
from firmware_sim.elf import MemoryUse, check_kernel_origin, memory_use
from firmware_sim.targets import Target
from firmware_sim.toolchain import zig_cc
from realm_edge.errors import UserError

MODEL_HEADER = "model.h"
_BLOCKS = ("STATE_BYTES", "SCRATCH_BYTES", "FEATURES_LEN")
_MACROS = {"frontend": ("SAMPLE_LEN", *_BLOCKS), "decoder": ("OUTPUT_LEN", *_BLOCKS)}  # that main.c and board layers use, by stage
_FUNCTIONS = {"frontend": ("init", "block"), "decoder": ("init", "step")}
STACK_BYTES = 8192  # reserved; the simulated run measures how much of it is used
FLAGS = (
    "-O2",
    "-std=c11",
    "-ffreestanding",
    "-fno-sanitize=all",
    "-ffunction-sections",
    "-fdata-sections",
    "-g0",
    "-fomit-frame-pointer",
    "-Wall",
    "-Wextra",
)


class TooLarge(UserError):
    """Flash or RAM is too small for the firmware; the message names part, need and have, and ``fit_text`` says it without the bundle."""

    def __init__(self, bundle: Path, target: Target, memory: str, need: str) -> None:
        name, have = {"flash": ("flash", target.flash_bytes), "ram": ("RAM", target.ram_bytes)}[memory]
        remedy = "use a smaller student or another target"
        super().__init__(f"{bundle}: does not fit {target.part} ({target.name}): needs {need} bytes of {name}, it has {have}; {remedy}")
        self.fit_text = f"does not fit: needs {need} bytes of {name}, {target.part} has {have}"


def build_firmware(bundle: Bundle, target: Target, folder: Path, board: Sequence[Path] = ()) -> Path:
    """Compile the bundle's driver and the main loop, link them with the bundle's TVM objects.

    Args:
        folder: receives copies of the C sources, the objects, ``firmware.elf`` and ``firmware.map``; what it held before is removed.
        board: C files and headers of a board layer, in place of the simulator's.

    Returns:
        The path of ``firmware.elf``.

    Raises:
        TooLarge: not even the simulated machine holds it.
        UserError: the bundle has no objects, was compiled for another target, has a kernel that TVM did not build, or does not compile.
    """
    tvm_objects = sorted((bundle.path / "lib").glob("*.o"))
    if not tvm_objects:
        raise UserError(f"{bundle.path}/lib: holds no object file; rerun 'realm-edge compile --target {target.name}'")
    if bundle.target != target.build:
        remedy = f"rerun 'realm-edge compile --target {target.name}'"
        raise UserError(f"{bundle.path}: was compiled for '{bundle.target}', not for '{target.build}'; {remedy}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = copy_firmware(("main.c", "regions.c", *(() if board else ("board_sim.c",)), target.compiler.startup), folder)
    for source in [*board, *sorted((bundle.path / "src").glob("*.[ch]"))]:
        shutil.copyfile(source, folder / source.name)
        names += [source.name] if source.suffix == ".c" else []
    shutil.copytree(bundle.path / "include", folder / "include")
    (folder / MODEL_HEADER).write_text(_model_names(bundle), encoding="utf-8")
    defines = (f"-DREALM_HAS_FRONTEND={int(bundle.frontend is not None)}", f"-DREALM_BLOCK_TICKS={bundle.ticks_per_block}", "-Iinclude")
    objects = compile_sources(names, target, folder, defines)
    try:
        elf = link(objects, tvm_objects, target, folder, bundle.stages)
        use = memory_use(elf)
        if use.code_in_ram > target.room_for_code(use.data_in_ram + bundle.ring_bytes):
            elf = link(objects, tvm_objects, replace(target, code_ram=None), folder, bundle.stages)
    except UserError as error:
        overflow = re.search(r"region '(flash|ram)': overflowed by (\d+) bytes", str(error))
        if not overflow:
            raise
        # Not even the simulated machine holds it, whose memory is larger than the part's.
        have = {"flash": target.machine.flash_length, "ram": target.machine.ram_length}[overflow[1]]
        raise TooLarge(bundle.path, target, overflow[1], f"at least {have + int(overflow[2])}") from error
    kernels = tuple(kernel.symbol for stage in bundle.stages for kernel in stage.kernels)
    if target.compiler.only_armv6m:
        check_armv6m(elf)
    check_kernel_origin(elf, tuple(stage.prefix for stage in bundle.stages), kernels, tvm_objects, objects)
    return elf


def copy_firmware(sources: Sequence[str], folder: Path) -> list[str]:
    """Copy firmware sources and all headers to ``folder``; returns the names of the sources."""
    with as_file(files("firmware_sim").joinpath("firmware")) as firmware:
        for path in [*(firmware / name for name in sources), *sorted(firmware.glob("*.h"))]:
            shutil.copyfile(path, folder / path.name)
    return list(sources)


def compile_sources(names: Sequence[str], target: Target, folder: Path, extra: Sequence[str] = ()) -> list[Path]:
    """Compile C and assembly files of ``folder`` to objects beside them. Relative names keep the folder's path out of the objects."""
    objects = [folder / Path(name).with_suffix(".o").name for name in names]
    for name, path in zip(names, objects, strict=True):
        zig_cc([*_machine_flags(target), *FLAGS, *extra, "-c", name, "-o", path.name], cwd=folder)
    return objects


def _model_names(bundle: Bundle) -> str:
    """``model.h``: the bundle's headers, and its names under those by which main.c and the board layer know them."""
    lines = [f'#include "{stage.prefix}.h"' for stage in bundle.named_stages.values()]
    for name, stage in bundle.named_stages.items():
        known = f"realm_{name}"
        if stage.prefix == known:
            continue
        lines += [f"#define {known.upper()}_{macro} {stage.prefix.upper()}_{macro}" for macro in _MACROS[name]]
        lines += [f"#define {known}_{function} {stage.prefix}_{function}" for function in _FUNCTIONS[name]]
    return "\n".join(["#ifndef REALM_MODEL_H", "#define REALM_MODEL_H", *lines, "#endif", ""])


def link(objects: Sequence[Path], tvm_objects: Sequence[Path], target: Target, folder: Path, stages: Sequence[Stage] = ()) -> Path:
    """Link to ``folder/firmware.elf`` with the memory of the target's simulated machine; kernels, and drivers of ``stages``, to its RAM if
    the part has RAM that executes code."""
    (folder / "memory.ld").write_text(linker_script(target, stages), encoding="utf-8")
    (folder / "tvm").mkdir(exist_ok=True)
    for path in tvm_objects:
        shutil.copyfile(path, folder / "tvm" / path.name)
    inputs = [path.name for path in objects] + [f"tvm/{path.name}" for path in tvm_objects]
    linker = ["-nostartfiles", "-Wl,-T,memory.ld", "-Wl,--entry=realm_reset", "-Wl,--gc-sections", "-Wl,--build-id=none"]
    zig_cc([*_machine_flags(target), "-O2", "-g0", *linker, *inputs, "-o", "firmware.elf"], cwd=folder)
    return folder / "firmware.elf"


def linker_script(target: Target, stages: Sequence[Stage] = ()) -> str:
    """``memory.ld``, as :func:`link` uses it."""
    machine = target.machine
    return Template(files("firmware_sim").joinpath("firmware/memory.ld").read_text(encoding="utf-8")).substitute(
        flash_origin=hex(machine.flash_origin),
        flash_length=hex(machine.flash_length),
        ram_origin=hex(machine.ram_origin),
        ram_length=hex(machine.ram_length),
        stack_bytes=STACK_BYTES,
        ram_text=_ram_text(stages) if target.code_ram else "",
    )


def _ram_text(stages: Sequence[Stage]) -> str:
    """What start-up copies to RAM: kernels, drivers (FLAGS give each function a section), the compiler's memcpy, memset and divisions."""
    drivers = "".join(f" *(.text.{stage.prefix}_*)" for stage in stages)
    return f"tvm/*.o(.text .text.*){drivers} *compiler_rt*(.text .text.*)"


def check_fit(elf: Path, target: Target, bundle: Path) -> MemoryUse:
    """See that model and main loop fit the part; the ADC's buffer, which the implant's timeline sizes, comes on top.

    Args:
        bundle: named in the error.

    Raises:
        TooLarge: flash or RAM is too small.
    """
    use = memory_use(elf)
    for name, need, have in (("flash", use.flash, target.flash_bytes), ("ram", use.ram, target.ram_bytes)):
        if need > have:
            raise TooLarge(bundle, target, name, str(need))
    return use


def _machine_flags(target: Target) -> list[str]:
    return ["-target", target.compiler.triple, f"-mcpu={target.compiler.cpu}"]
