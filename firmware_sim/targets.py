"""Targets: which part, core table, simulated machine and compiler flags a name stands for."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from realm_edge.errors import UserError


@dataclass(frozen=True)
class Compiler:
    """What ``zig cc`` needs to know."""

    triple: str
    cpu: str
    startup: str  # file in firmware_sim/firmware


@dataclass(frozen=True)
class Machine:
    """The QEMU machine that executes the firmware. Its memory may be larger than the part's."""

    emulator: str
    arguments: tuple[str, ...]
    flash_origin: int
    flash_length: int  # bytes
    ram_origin: int
    ram_length: int  # bytes


@dataclass(frozen=True)
class McuComponents:
    """Identifiers of the part's entries in ``components.toml``."""

    active: str
    sleep: str
    wakeup: str
    interrupt: str


@dataclass(frozen=True)
class Target:
    """One row of ``data/targets.toml``; ``assumed`` names the fields that no data sheet stands behind."""

    name: str
    part: str
    core: str
    clock_hz: int
    flash_bytes: int
    ram_bytes: int
    source: str
    assumed: tuple[str, ...]
    compiler: Compiler
    machine: Machine
    components: McuComponents


@cache
def targets() -> dict[str, Target]:
    """All targets by name, in the order of the file."""
    table = tomllib.loads(files("firmware_sim").joinpath("data/targets.toml").read_text(encoding="utf-8"))
    return {name: _target(name, row) for name, row in table.items()}


def get_target(name: str) -> Target:
    """Look a target up by name.

    Raises:
        UserError: there is no such target; the message lists those there are.
    """
    known = targets()
    if name not in known:
        raise UserError(f"unknown target '{name}': use one of {', '.join(known)}")
    return known[name]


def _target(name: str, row: dict) -> Target:
    plain = {key: value for key, value in row.items() if key not in ("assumed", "compiler", "machine", "components")}
    machine = row["machine"] | {"arguments": tuple(row["machine"]["arguments"])}
    return Target(
        name=name,
        assumed=tuple(row["assumed"]),
        compiler=Compiler(**row["compiler"]),
        machine=Machine(**machine),
        components=McuComponents(**row["components"]),
        **plain,
    )
