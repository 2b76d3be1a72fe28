"""A convolution over time whose weights all channels share."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored, width
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.products import ROWS, sum_bound


def scalar(node: Node) -> Kernel:
    """sat16(round_shift((sum over taps and kinds of w v + b) * mult, k)) a channel and map; the state moves up by one in place."""
    node.expect(6, 2)
    x = node.tensor(0, "int8", None)
    n = x.shape[0]
    state = node.tensor(1, "int8", None, n)
    taps = state.shape[0] + 1
    weight = node.constant(2, "int8", None, None)
    terms, maps = weight.shape
    kinds = terms // taps
    if terms % taps or n % kinds:
        raise node.refuse(f"its {terms} weights per map fit no {taps} taps of {n} values")
    channels = n // kinds
    bias, mult, k = stored(node.constant(3, "int32", maps)), stored(node.constant(4, "int32", maps)), node.shift(5)
    bound = sum_bound(weight.T, x.bound, bias)
    acc_type = width(bound)
    rows = min(ROWS, maps)
    blocks = -(-maps // rows)

    def product(value: Any, factor: Any) -> Any:
        return T.cast(value, acc_type) * T.cast(factor, acc_type)

    def requantised(acc: Any, factor: Any) -> Any:
        return (Exact(acc, bound) * Exact(factor, peak(mult))).round_shift(k).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int8"),
        state: T.Buffer((taps - 1, n), "int8"),
        weight: T.Buffer((terms, maps), "int8"),
        bias: T.Buffer((maps,), bias.dtype.name),
        mult: T.Buffer((maps,), mult.dtype.name),
        y: T.Buffer((channels * maps,), "int16"),
    ):
        acc = T.alloc_buffer((rows,), acc_type)
        for c in range(channels):
            for block in range(blocks):
                first: T.let = T.min(block * rows, maps - rows)
                for r in T.unroll(rows):
                    acc[r] = T.cast(bias[first + r], acc_type)
                for t in range(taps - 1):
                    for kind in range(kinds):
                        for r in T.unroll(rows):
                            acc[r] = acc[r] + product(state[t, kind * channels + c], weight[t * kinds + kind, first + r])
                for kind in range(kinds):
                    for r in T.unroll(rows):
                        acc[r] = acc[r] + product(x[kind * channels + c], weight[(taps - 1) * kinds + kind, first + r])
                for r in T.unroll(rows):
                    y[c * maps + first + r] = requantised(acc[r], mult[first + r])
        for i in range(n):
            for t in T.unroll(taps - 2):
                state[t, i] = state[t + 1, i]
            state[taps - 2, i] = x[i]

    y = node.output(0, "int16", (channels * maps,), 32767)
    after = node.output(1, "int8", state.shape, x.bound)
    pointers = (x.name, state.name, np.ascontiguousarray(weight), bias, mult, y.name)
    return Kernel(kernel, pointers, (y, after), {after.name: state.name}, macs=channels * weight.size)
