"""The machines of QEMU that programs run on: ``data/machines.toml``."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Board:
    """One machine; ``vectors``: where its core finds the vector table, None where a program starts at its entry."""

    arguments: tuple[str, ...]
    memory: tuple[range, ...]
    vectors: int | None

    @property
    def name(self) -> str:
        return self.arguments[1]

    def holds(self, first: int, nbytes: int) -> bool:
        """Whether there is memory at all of so many bytes from ``first`` on."""
        return any(first in piece and first + nbytes <= piece.stop for piece in self.memory)

    def places(self) -> str:
        """Where there is memory, in words."""
        return ", ".join(f"{piece.start:#x} to {piece.stop - 1:#x}" for piece in self.memory)


@cache
def boards(build: str) -> tuple[Board, ...]:
    """Machines that run programs of a build, the preferred one first."""
    rows = tomllib.loads(files("firmware_sim").joinpath("data/machines.toml").read_text(encoding="utf-8"))["machine"]
    return tuple(
        Board(tuple(row["arguments"]), tuple(range(first, first + size) for first, size in row["memory"]), row.get("vectors"))
        for row in rows
        if build in row["builds"]
    )
