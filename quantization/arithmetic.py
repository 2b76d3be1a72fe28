"""The integer arithmetic of the int8 step graphs: the reference, in numpy.

Every operator of the domain ``realm.edge`` whose name begins with Q is defined here once. :mod:`quantization.functions`
writes the same formulas as ONNX functions of standard operators, :mod:`export.tvm.kernels` as kernels; the tests hold
all three to the same bits. Numbers are mathematical integers (int64 holds every intermediate); what is stored is
symmetric and saturated: int8 in [-127, 127], int16 in [-32767, 32767].

    round_shift(v, k) = floor((v + floor(2^k / 2)) / 2^k)      round half up, k >= 0
    sat_b(v)          = min(max(v, -(2^(b-1) - 1)), 2^(b-1) - 1)
    requantise        = sat_b(round_shift(accumulator * multiplier, k)), one multiplier a channel, one k a tensor

A shift is passed as its power of two (``two_k`` = 2^k), because ONNX has no arithmetic shift.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Scalar = np.int64

TABLE_SEGMENTS = 256  # of the int16 range, 256 codes each
DECAY_SHIFT = 15  # decays are Q15
RSQRT_SEGMENTS = 192
LOG2_SEGMENTS = 64
LOG2_FRACTION_BITS = 9
RECIPROCAL_SEGMENTS = 64
ZSCORE_FRACTION_BITS = 10  # of z-scores: 32 standard deviations saturate
ZSCORE_STATE_BITS = 24  # more than those of the features, in their running mean and deviation
SUM_OF_SQUARES_BITS = 48  # inverse root and logarithm take arguments below 2^48


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


# --- decoder ---------------------------------------------------------------------------------------------------------


def q_normalise(x: NDArray, mult: NDArray, bias: NDArray, two_k: NDArray) -> tuple[NDArray]:
    """sat8(round_shift(x * mult + bias, k)): features (n,) int16 to standardised int8; mult (n,) int32, bias (n,) int64."""
    return (saturate(round_shift(wide(x) * wide(mult) + wide(bias), wide(two_k)), 8),)


def q_linear(x: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray]:
    """sat16(round_shift((x W + b) * mult, k)): x (in,) int8, weight (in, out) int8, bias and mult (out,) int32."""
    accumulator = wide(x) @ wide(weight) + wide(bias)
    return (saturate(round_shift(accumulator * wide(mult), wide(two_k)), 16),)


def q_layer_norm(
    x: NDArray, n: NDArray, two_g: NDArray, weight: NDArray, bias: NDArray, eps: NDArray, two_k: NDArray, *, to: int
) -> tuple[NDArray]:
    """c = round_shift(n x - sum(x), g); sat(round_shift(unit_scale(c, eps) * weight + bias, k)).

    x (n,) int16; weight and bias (n,) int32; ``to`` is the ONNX element type of the result, int8 or int16. The mean needs
    no division because unit_scale does not see a common factor.
    """
    c = round_shift(wide(n) * wide(x) - np.sum(wide(x)), wide(two_g))
    scaled = unit_scale(c, wide(eps)) * wide(weight) + wide(bias)
    return (saturate(round_shift(scaled, wide(two_k)), _BITS[to]),)


def q_gated_norm(y: NDArray, gate: NDArray, two_v: NDArray, weight: NDArray, eps: NDArray, two_k: NDArray) -> tuple[NDArray]:
    """v = sat16(round_shift(y * gate, v)); sat8(round_shift(unit_scale(v, eps) * weight, k)): RMSNorm(y * silu(z)) of Mamba-2."""
    v = saturate(round_shift(wide(y) * wide(gate), wide(two_v)), 16)
    return (saturate(round_shift(unit_scale(wide(v), wide(eps)) * wide(weight), wide(two_k)), 8),)


def q_add(a: NDArray, b: NDArray) -> tuple[NDArray]:
    """sat16(a + b), both int16 on one scale: the residual stream."""
    return (saturate(wide(a) + wide(b), 16),)


def q_table(x: NDArray, table: NDArray, base: NDArray) -> tuple[NDArray]:
    """A function of one int16 by 257 points and linear interpolation.

    u = x + 32768, i = floor(u / 256), f = u mod 256; round_shift(T[base + i] * (256 - f) + T[base + i + 1] * f, 8).
    table (rows * 257,) int16; base () or (n,) int64: where an element's row begins.
    """
    u = wide(x) + 2**15
    return (interpolate(table, wide(base) + u // 256, u % 256, 256).astype(np.int16),)


def q_conv(x: NDArray, state: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray, NDArray]:
    """Depthwise causal convolution, one step: sat16(round_shift((sum_k w_k v_k + b) * mult, k)), v = [state, x].

    x (d,) int16; state (taps - 1, d) int16, oldest first; weight (taps, d) int8; bias and mult (d,) int32.
    """
    window = np.concatenate([state, x[None]])
    accumulator = np.sum(wide(window) * wide(weight), axis=0) + wide(bias)
    return saturate(round_shift(accumulator * wide(mult), wide(two_k)), 16), window[1:]


def q_selective_step(
    x: NDArray,
    b: NDArray,
    c: NDArray,
    decay: NDArray,
    dt: NDArray,
    h: NDArray,
    two_u: NDArray,
    y_mult: NDArray,
    d_mult: NDArray,
    two_y: NDArray,
) -> tuple[NDArray, NDArray]:
    """One step of the selective state space (Mamba-2), integers only.

    u  = sat16(round_shift(dt * x, u))                   the input, on the head's state scale divided by that of B
    h' = sat16(round_shift(decay * h + u * B, 15))       decay in Q15; fits int32
    y  = sat16(round_shift(sum_n C_n h'_n * y_mult + x * d_mult, y))

    x (heads * headdim,) int16; b, c (d_state,) int16, |c| <= 65535 // d_state so that the sum fits int32;
    decay, dt (heads,) int16, not negative; h (heads, headdim, d_state) int16; y_mult, d_mult (heads,) int32.
    """
    heads, headdim, _ = h.shape
    xh = wide(x).reshape(heads, headdim)
    u = wide(saturate(round_shift(wide(dt)[:, None] * xh, wide(two_u)), 16))
    mixed = wide(decay)[:, None, None] * wide(h) + u[:, :, None] * wide(b)
    new = saturate(round_shift(mixed, np.int64(2**DECAY_SHIFT)), 16)  # (heads, headdim, d_state)
    accumulator = np.sum(wide(new) * wide(c), axis=-1)
    y = round_shift(accumulator * wide(y_mult)[:, None] + xh * wide(d_mult)[:, None], wide(two_y))
    return saturate(y, 16).reshape(-1), new


# --- front ends ------------------------------------------------------------------------------------------------------


def q_common_average(x: NDArray, good: NDArray, reciprocal: NDArray, two_k: NDArray, guard: NDArray) -> tuple[NDArray]:
    """((x * guard) - round_shift(sum(x * good) * reciprocal, k)) * good, int32, with log2 guard fraction bits.

    x (channels,) int16; good (channels,) int8, 0 or 1; reciprocal is round(guard * 2^k / sum(good)), or 0 for no reference.
    """
    mean = round_shift(np.sum(wide(x) * wide(good)) * wide(reciprocal), wide(two_k))
    return (((wide(x) * wide(guard) - mean) * wide(good)).astype(np.int32)[None],)


def q_biquad(x: NDArray, coef: NDArray, state: NDArray, two_k: NDArray, limit: NDArray) -> tuple[NDArray, NDArray]:
    """A bank of second-order sections, direct form I, with the rounding error fed back so that nothing is lost at low frequency.

    acc = b0 x + b1 x1 + b2 x2 - a1 y1 - a2 y2 + e;  e' = acc mod 2^k;  y = clip(floor(acc / 2^k), -limit, limit)
    x (1, channels) int32; coef (sections, 5) int32 = [b0, b1, b2, -a1, -a2] * 2^k;
    state (sections, 5, channels) int32 = [x1, x2, y1, y2, e].
    """
    x1, x2, y1, y2, e = (wide(state)[:, i] for i in range(5))  # (sections, channels)
    taps = wide(coef)[:, :, None]
    acc = taps[:, 0] * wide(x) + taps[:, 1] * x1 + taps[:, 2] * x2 + taps[:, 3] * y1 + taps[:, 4] * y2 + e
    error = acc % wide(two_k)
    y = np.clip((acc - error) // wide(two_k), -wide(limit), wide(limit))
    new = np.stack([np.broadcast_to(wide(x), y.shape), x1, y, y1, error], axis=1)
    return y.astype(np.int32), new.astype(np.int32)


def q_bin_features(
    y: NDArray,
    z: NDArray,
    phase: NDArray,
    total: NDArray,
    power: NDArray,
    held: NDArray,
    ticks: NDArray,
    mean_mult: NDArray,
    two_mean: NDArray,
    two_z: NDArray,
    one: NDArray,
    log_offset: NDArray,
    power_bins: NDArray,
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Local motor potential and log band power, accumulated over a bin of ``ticks`` samples.

    total' = total + y;  power' = power + round_shift(z, z)^2; at the bin's edge, with p = power' / power_bins rounded half up,
    features = [sat16(round_shift(total' * mean_mult, mean)), sat16(log2(p + one) - log_offset)]; the total starts at 0 again and
    the power at power' - p: p is a leaky mean over power_bins (a power of two) bins, the bin's own power where that is 1.
    Between edges the features are held. Returns features (n,) int16, valid (1,) int32, phase, total, power.
    y (1, channels), z (bands, channels) int32; total like y, int32; power like z, int64; log2 has 9 fraction bits.
    """
    new_phase = wide(phase) + 1
    edge = new_phase == wide(ticks)
    new_total = wide(total) + wide(y)
    new_power = wide(power) + round_shift(wide(z), wide(two_z)) ** 2
    mean = round_shift(new_total * wide(mean_mult), wide(two_mean))
    mean_power = round_shift(new_power, wide(power_bins))
    fresh = saturate(np.concatenate([mean.reshape(-1), (log2(mean_power + wide(one)) - wide(log_offset)).reshape(-1)]), 16)
    return (
        np.where(edge, fresh, held),
        edge.astype(np.int32),
        np.where(edge, 0, new_phase).astype(np.int32),
        np.where(edge, 0, new_total).astype(np.int32),
        np.where(edge, new_power - mean_power, new_power),
    )


def q_spike_count(
    y: NDArray, threshold: NDArray, phase: NDArray, below: NDArray, count: NDArray, held: NDArray, ticks: NDArray
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Threshold crossings (downwards) counted over a bin of ``ticks`` samples.

    y (1, channels) int32; threshold (channels,) int32; below (channels,) int8, 0 or 1; count, held (channels,) int16.
    Returns the held counts (channels,) int16, valid (1,) int32, phase, below, count.
    """
    new_phase = wide(phase) + 1
    edge = new_phase == wide(ticks)
    now = wide(y)[0] < wide(threshold)
    new_count = saturate(wide(count) + (now & (below == 0)), 16)
    return (
        np.where(edge, new_count, held),
        edge.astype(np.int32),
        np.where(edge, 0, new_phase).astype(np.int32),
        now.astype(np.int8),
        np.where(edge, np.int16(0), new_count),
    )


def q_running_z(
    x: NDArray, valid: NDArray, seen: NDArray, mean: NDArray, deviation: NDArray, held: NDArray, window: NDArray, floor: NDArray
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Running z-score of features, updated where ``valid`` is 1 and held between.

    seen' = min(seen + 1, window);  k = floor(log2 seen');  X = 2^24 x
    mean' = mean + round_shift(X - mean, k);  c = X - mean';  deviation' = deviation + round_shift(|c| - deviation, k)
    z = sat16(round_shift(c r, p + 5)), where 2^p <= max(deviation', floor) < 2^(p + 1) and r is the table's value at the mantissa.
    Returns z with 10 fraction bits, (n,) int16, seen, mean, deviation.

    x and held (n,) int16; valid and seen (1,) int32; mean, deviation and floor (n,) int64 in units of 2^-24 x; window () at most 2^30.
    """
    edge = valid == 1
    new_seen = np.minimum(wide(seen) + 1, wide(window))
    _, two_k, _ = floating(new_seen)
    scaled = wide(x) * 2**ZSCORE_STATE_BITS
    new_mean = mean + round_shift(scaled - mean, two_k)
    centred = scaled - new_mean
    new_deviation = deviation + round_shift(np.abs(centred) - deviation, two_k)
    _, two_p, m = floating(np.maximum(new_deviation, floor))
    r = interpolate(reciprocal_table(), m // 256, m % 256, 256)
    fresh = saturate(round_shift(centred * r, two_p * 2 ** (15 - ZSCORE_FRACTION_BITS)), 16)
    return (
        np.where(edge, fresh, held),
        np.where(edge, new_seen, seen).astype(np.int32),
        np.where(edge, new_mean, mean),
        np.where(edge, new_deviation, deviation),
    )


_BITS = {3: 8, 5: 16}  # onnx.TensorProto.INT8, INT16

OPERATORS: dict[str, Callable[..., tuple[NDArray, ...]]] = {
    "QNormalise": q_normalise,
    "QLinear": q_linear,
    "QLayerNorm": q_layer_norm,
    "QGatedNorm": q_gated_norm,
    "QAdd": q_add,
    "QTable": q_table,
    "QConv": q_conv,
    "QSelectiveStep": q_selective_step,
    "QCommonAverage": q_common_average,
    "QBiquad": q_biquad,
    "QBinFeatures": q_bin_features,
    "QSpikeCount": q_spike_count,
    "QRunningZ": q_running_z,
}
