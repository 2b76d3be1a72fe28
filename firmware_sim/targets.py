"""Targets: which part, core table, simulated machine and compiler flags a name stands for."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from firmware_sim.builds import Build, Compiler, Machine, get_build, linux_builds
from realm_edge.errors import UserError


@dataclass(frozen=True)
class McuComponents:
    """Identifiers of the part's entries in ``components.toml``; ``active`` or ``sleep`` None: there is no power figure.

    Attributes:
        rail: at which the figures hold; None: the battery's.
        active_ldo: with the part's own linear regulator; None: there is no figure.
        sleep_dma: asleep with clocks and DMA on, where nobody else holds the samples; None: there is no figure.
        radio: on the part; None: it has none that is priced.
    """

    wakeup: str
    interrupt: str
    active: str | None = None
    sleep: str | None = None
    rail: str | None = None
    active_ldo: str | None = None
    sleep_dma: str | None = None
    radio: Literal["nrf52840", "nrf54l15", "cc2340"] | None = None


@dataclass(frozen=True)
class Flash:
    """Flash memory at the part's clock, and the caches in front of it (0 bytes: none).

    A read brings ``line_bytes`` and stalls the core for ``wait_states`` cycles where no cache holds the line. Where ``unified``, constants
    share the instruction cache with code. Where ``prefetch``, the flash reads the next line of code while the core executes one.
    """

    wait_states: int
    line_bytes: int
    instruction_cache_bytes: int
    data_cache_bytes: int
    source: str
    unified: bool = False
    prefetch: bool = False


@dataclass(frozen=True)
class CodeRam:
    """The piece of a part's RAM from which its core fetches code without a wait and without disturbing its data accesses."""

    nbytes: int
    source: str


@dataclass(frozen=True)
class Target:
    """One row of ``data/targets.toml``; ``assumed`` names the fields, of the part or of its flash, that no document was read for."""

    name: str
    part: str
    core: str
    build: str
    clock_hz: int
    flash_bytes: int
    ram_bytes: int
    source: str
    assumed: tuple[str, ...]
    flash: Flash
    compiler: Compiler
    machine: Machine
    components: McuComponents
    code_ram: CodeRam | None = None  # a piece of ``ram_bytes``; None: all code runs from flash

    def room_for_code(self, data_bytes: int) -> int:
        """Bytes of RAM that code may run from beside so many of data."""
        return max(0, min(self.code_ram.nbytes, self.ram_bytes - data_bytes)) if self.code_ram else 0

    def source_of(self, field: str) -> str:
        """Where the value of a field, of the part or of its flash, comes from."""
        return self.flash.source if hasattr(self.flash, field) else self.source


@cache
def targets() -> dict[str, Target]:
    """All targets by name, in the order of the file."""
    rows = tomllib.loads(files("firmware_sim").joinpath("data/targets.toml").read_text(encoding="utf-8"))
    return {name: _target(name, row, get_build(row["build"])) for name, row in rows.items()}


def get_target(name: str) -> Target:
    """Look a target up by name.

    Raises:
        UserError: there is no such target; the message lists those there are.
    """
    known = targets()
    if name not in known:
        raise UserError(f"unknown target '{name}': use one of {', '.join(known)}")
    return known[name]


def build_for(name: str) -> str:
    """The build that firmware for a target is compiled by; of Linux, which is a build and no part, the name itself.

    Raises:
        UserError: there is no such target; the message lists those there are.
    """
    if name in linux_builds():
        return name
    if name not in targets():
        raise UserError(f"unknown target '{name}': use one of {', '.join((*targets(), *linux_builds()))}")
    return targets()[name].build


def _target(name: str, row: dict, build: Build) -> Target:
    assert build.machine is not None  # of a part: Linux is no part
    plain = {key: value for key, value in row.items() if key not in ("assumed", "flash", "components", "code_ram")}
    return Target(
        name=name,
        assumed=tuple(row["assumed"]),
        flash=Flash(**row["flash"]),
        compiler=build.compiler,
        machine=build.machine,
        components=McuComponents(**row["components"]),
        code_ram=CodeRam(**row["code_ram"]) if "code_ram" in row else None,
        **plain,
    )
