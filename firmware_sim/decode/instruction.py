"""What timing needs to know of one instruction."""

from dataclasses import dataclass


class UnknownInstruction(Exception):
    """The decoder does not know these bytes: the firmware uses an extension that the core table does not cover."""


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction.

    ``kind`` is a class of the core's table. ``transfer`` instructions end a block; a ``conditional`` one may fall through instead.
    """

    address: int
    size: int  # bytes
    kind: str
    transfer: bool = False
    conditional: bool = False
    registers: int = 0  # how many a multiple load or store moves
    loads: frozenset[int] = frozenset()  # registers that memory data arrive in
    writes: frozenset[int] = frozenset()  # registers that get any other result (RISC-V only)
    reads: frozenset[int] = frozenset()  # registers that are read (a load: its address registers)
