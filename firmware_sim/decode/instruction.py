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
    reads: frozenset[int] = frozenset()  # registers that are read (a load: its address registers)
    writes: frozenset[int] = frozenset()  # registers that are written (RISC-V: by anything but a load); Thumb: where dual issue asks
    loaded: int = 0  # bytes that come from memory
    literal: bool = False  # a load from the code's own constants
