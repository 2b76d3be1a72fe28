"""A norm without a division: an inverse square root by table, as :func:`quantization.arithmetic.unit_scale`."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.dsp import smlabb, smlatb, ssat, symmetric_pair
from firmware_sim.compiler.kernels.exact import Exact, interpolate, peak
from firmware_sim.compiler.kernels.fence import fence, pin
from firmware_sim.compiler.kernels.interface import Node
from quantization.arithmetic import SUM_OF_SQUARES_BITS, rsqrt_table


def unit_scale_bound() -> int:
    """Largest absolute result of unit_scale: c^2 <= s < 4^p (m + 1) / 4096, so |c| r / 2^p < r(m) sqrt((m + 1) / 4096)."""
    m = np.arange(3 * 4096)  # mantissa of s less 1, in 1/4096
    table, segment, fraction = rsqrt_table().astype(np.int64), m // 64, m % 64
    r = (table[segment] * (64 - fraction) + table[segment + 1] * fraction + 32) // 64
    return int(np.max(r * np.sqrt((4096 + m + 1) / 4096))) + 2  # rounding of the result, and of this product


def inverse_root(table: Any, squares: Any, p: Any) -> Any:
    """Q15 of 1/sqrt of the mantissa of ``squares`` (int64, in [4^p, 4^(p + 1))), as int32."""
    m = T.cast((squares << T.int64(12)) >> T.cast(2 * p, "int64"), "int32") - 4096
    return interpolate(table, 32767, m >> 6, m & 63, 6).value


def unit(c: Exact, p: Any, r: Any) -> Exact:
    """round_shift(c * r, p) for a shift that is known only at run time; p < 24."""
    half = Exact(T.shift_left(T.int32(1), p) >> 1, 1 << 22)
    product = c * Exact(r, 32767) + half
    shifted = product.value >> T.cast(p, product.value.ty.dtype)
    return Exact(T.cast(shifted, "int32"), unit_scale_bound())


def unit_pairs_fit(k: int, weight: NDArray, offset: int) -> bool:
    """Whether :func:`unit_pairs` is exact: of offsets up to ``offset``, rounding included, no sum leaves 32 bits."""
    return k <= 31 and unit_scale_bound() * peak(weight) + offset < 2**31


def unit_pairs(n: int, bits: int, k: int, offset: Callable[[Any, Any], Any], runs: bool) -> Any:
    """The last pass of a norm: floor((round_shift(c r, p) weight + offset) / 2^k) in the symmetric range of ``bits``, by pairs.

    Returns what a kernel calls with c (words of two), the weights, the offsets, y, p and r.

    Args:
        offset: of an index, given the offsets.
        runs: loads stay together.
    """

    @T.inline
    def scale(c, weight, offsets, y, p, r):
        word = T.alloc_scalar("int32")
        factors = T.alloc_buffer((2,), "int32")
        values = T.alloc_buffer((2,), "int32")
        half = T.alloc_scalar("int32")
        half = T.shift_left(T.int32(1), p) >> 1
        for i in range(n // 2):
            word = c[i]
            for h in T.unroll(2):
                factors[h] = T.cast(weight[2 * i + h], "int32")
            for h in T.unroll(2):
                values[h] = offset(offsets, 2 * i + h)
            word = fence(word) if runs else pin(word)
            values[0] = ssat((factors[0] * (smlabb(word, r, half) >> p) + values[0]) >> k, bits)
            values[1] = ssat((factors[1] * (smlatb(word, r, half) >> p) + values[1]) >> k, bits)
            word = symmetric_pair(values[0], values[1], bits)
            for h in T.unroll(2):
                y[2 * i + h] = T.cast(word >> (16 * h), f"int{bits}")

    return scale


def check_squares(node: Node, n: int, c_bound: int, eps: int) -> None:
    if n * c_bound**2 + eps >= 2**SUM_OF_SQUARES_BITS:
        raise node.refuse(f"its sum of squares may reach 2^{SUM_OF_SQUARES_BITS}, the end of the table", "quantise with a larger shift")
