"""Threshold crossings of a bin, over blocks of samples (:mod:`firmware_sim.compiler.frontend`)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels import emit
from firmware_sim.compiler.kernels.exact import Exact, peak
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value

LARGEST = 32767  # count


@dataclass(frozen=True)
class Counts:
    """A checked QSpikeCount.

    Attributes:
        y: name of the filtered sample.
        threshold: (channels,) int32.
        ticks: samples of a bin.
        phase, below, count, held: states; ``outputs`` are their next values and "valid", in the order of the node's outputs.
    """

    y: str
    threshold: NDArray[np.int32]
    ticks: int
    phase: Value
    below: Value
    count: Value
    held: Value
    outputs: tuple[Value, ...]

    @property
    def in_place(self) -> dict[str, str]:
        held, _, phase, below, count = (value.name for value in self.outputs)
        return {held: self.held.name, phase: self.phase.name, below: self.below.name, count: self.count.name}


def checked(node: Node) -> Counts:
    """Check a node.

    Raises:
        UserError: thresholds so far out that a difference leaves int32.
    """
    node.expect(7, 5)
    y = node.tensor(0, "int32", None, 1)
    n = y.shape[0]
    threshold, phase, below = node.constant(1, "int32", n), node.tensor(2, "int32", 1), node.tensor(3, "int8", n)
    count, held, ticks = node.tensor(4, "int16", n), node.tensor(5, "int16", n), node.scalar(6, 1)
    if ticks >= 2**31:
        raise node.refuse(f"a bin has {ticks} samples, more than 31 bits count")
    if y.bound + peak(threshold) >= 2**31:
        raise node.refuse(f"input 1 holds {threshold.min()} to {threshold.max()}, too far from values up to {y.bound}")
    outputs = (
        node.output(0, "int16", (n,), LARGEST),
        node.output(1, "int32", (1,), 1),
        node.output(2, "int32", (1,), ticks),
        node.output(3, "int8", (n,), 1),
        node.output(4, "int16", (n,), LARGEST),
    )
    return Counts(y.name, threshold, ticks, phase, below, count, held, outputs)


class Counter:
    """Counts the crossings of one channel in registers."""

    def __init__(self, threshold: emit.Buffer, below: emit.Buffer, count: emit.Buffer, c: Any) -> None:
        """The buffers are those of all channels, ``c`` is this one."""
        self._below, self._count, self._c = below, count, c
        self._threshold = emit.Register("int32", threshold[c])
        self._crossed = emit.Register("int32", T.int32(0))
        self._distance = emit.Register("int32", -T.cast(below[c], "int32"))  # from the threshold: negative below it

    def add(self, y: Any) -> None:
        """A sample: crossed where it lies below the threshold and the one before does not; the sign bit says both."""
        distance = emit.Register("int32", y - self._threshold.get())
        downwards = T.bitwise_and(distance.get(), T.bitwise_not(self._distance.get()))
        self._crossed.set(self._crossed.get() + T.cast(T.shift_right(T.reinterpret("uint32", downwards), T.uint32(31)), "int32"))
        self._distance.set(distance.get())

    def save(self) -> None:
        now = T.cast(T.shift_right(T.reinterpret("uint32", self._distance.get()), T.uint32(31)), "int8")
        emit.store(self._below, (self._c,), now)
        total = T.cast(self._count[self._c], "int32") + self._crossed.get()
        emit.store(self._count, (self._c,), Exact(total, 2**30).saturate(16))


def at_edge(counts: Counts) -> Kernel:
    """Hands the counts over and starts anew."""
    n = len(counts.threshold)
    with emit.kernel() as built:
        count = emit.parameter("count", "int16", n)
        held = emit.parameter("held", "int16", n)
        with emit.loop(n) as c:
            emit.store(held, (c,), count[c])
            emit.store(count, (c,), T.int16(0))
    return Kernel(built.function, (counts.count.name, counts.held.name), counts.outputs, counts.in_place)
