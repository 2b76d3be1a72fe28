"""TIR that is put together statement by statement, by Python that knows what a front end has: registers, loops over samples, two a turn.

TVMScript needs a function's text; a fused kernel's text depends on the graph. Used inside ``with kernel():`` only.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as I

Buffer = Any  # of TIR


@dataclass
class Built:
    """The function that a ``with kernel() as built:`` block leaves behind."""

    function: tirx.PrimFunc | None = None


@contextmanager
def kernel() -> Iterator[Built]:
    """Statements of the block become a function; its parameters are those of :func:`parameter`, in order."""
    built = Built()
    with IRBuilder() as builder:
        with I.prim_func(s_tir=True):
            I.func_name("kernel")
            yield built
        built.function = builder.get()


def parameter(name: str, dtype: str, *shape: int) -> Buffer:
    """A pointer to a tensor."""
    return I.arg(name, I.buffer(shape, dtype))


class Register:
    """A local variable. LLVM keeps it in a register where there is one left."""

    def __init__(self, dtype: str, value: Any = None) -> None:
        self._buffer = I.sblock_alloc_buffer((1,), dtype)
        if value is not None:
            self.set(value)

    def get(self) -> Any:
        return self._buffer[0]

    def set(self, value: Any) -> None:
        I.buffer_store(self._buffer, value, [0])


def store(buffer: Buffer, index: Sequence[Any], value: Any) -> None:
    I.buffer_store(buffer, value, list(index))


def loop(extent: Any) -> Any:
    """``with loop(n) as i:``"""
    return I.serial(0, extent)


def when(condition: Any, body: Callable[[], None]) -> None:
    with I.If(condition), I.Then():
        body()


@dataclass
class Turn:
    """Two registers that change places with every sample: what was the last value becomes the one before it without being moved."""

    last: Register
    before: Register

    def swap(self) -> None:
        self.last, self.before = self.before, self.last


def by_twos(count: Any, turns: Sequence[Turn], body: Callable[[Any], None]) -> None:
    """``body(t)`` for each t below ``count``, written out for two samples; it has to swap each of ``turns`` once.

    After an odd number, the registers' contents change places, so that names mean the same behind the loop.
    """
    with loop(count >> 1) as half:
        body(half * 2)
        body(half * 2 + 1)

    def last() -> None:
        body(count - 1)
        for turn in turns:
            kept = turn.last.get()
            spare = Register("int32", kept)
            turn.last.set(turn.before.get())
            turn.before.set(spare.get())
            turn.swap()

    when((count & 1) == 1, last)
