"""The common average reference: it runs on every sample."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """((x * guard) - round_shift(sum(x * good) * reciprocal, k)) * good; bad channels are few and known, so they cost only a store."""
    node.expect(5, 1)
    x = node.tensor(0, "int16", None)
    n = x.shape[0]
    good = node.constant(1, "int8", n)
    if not np.isin(good, (0, 1)).all():
        raise node.refuse("input 1 holds something other than 0 and 1")
    reciprocal, k, guard = node.scalar(2, 0), node.shift(3), node.scalar(4, 1)
    bad = [int(i) for i in np.flatnonzero(good == 0)]
    n_bad = len(bad)
    referenced = reciprocal > 0 and n_bad < n
    mean_bound = (Exact(T.int32(0), n * x.bound) * reciprocal).round_shift(k).bound if referenced else 0
    bound = x.bound * guard + mean_bound
    if bound >= 2**31:
        raise node.refuse(f"its result may reach 2^{bound.bit_length() - 1}, beyond int32", "use fewer guard bits")

    def average(total: Any) -> Any:
        return (Exact(total, n * x.bound) * reciprocal).round_shift(k).to("int32")

    @T.prim_func(s_tir=True)
    def kernel(x: T.Buffer((n,), "int16"), y: T.Buffer((n,), "int32")):
        mean = T.alloc_scalar("int32")
        mean = 0
        if referenced:
            for i in range(n):
                mean = mean + T.cast(x[i], "int32")
            if n_bad > 0:
                for j in T.unroll(n_bad):
                    mean = mean - T.cast(x[choose(bad, j)], "int32")
            mean = average(mean)
        for i in range(n):
            y[i] = T.cast(x[i], "int32") * guard - mean
        if n_bad > 0:
            for j in T.unroll(n_bad):
                y[choose(bad, j)] = 0

    y = node.output(0, "int32", (n, 1), bound)
    return Kernel(kernel, (x.name, y.name), (y,))


def choose(values: Sequence[int], index: Any) -> Any:
    """``values[index]`` for the index of an unrolled loop: folds to one immediate."""
    chosen = tirx.const(values[-1], "int32")
    for i in reversed(range(len(values) - 1)):
        chosen = T.Select(index == i, tirx.const(values[i], "int32"), chosen)
    return chosen
