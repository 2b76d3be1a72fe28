"""The depthwise causal convolution on Helium, eight channels at a time.

Products of even and of odd channels are two vectors of sums. Constants lie in that order; the narrowing of both gives the channels' own.
"""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.fence import pin, with_fences
from firmware_sim.compiler.kernels.helium import halves, narrowed, raised, run, symmetric16, vmulh, vmull
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.requantise import LEAST_SHIFT, lifted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvm.tirx import PrimFunc

    from firmware_sim.compiler.kernels.conv import _Operands

    Finish = Callable[[Node, _Operands, PrimFunc, tuple[NDArray, ...]], Kernel]

_LANES, _SUMS = 8, 4


def vector_convolution(node: Node, conv: _Operands, finished: Finish) -> Kernel | None:
    """Kernel of whole vectors of channels, or None where they do not come out even or a sum leaves 32 bits.

    Args:
        finished: the kernel of a function of x, the state, constants and y.
    """
    d, taps = conv.weight.shape
    k, (mult,) = lifted(conv.k, conv.mult)
    up = max(0, LEAST_SHIFT - k)
    if d % _LANES or conv.bound << up >= 2**31 or k > 62:
        return None
    groups = d // _LANES
    weights = np.ascontiguousarray(conv.weight.reshape(groups, _LANES, taps).transpose(0, 2, 1))
    of_sums = np.stack([conv.bias, mult]).astype(np.int32).reshape(2, groups, _SUMS, 2)  # the last axis: even, odd
    constants = np.ascontiguousarray(of_sums.transpose(1, 0, 3, 2))

    def requantised(even: Any, odd: Any, mults: tuple[Any, Any]) -> Any:
        high = [vmulh(raised(acc, up), mult) for acc, mult in zip((even, odd), mults, strict=True)]
        return symmetric16(narrowed(narrowed(halves(high[0]), high[0], k + up - 32, top=False), high[1], k + up - 32, top=True))

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((d,), "int16"),
        state: T.Buffer((taps - 1, d), "int16"),
        weight: T.Buffer((groups, taps, _LANES), "int8"),
        constants: T.Buffer((groups, 2, 2, _SUMS), "int32"),
        y: T.Buffer((d,), "int16"),
    ):
        values = T.alloc_buffer((taps, _LANES), "int16")
        weights = T.alloc_buffer((_LANES,), "int16")
        acc = T.alloc_buffer((2, _SUMS), "int32")
        for i in range(pin(T.int32(groups))):
            for t in T.unroll(taps - 1):
                values[t, run(0, _LANES)] = state[t, run(i * _LANES, _LANES)]
            values[taps - 1, run(0, _LANES)] = x[run(i * _LANES, _LANES)]
            for half in T.unroll(2):
                acc[half, run(0, _SUMS)] = constants[i, 0, half, run(0, _SUMS)]
            for t in T.unroll(taps):
                weights[run(0, _LANES)] = T.cast(weight[i, t, run(0, _LANES)], f"int16x{_LANES}")
                for half in T.unroll(2):
                    acc[half, run(0, _SUMS)] = acc[half, run(0, _SUMS)] + vmull(values[t, run(0, _LANES)], weights[run(0, _LANES)], half)
                if t > 0:
                    state[t - 1, run(i * _LANES, _LANES)] = values[t, run(0, _LANES)]
            y[run(i * _LANES, _LANES)] = requantised(
                acc[0, run(0, _SUMS)],
                acc[1, run(0, _SUMS)],
                (constants[i, 1, 0, run(0, _SUMS)], constants[i, 1, 1, run(0, _SUMS)]),
            )

    return finished(node, conv, with_fences(kernel), (weights, constants))
