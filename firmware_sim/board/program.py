"""The self-test of a bundle as a program for a target's simulated machine."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from firmware_sim.build import compile_sources, copy_firmware, link
from firmware_sim.bundle import Bundle
from firmware_sim.compiler.selftest import FOLDER
from firmware_sim.elf import memory_use
from firmware_sim.targets import Target
from realm_edge.errors import UserError


def build_selftest(bundle: Bundle, target: Target, folder: Path, flags: Sequence[str] = ()) -> Path:
    """Link the self-test; kernels and drivers lie in RAM where those of the firmware do. Returns the ELF file, in ``folder``.

    Args:
        folder: an empty one.
        flags: more of them, for the compiler.

    Raises:
        UserError: the bundle has no self-test, is of another build, or does not compile or fit.
    """
    if bundle.target != target.build:
        raise UserError(f"{bundle.path}: was compiled for '{bundle.target}', {target.name} needs '{target.build}': name another --target")
    names = copy_selftest(bundle, target, folder)
    objects = compile_sources(names, target, folder, [f"-D{bundle.prefix.upper()}_SELFTEST_COUNTER=0", *flags])
    kernels = sorted((bundle.path / "lib").glob("*.o"))
    elf = link(objects, kernels, target, folder, bundle.stages)
    use = memory_use(elf)
    if use.code_in_ram > target.room_for_code(use.data_in_ram):
        elf = link(objects, kernels, replace(target, code_ram=None), folder, bundle.stages)
    return elf


def copy_selftest(bundle: Bundle, target: Target, folder: Path) -> list[str]:
    """Copy its sources, start-up code and all headers to ``folder``; returns the names of what is to be compiled.

    Raises:
        UserError: the bundle has no self-test.
    """
    if not (bundle.path / FOLDER).is_dir():
        raise UserError(f"{bundle.path}: has no self-test: rerun 'realm-edge compile'")
    names = copy_firmware(("selftest_fault.c", target.compiler.startup), folder)
    for part in ("include", "src", FOLDER):
        for source in sorted((bundle.path / part).glob("*.[ch]")):
            shutil.copyfile(source, folder / source.name)
            names += [source.name] if source.suffix == ".c" else []
    return names
