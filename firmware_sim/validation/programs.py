"""The programs of the validation: their sources, each compiled at several levels of optimisation."""

import shutil
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from firmware_sim.build import compile_sources, copy_firmware, link
from firmware_sim.targets import Target

OPTIMISATIONS = ("-O0", "-O2", "-Os")
HARNESS = ("bench.c", "bench_board.c")
TIMED = frozenset({"idle_loop", "interrupted", "timer_sleep"})  # a timer interrupts them, or wakes them from WFI


def source_names() -> list[str]:
    """Names of the programs' sources, without the harness."""
    found = (path.name for path in files("firmware_sim").joinpath("validation/programs").iterdir())
    return sorted(name.removesuffix(".c") for name in found if name.endswith(".c") and not name.startswith("bench"))


def build_harness(target: Target, folder: Path, sources: Sequence[str] = HARNESS) -> list[Path]:
    """Compile what programs share (start-up, markers, board) to objects in ``folder``."""
    folder.mkdir(parents=True)
    firmware = copy_firmware(("regions.c", target.compiler.startup), folder)
    _copy(sources, folder)
    return compile_sources([*firmware, *sources], target, folder)


def build_program(source: str, optimisation: str, harness: Sequence[Path], target: Target, folder: Path) -> Path:
    """Compile one source in ``folder`` and link it with the harness; returns the ELF."""
    folder.mkdir(parents=True)
    _copy((f"{source}.c",), folder)
    shutil.copy(harness[0].with_name("board.h"), folder)
    objects = compile_sources([f"{source}.c"], target, folder, [optimisation])
    return link([*objects, *(Path(shutil.copy(path, folder)) for path in harness)], [], target, folder)


def _copy(sources: Sequence[str], folder: Path) -> None:
    with as_file(files("firmware_sim").joinpath("validation/programs")) as programs:
        for path in [*(programs / name for name in sources), *sorted(programs.glob("*.h"))]:
            shutil.copyfile(path, folder / path.name)
