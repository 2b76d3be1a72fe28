"""The depthwise causal convolution."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored, width
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.products import sum_bound


def scalar(node: Node) -> Kernel:
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
