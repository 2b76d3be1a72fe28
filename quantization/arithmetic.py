"""The integer arithmetic of the step graphs: numbers, rounding, and what several operators have in common. The reference, in numpy.

:mod:`quantization.operators` defines the operators with it, :mod:`quantization.helper_functions` writes the same as ONNX functions. Numbers
are mathematical integers (int64 holds every intermediate); what is stored is symmetric and saturated: int8 in [-127, 127], int16 in
[-32767, 32767].

    round_shift(v, k) = floor((v + floor(2^k / 2)) / 2^k)      round half up, k >= 0
    sat_b(v)          = min(max(v, -(2^(b-1) - 1)), 2^(b-1) - 1)
    requantise        = sat_b(round_shift(accumulator * multiplier, k)), one multiplier per channel, one k per tensor

A shift is passed as its power of two (``two_k`` = 2^k), because ONNX has no arithmetic shift.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Scalar = np.int64

TABLE_SEGMENTS = 256  # of the int16 range, 256 codes each
DECAY_SHIFT = 15  # decays and gates are Q15
RSQRT_SEGMENTS = 192
LOG2_SEGMENTS = 64
LOG2_FRACTION_BITS = 9
RECIPROCAL_SEGMENTS = 64
ZSCORE_FRACTION_BITS = 10  # of z-scores: 32 standard deviations saturate
ZSCORE_STATE_BITS = 24  # more than those of the features, in their running mean and deviation
SUM_OF_SQUARES_BITS = 48  # inverse root and logarithm take arguments below 2^48
BITS = {3: 8, 5: 16}  # of an ONNX element type, which the attribute ``to`` of an operator is: onnx.TensorProto.INT8, INT16


def rsqrt_table() -> NDArray[np.int16]:
    """Q15 of 1/sqrt(v) at v = 1 + i/64 for v in [1, 4], shape (193,); the first entry, 2^15, is stored as 32767."""
    v = 1.0 + np.arange(RSQRT_SEGMENTS + 1) / 64.0
    return np.minimum(np.round(2.0**15 / np.sqrt(v)), 32767).astype(np.int16)


def log2_table() -> NDArray[np.int16]:
    """Q14 of log2(1 + i/64), shape (65,)."""
    return np.round(2.0**14 * np.log2(1.0 + np.arange(LOG2_SEGMENTS + 1) / LOG2_SEGMENTS)).astype(np.int16)


def reciprocal_table() -> NDArray[np.int16]:
    """Q15 of sqrt(2/pi) / (1 + i/64), shape (65,): one over the standard deviation of a mean absolute deviation."""
    return np.round(2.0**15 * np.sqrt(2 / np.pi) / (1.0 + np.arange(RECIPROCAL_SEGMENTS + 1) / RECIPROCAL_SEGMENTS)).astype(np.int16)


def wide(x: NDArray) -> Ints:
    """The same integers as int64."""
    return np.asarray(x).astype(np.int64)


def round_shift(v: Ints, two_k: Ints | Scalar) -> Ints:
    """floor((v + floor(2^k / 2)) / 2^k)."""
    return (v + two_k // 2) // two_k


def saturate(v: Ints, bits: int) -> NDArray:
    """Clip to the symmetric range of ``bits`` (8 or 16) and store as that type."""
    limit = 2 ** (bits - 1) - 1
    return np.clip(v, -limit, limit).astype({8: np.int8, 16: np.int16}[bits])


def interpolate(table: NDArray, segment: Ints, fraction: Ints, width: int) -> Ints:
    """Linear interpolation: round_shift(T[i] * (width - f) + T[i + 1] * f, log2 width), f in [0, width)."""
    t0, t1 = wide(table)[segment], wide(table)[segment + 1]
    return round_shift(t0 * (width - fraction) + t1 * fraction, np.int64(width))


def unit_scale(c: Ints, eps: Ints | Scalar) -> Ints:
    """Q15 of c / sqrt(sum(c^2) + eps): a norm without a division.

    With s = sum(c^2) + eps and 4^p <= s < 4^(p + 1), the mantissa m = floor(4096 s / 4^p) in [4096, 16384) indexes the
    table of 1/sqrt; the result is round_shift(c * r, p). ``c``: (n,), absolute values at most 2^15; s below 2^48, above 0.
    """
    s = np.sum(c * c) + eps
    p = np.sum(s >= 4 ** np.arange(1, SUM_OF_SQUARES_BITS // 2, dtype=np.int64))
    two_p = np.int64(2) ** p
    m = (s * 4096) // (two_p * two_p) - 4096
    r = interpolate(rsqrt_table(), m // 64, m % 64, 64)
    return round_shift(c * r, two_p)


def floating(v: Ints) -> tuple[Ints, Ints, Ints]:
    """Integers v in [1, 2^48) as p = floor(log2 v), 2^p, and the fraction floor(2^14 v / 2^p) - 2^14 in [0, 2^14)."""
    p = np.sum(v[..., None] >= np.int64(2) ** np.arange(1, SUM_OF_SQUARES_BITS, dtype=np.int64), axis=-1)
    two_p = np.int64(2) ** p
    return p, two_p, (v * 2**14) // two_p - 2**14


def log2(v: Ints) -> Ints:
    """log2 of integers in [1, 2^48), with 9 fraction bits: 512 floor(log2 v) + the interpolated mantissa."""
    p, _, m = floating(v)
    mantissa = interpolate(log2_table(), m // 256, m % 256, 256)
    return p * 2**LOG2_FRACTION_BITS + round_shift(mantissa, np.int64(2 ** (14 - LOG2_FRACTION_BITS)))
