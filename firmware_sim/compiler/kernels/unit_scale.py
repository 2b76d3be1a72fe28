"""A norm without a division: an inverse square root by table, as :func:`quantization.arithmetic.unit_scale`."""

from typing import Any

import numpy as np
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, interpolate
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


def check_squares(node: Node, n: int, c_bound: int, eps: int) -> None:
    if n * c_bound**2 + eps >= 2**SUM_OF_SQUARES_BITS:
        raise node.refuse(f"its sum of squares may reach 2^{SUM_OF_SQUARES_BITS}, the end of the table", "quantise with a larger shift")
