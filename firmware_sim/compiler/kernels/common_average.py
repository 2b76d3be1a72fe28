"""The common average reference of a front end, over a block of samples (:mod:`firmware_sim.compiler.frontend`)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels import emit
from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from quantization.operators.biquad import STEP

RUN = 8  # channels that are added up between two branches


@dataclass(frozen=True)
class Reference:
    """A checked QCommonAverage: y = x * guard - mean, where both are multiples of STEP.

    Attributes:
        x: (channels,) int16, one sample.
        good: (channels,) bool.
        reciprocal, k: mean = STEP round_shift(sum * reciprocal, k); ``reciprocal`` is 0 where nothing is subtracted.
        guard: what a sample is multiplied by.
        y: the output of a sample, (channels, 1) int32.
    """

    x: Value
    good: NDArray[np.bool_]
    reciprocal: int
    k: int
    guard: int
    y: Value

    @property
    def channels(self) -> int:
        return len(self.good)

    @property
    def averaged(self) -> bool:
        return self.reciprocal > 0 and bool(self.good.any())

    def mean(self, total: Any) -> Exact:
        return (Exact(total, self.channels * self.x.bound) * self.reciprocal).round_shift(self.k) * STEP


def checked(node: Node) -> Reference:
    """Check a node.

    Raises:
        UserError: a result that leaves int32, or marks of good channels that are neither 0 nor 1.
    """
    node.expect(5, 1)
    x = node.tensor(0, "int16", None)
    good = node.constant(1, "int8", x.shape[0])
    if not np.isin(good, (0, 1)).all():
        raise node.refuse("input 1 holds something other than 0 and 1")
    unbounded = Reference(
        x, good == 1, node.scalar(2, 0), node.shift(3), STEP * node.scalar(4, 1), node.output(0, "int32", (x.shape[0], 1), 0)
    )
    bound = x.bound * unbounded.guard + (unbounded.mean(T.int32(0)).bound if unbounded.averaged else 0)
    if bound >= 2**31:
        raise node.refuse(f"its result may reach 2^{bound.bit_length() - 1}, beyond int32", "use fewer guard bits")
    return Reference(x, unbounded.good, unbounded.reciprocal, unbounded.k, unbounded.guard, node.output(0, "int32", (x.shape[0], 1), bound))


def means(reference: Reference, rows: Value, count: Value) -> Kernel:
    """The mean of each sample of a block, into the first of ``rows`` (rows, chunk) int32, of ``count`` (1,) of (chunk, channels) samples.

    Bad channels are few and known: they are added like the others and taken away.
    """
    (_, chunk), n = rows.shape, reference.channels
    with emit.kernel() as built:
        x = emit.parameter("x", "int16", chunk, n)
        means_of = emit.parameter("rows", "int32", *rows.shape)
        samples = emit.parameter("count", "int32", 1)
        with emit.loop(samples[0]) as t:
            total = emit.Register("int32", T.int32(0))

            def add(channel: Any) -> None:
                total.set(total.get() + T.cast(x[t, channel], "int32"))

            with emit.loop(n // RUN) as run:
                for i in range(RUN):
                    add(run * RUN + i)
            for rest in range(n - n % RUN, n):
                add(rest)
            for bad in np.flatnonzero(~reference.good):
                total.set(total.get() - T.cast(x[t, int(bad)], "int32"))
            emit.store(means_of, (0, t), reference.mean(total.get()).to("int32"))
    return Kernel(built.function, (reference.x.name, rows.name, count.name), (), scratch=(rows,), given=(count,))
