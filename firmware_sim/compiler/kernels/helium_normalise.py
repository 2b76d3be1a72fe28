"""z-scores on Helium, four at a time, without a sum of 64 bits.

With halves of 16 bits, the lower of them signed, mult = m1 2^16 + m0 and bias + 2^(k - 1) = b1 2^16 + b0:
floor((x mult + bias + 2^(k - 1)) / 2^16) = x m1 + b1 + floor((x m0 + b0) / 2^16), all of it in 32 bits.
"""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import peak
from firmware_sim.compiler.kernels.fence import pin, with_fences
from firmware_sim.compiler.kernels.helium import clamped, halves, narrowed, run, words
from firmware_sim.compiler.kernels.interface import Kernel

if TYPE_CHECKING:
    from firmware_sim.compiler.kernels.normalise import _Operands

_LANES, _HALF = 4, 16


def vector_scaling(scaling: _Operands) -> Kernel | None:
    """sat(round_shift(x * mult + bias, k)); None for less than a vector, other shifts than 17 to 47, and where halves leave their range."""
    x, k, bits = scaling.x, scaling.k, scaling.bits
    n, left = x.shape[0], k - _HALF
    if n < _LANES or not 1 <= left < 32 or peak(scaling.bias) + (1 << k >> 1) >= 2 ** (31 + _HALF):
        return None
    (m1, m0), (b1, b0) = _signed_halves(scaling.mult.astype(np.int64)), _signed_halves(scaling.bias + (1 << k >> 1))
    if peak(m1) >= 2**15 or x.bound * peak(m1) + peak(b1) + 2**_HALF >= 2**31:
        return None
    groups = -(-n // _LANES)
    index = np.minimum(np.arange(groups) * _LANES, n - _LANES)[:, None] + np.arange(_LANES)
    lower = np.stack([m0[index], m1[index], b0[index]], axis=1).astype(np.int16)
    upper = b1[index].astype(np.int32)

    def scaled(xs: Any, lower: Any, upper: Any, i: Any) -> Any:
        m0, m1, b0 = (T.cast(lower[i, part, run(0, _LANES)], f"int32x{_LANES}") for part in range(3))
        carried = T.shift_right(xs * m0 + b0, T.broadcast(T.int32(_HALF), _LANES))
        total = xs * m1 + upper[i, run(0, _LANES)] + carried
        return words(clamped(narrowed(halves(total), total, left, top=False, rounded=False), bits))

    def first(i: Any) -> Any:
        return i * _LANES if n % _LANES == 0 else T.min(i * _LANES, n - _LANES)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int16"),
        lower: T.Buffer(lower.shape, "int16"),
        upper: T.Buffer(upper.shape, "int32"),
        y: T.Buffer((n,), f"int{bits}"),
    ):
        for i in range(pin(T.int32(groups))):
            xs: T.let = T.cast(x[run(first(i), _LANES)], f"int32x{_LANES}")
            y[run(first(i), _LANES)] = T.cast(scaled(xs, lower, upper, i), f"int{bits}x{_LANES}")

    return Kernel(with_fences(kernel), (x.name, lower, upper, scaling.y.name), (scaling.y,))


def _signed_halves(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Upper and lower: values = upper 2^16 + lower with -2^15 <= lower < 2^15."""
    upper = (values + (1 << (_HALF - 1))) >> _HALF
    return upper, values - (upper << _HALF)
