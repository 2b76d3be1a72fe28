"""Builds: how code for an instruction set is compiled, and the machine that executes it; targets of one instruction set share one."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from realm_edge.errors import UserError


@dataclass(frozen=True)
class Compiler:
    """What ``zig cc`` needs to know."""

    triple: str
    cpu: str
    startup: str = ""  # file in firmware_sim/firmware; Linux brings its own
    only_armv6m: bool = False  # the simulated machine has more instructions than the part


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
class Build:
    """One table of ``data/builds.toml``."""

    compiler: Compiler
    machine: Machine | None  # None: Linux runs it
    kernels: str  # the family of instruction sets that kernels are written for: firmware_sim.compiler.kernels.FAMILIES
    tvm: dict[str, Any]  # of tvm.target.Target


@cache
def builds() -> dict[str, Build]:
    """All builds by name."""
    tables = tomllib.loads(files("firmware_sim").joinpath("data/builds.toml").read_text(encoding="utf-8"))
    return {name: _build(table) for name, table in tables.items()}


def get_build(name: str) -> Build:
    """Look a build up by name.

    Raises:
        UserError: unknown; the message lists those there are.
    """
    if name not in builds():
        raise UserError(f"unknown target '{name}': the compiler knows {', '.join(builds())}")
    return builds()[name]


def linux_builds() -> tuple[str, ...]:
    """Those of gateways that run Linux: ``compile`` knows them as targets, no part is behind them."""
    return tuple(name for name, build in builds().items() if build.machine is None)


def _build(table: dict[str, Any]) -> Build:
    machine = Machine(**table["machine"] | {"arguments": tuple(table["machine"]["arguments"])}) if "machine" in table else None
    return Build(Compiler(**table["compiler"]), machine, table["kernels"], table["tvm"])
