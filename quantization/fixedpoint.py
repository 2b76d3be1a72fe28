"""Real numbers to the constants of the integer arithmetic: multipliers with one shift, tables, and stored scales."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantization.arithmetic import SUM_OF_SQUARES_BITS, TABLE_SEGMENTS
from realm_edge.errors import UserError

INT16_LIMIT = 32767
INT8_LIMIT = 127
MAX_SHIFT = 46  # products of an int16 and a 31-bit multiplier keep their rounding term inside int64


def fixed_point(real: ArrayLike, bits: int, what: str, max_shift: int = MAX_SHIFT) -> tuple[NDArray[np.int64], int]:
    """Multipliers m and one shift k such that real is about m / 2^k, with |m| < 2^bits and k as large as that allows.

    Raises:
        UserError: a value that no multiplier of that size can express; ``what`` names it.
    """
    values = np.asarray(real, dtype=np.float64)
    if not np.all(np.isfinite(values)):
        raise UserError(f"{what}: not a finite multiplier; the calibration data or the weights hold NaN or infinity")
    largest = float(np.max(np.abs(values), initial=0.0))
    k = max_shift if largest == 0.0 else min(max_shift, bits - 1 - int(np.ceil(np.log2(largest))))
    if k < 0:
        raise UserError(f"{what}: multiplier {largest:.3g} needs more than {bits} bits; the tensor's range is too wide for one scale")
    return np.rint(values * 2.0**k).astype(np.int64), k


def stored_scale(largest: float, limit: int = INT16_LIMIT) -> float:
    """The scale that maps ``largest`` to ``limit``; a tensor that is always zero gets the scale of one unit."""
    return float(largest) / limit if largest > 0.0 else 1.0 / limit


def table(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    scale_in: float,
    scale_out: float,
    limit: int = INT16_LIMIT,
    segments: int = TABLE_SEGMENTS,
) -> NDArray[np.int16]:
    """257 points of ``function`` over the whole int16 range of its input, for :mod:`quantization.operators.table`.

    The result saturates at ``limit``. With fewer than 256 ``segments``, a power of two, the points between theirs lie on straight lines:
    the operator then computes what a smaller table would.
    """
    codes = np.arange(-TABLE_SEGMENTS // 2, TABLE_SEGMENTS // 2 + 1, dtype=np.float64) * 256.0
    known = codes[:: TABLE_SEGMENTS // segments]
    exact = np.clip(function(known * scale_in) / scale_out, -limit, limit)
    return np.rint(np.interp(codes, known, exact)).astype(np.int16)


def norm_eps(eps: float, n: int, scale: float, what: str) -> int:
    """eps of a norm in squared counts, summed over n; at least 1, so that a silent input gives 0 and not a division by 0."""
    counts = max(1, round(n * eps / scale**2))
    if counts >= 2 ** (SUM_OF_SQUARES_BITS - 1):
        raise UserError(f"{what}: its input is smaller than the norm's eps by far ({scale:.3g} a count); the model is not trained")
    return counts
