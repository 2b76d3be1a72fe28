"""Kernels with int8 weights: matrix times vector, and the depthwise causal convolution."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored, width
from firmware_sim.compiler.kernels.interface import Kernel, Node

ROWS = 4  # output channels that share one load of x: as many accumulators as 13 registers hold


def q_linear(node: Node) -> Kernel:
    """sat16(round_shift((x W + b) * mult, k)), with the weights stored (out, in)."""
    return _linear(node, "int8")


def q_linear16(node: Node) -> Kernel:
    """The same of int16: one load and one product a term all the same."""
    return _linear(node, "int16")


def _linear(node: Node, dtype: str) -> Kernel:
    node.expect(5, 1)
    x = node.tensor(0, dtype, None)
    n_in = x.shape[0]
    weight = np.ascontiguousarray(node.constant(1, "int8", n_in, None).T)  # (out, in)
    n_out = len(weight)
    bias, mult, k = stored(node.constant(2, "int32", n_out)), stored(node.constant(3, "int32", n_out)), node.shift(4)
    bound = sum_bound(weight, x.bound, bias)
    acc_type = width(bound)
    rows = min(ROWS, n_out)
    blocks = -(-n_out // rows)

    def requantised(acc: Any, factor: Any) -> Any:
        return (Exact(acc, bound) * Exact(factor, peak(mult))).round_shift(k).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n_in,), dtype),
        weight: T.Buffer((n_out, n_in), "int8"),
        bias: T.Buffer((n_out,), bias.dtype.name),
        mult: T.Buffer((n_out,), mult.dtype.name),
        y: T.Buffer((n_out,), "int16"),
    ):
        acc = T.alloc_buffer((rows,), acc_type)
        for block in range(blocks):
            # The last block begins earlier where rows do not divide n_out: a few sums are formed twice, no second loop is needed.
            first: T.let = T.min(block * rows, n_out - rows)
            for r in T.unroll(rows):
                acc[r] = T.cast(bias[first + r], acc_type)
            for i in range(n_in):
                for r in T.unroll(rows):
                    acc[r] = acc[r] + T.cast(x[i], acc_type) * T.cast(weight[first + r, i], acc_type)
            for r in T.unroll(rows):
                y[first + r] = requantised(acc[r], mult[first + r])

    y = node.output(0, "int16", (n_out,), 32767)
    return Kernel(kernel, (x.name, weight, bias, mult, y.name), (y,), macs=weight.size)


def q_conv(node: Node) -> Kernel:
    """sat16(round_shift((sum_k w_k v_k + b) * mult, k)), v = [state, x]; the state moves up by one in place."""
    node.expect(6, 2)
    x = node.tensor(0, "int16", None)
    d = x.shape[0]
    state = node.tensor(1, "int16", None, d)
    taps = state.shape[0] + 1
    weight = np.ascontiguousarray(node.constant(2, "int8", taps, d).T)  # (d, taps)
    bias, mult, k = stored(node.constant(3, "int32", d)), stored(node.constant(4, "int32", d)), node.shift(5)
    bound, mult_peak = sum_bound(weight, x.bound, bias), peak(mult)

    def filtered(x: Any, state: Any, weight: Any, bias: Any, mult: Any, i: Any) -> Any:
        window = [*(state[t, i] for t in range(taps - 1)), x[i]]
        acc = T.cast(bias[i], width(bound))
        for t, value in enumerate(window):
            acc = acc + T.cast(value, width(bound)) * T.cast(weight[i, t], width(bound))
        return (Exact(acc, bound) * Exact(mult[i], mult_peak)).round_shift(k).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((d,), "int16"),
        state: T.Buffer((taps - 1, d), "int16"),
        weight: T.Buffer((d, taps), "int8"),
        bias: T.Buffer((d,), bias.dtype.name),
        mult: T.Buffer((d,), mult.dtype.name),
        y: T.Buffer((d,), "int16"),
    ):
        for i in range(d):
            y[i] = filtered(x, state, weight, bias, mult, i)
            for t in T.unroll(taps - 2):
                state[t, i] = state[t + 1, i]
            state[taps - 2, i] = x[i]

    y = node.output(0, "int16", (d,), 32767)
    after = node.output(1, "int16", state.shape, x.bound)
    return Kernel(kernel, (x.name, state.name, weight, bias, mult, y.name), (y, after), {after.name: state.name}, macs=weight.size)


def sum_bound(weight: NDArray, x_bound: int, bias: NDArray) -> int:
    """Largest absolute accumulator of any output: weight is (out, terms)."""
    return int(np.max(np.sum(np.abs(weight.astype(np.int64)), axis=1) * x_bound + np.abs(bias.astype(np.int64))))
