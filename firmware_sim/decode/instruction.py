"""What timing needs to know of one instruction."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    writes: frozenset[int] = frozenset()  # registers that are written (RISC-V: by anything but a load)
    loaded: int = 0  # bytes that come from memory
    literal: bool = False  # a load from the code's own constants
    # Thumb, for cores whose table has [issue]:
    form: str = ""  # the kind, or a class inside it
    updates: frozenset[int] = frozenset()  # of ``writes``: address registers that a load or store changes
    roles: Mapping[int, str] = field(default_factory=dict)  # what a register is read for, where that may decide when
    base: int = 0  # register that an address is a fixed distance from
    offset: int | None = None  # that distance in bytes; None: none is fixed
