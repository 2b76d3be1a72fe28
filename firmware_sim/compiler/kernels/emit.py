"""TIR that is put together statement by statement: what a fused kernel consists of depends on the graph, and TVMScript is a fixed text.

Used inside ``with kernel() as built:`` only.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script import tirx as T
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

    def __init__(self, dtype: str, value: Any) -> None:
        self._buffer = I.sblock_alloc_buffer((1,), dtype)
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


@dataclass
class Turn:
    """Two registers that change places with every sample: what was the last value becomes the one before it without being moved."""

    last: Register
    before: Register

    def push(self, value: Any) -> None:
        """A new last value."""
        self.before.set(value)
        self.swap()

    def swap(self) -> None:
        self.last, self.before = self.before, self.last


def by_twos(
    count: Any,
    turns: Sequence[Turn],
    read: Callable[[Any], Any],
    body: Callable[[Any, Any], None],
    run: Callable[[Any], Any] | None = None,
) -> None:
    """``body(t, read(t))`` for each t below ``count``, written out for two samples; it has to swap each of ``turns`` once.

    ``read`` gives an int32; ``run`` keeps the loads of both samples together, which takes a register more. After an odd number, the
    registers' contents change places, so that the names mean the same behind the loop.
    """
    with loop(count >> 1) as half:
        first, second = half * 2, half * 2 + 1
        if run:
            values = [Register("int32", read(first)), Register("int32", read(second))]
            values[0].set(run(values[0].get()))
            body(first, values[0].get())
            body(second, values[1].get())
        else:
            body(first, Register("int32", read(first)).get())
            body(second, Register("int32", read(second)).get())
    with I.If((count & 1) == 1), I.Then():
        body(count - 1, Register("int32", read(count - 1)).get())
        for turn in turns:
            kept = Register("int32", turn.last.get())
            turn.last.set(turn.before.get())
            turn.before.set(kept.get())
            turn.swap()


def const(value: int, dtype: str = "int32") -> Any:
    return T.cast(T.int64(value), dtype) if dtype == "int64" else T.int32(value)
