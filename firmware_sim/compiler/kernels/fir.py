"""The Wiener filter's lags."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.products import sum_bound


def scalar(node: Node) -> Kernel:
    """Sums over all lags, each sum moving up by one lag a step, in place; weights stored (lags, dims, n)."""
    node.expect(6, 2)
    x = node.tensor(0, "int8", None)
    n = x.shape[0]
    state = node.tensor(1, "int32", None, None)
    lags, dims = state.shape[0] + 1, state.shape[1]
    weight = np.ascontiguousarray(node.constant(2, "int8", lags * n, dims).reshape(lags, n, dims).transpose(0, 2, 1))
    bias, mult, k = stored(node.constant(3, "int32", dims)), stored(node.constant(4, "int32", dims)), node.shift(5)
    bound = sum_bound(weight.transpose(1, 0, 2).reshape(dims, -1), x.bound, bias)
    if bound >= 2**31:
        raise node.refuse(f"its sums may reach 2^{bound.bit_length() - 1}, beyond int32", "use fewer lags")

    def requantised(acc: Any, offset: Any, factor: Any) -> Any:
        return (Exact(acc + T.cast(offset, "int32"), bound) * Exact(factor, peak(mult))).round_shift(k).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int8"),
        state: T.Buffer((lags - 1, dims), "int32"),
        weight: T.Buffer((lags, dims, n), "int8"),
        bias: T.Buffer((dims,), bias.dtype.name),
        mult: T.Buffer((dims,), mult.dtype.name),
        y: T.Buffer((dims,), "int16"),
    ):
        acc = T.alloc_buffer((dims,), "int32")
        for lag in range(lags):
            for d in T.unroll(dims):
                acc[d] = 0
            if lag < lags - 1:
                for d in T.unroll(dims):
                    acc[d] = state[lag, d]
            for i in range(n):
                for d in T.unroll(dims):
                    acc[d] = acc[d] + T.cast(x[i], "int32") * T.cast(weight[lag, d, i], "int32")
            if lag == 0:
                for d in T.unroll(dims):
                    y[d] = requantised(acc[d], bias[d], mult[d])
            else:
                for d in T.unroll(dims):
                    state[lag - 1, d] = acc[d]

    y = node.output(0, "int16", (dims,), 32767)
    after = node.output(1, "int32", state.shape, bound)
    return Kernel(kernel, (x.name, state.name, weight, bias, mult, y.name), (y, after), {after.name: state.name}, macs=weight.size)
