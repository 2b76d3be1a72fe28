"""The integer arithmetic of the int8 step graphs: the reference, in numpy.

Every operator of the domain ``realm.edge`` whose name begins with Q is defined once: those of the decoders here, those of the
front ends in :mod:`quantization.frontend_arithmetic`. :mod:`quantization.functions` writes the same formulas as ONNX functions
of standard operators, :mod:`firmware_sim.compiler.kernels` as kernels; the tests hold all three to the same bits. Numbers are mathematical
integers (int64 holds every intermediate); what is stored is symmetric and saturated: int8 in [-127, 127], int16 in [-32767, 32767].

    round_shift(v, k) = floor((v + floor(2^k / 2)) / 2^k)      round half up, k >= 0
    sat_b(v)          = min(max(v, -(2^(b-1) - 1)), 2^(b-1) - 1)
    requantise        = sat_b(round_shift(accumulator * multiplier, k)), one multiplier a channel, one k a tensor

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
_BITS = {3: 8, 5: 16}  # onnx.TensorProto.INT8, INT16


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


def q_normalise(x: NDArray, mult: NDArray, bias: NDArray, two_k: NDArray, *, to: int) -> tuple[NDArray]:
    """sat(round_shift(x * mult + bias, k)): features (n,) int16 to z-scores of type ``to``; mult (n,) int32, bias (n,) int64.

    ``to`` is an ONNX element type, int8 or int16, here and below.
    """
    return (saturate(round_shift(wide(x) * wide(mult) + wide(bias), wide(two_k)), _BITS[to]),)


def q_linear(x: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray]:
    """sat16(round_shift((x W + b) * mult, k)): x (in,) int8 or int16, weight (in, out) int8, bias and mult (out,) int32."""
    accumulator = wide(x) @ wide(weight) + wide(bias)
    return (saturate(round_shift(accumulator * wide(mult), wide(two_k)), 16),)


def q_layer_norm(
    x: NDArray, n: NDArray, two_g: NDArray, weight: NDArray, bias: NDArray, eps: NDArray, two_k: NDArray, *, to: int
) -> tuple[NDArray]:
    """c = round_shift(n x - sum(x), g); sat(round_shift(unit_scale(c, eps) * weight + bias, k)).

    x (n,) int16; weight and bias (n,) int32. The mean needs no division because unit_scale does not see a common factor.
    """
    c = round_shift(wide(n) * wide(x) - np.sum(wide(x)), wide(two_g))
    scaled = unit_scale(c, wide(eps)) * wide(weight) + wide(bias)
    return (saturate(round_shift(scaled, wide(two_k)), _BITS[to]),)


def q_gated_norm(y: NDArray, gate: NDArray, two_v: NDArray, weight: NDArray, eps: NDArray, two_k: NDArray, *, to: int) -> tuple[NDArray]:
    """v = sat16(round_shift(y * gate, v)); sat(round_shift(unit_scale(v, eps) * weight, k)): RMSNorm(y * silu(z)) of Mamba-2."""
    v = saturate(round_shift(wide(y) * wide(gate), wide(two_v)), 16)
    return (saturate(round_shift(unit_scale(wide(v), wide(eps)) * wide(weight), wide(two_k)), _BITS[to]),)


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


def q_channel_conv(x: NDArray, state: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray, NDArray]:
    """Causal convolution with weights that all channels share: sat16(round_shift((sum_k w_k v_k + b) * mult, k)), v = [state, x].

    x (kinds * channels,) int8; state (taps - 1, kinds * channels) int8, oldest first; weight (taps * kinds, maps) int8;
    bias and mult (maps,) int32. Returns (channels * maps,) int16 and the next state.
    """
    window = np.concatenate([state, x[None]])
    accumulator = wide(window).reshape(len(weight), -1).T @ wide(weight) + wide(bias)  # (channels, maps)
    return saturate(round_shift(accumulator * wide(mult), wide(two_k)), 16).reshape(-1), window[1:]


def q_channel_attention(
    x: NDArray, mean: NDArray, two_f: NDArray, two_leak: NDArray, two_r: NDArray, weight: NDArray, mult: NDArray, two_k: NDArray
) -> tuple[NDArray, NDArray]:
    """A leaky mean of each channel's maps, and a convolution over the channels, zero padded.

    mean' = mean + round_shift(sum of maps * 2^f - mean, leak)      stands still within 2^(leak - 1 - f) of the sum
    p     = sat16(round_shift(mean', r));  y = sat16(round_shift(sum_j w_j p_j * mult, k))

    x (channels * maps,) int16; mean (channels,) int32, with f fraction bits; weight (reach,) int8, reach odd; mult () int64.
    Returns (channels,) int16 and the next mean.
    """
    total = wide(x).reshape(len(mean), -1).sum(axis=1) * wide(two_f)
    new = wide(mean) + round_shift(total - wide(mean), wide(two_leak))
    pooled = wide(saturate(round_shift(new, wide(two_r)), 16))
    beside = np.lib.stride_tricks.sliding_window_view(np.pad(pooled, len(weight) // 2), len(weight))
    accumulator = beside @ wide(weight)
    return saturate(round_shift(accumulator * wide(mult), wide(two_k)), 16), new.astype(np.int32)


def q_channel_gate(x: NDArray, gate: NDArray, two_k: NDArray) -> tuple[NDArray]:
    """sat8(round_shift(x * gate, k)): x (channels * maps,) int16, gate (channels,) int16, not negative."""
    gated = wide(x).reshape(len(gate), -1) * wide(gate)[:, None]
    return (saturate(round_shift(gated, wide(two_k)), 8).reshape(-1),)


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


def q_fir(x: NDArray, state: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray, NDArray]:
    """A filter with a vector in and a vector out, one step, in the transposed direct form: its state is partial sums, not inputs.

    sums_i = W_i x + state_i, state_(lags - 1) = 0;  y = sat16(round_shift((sums_0 + b) * mult, k));  state'_i = sums_(i + 1)

    x (n,) int8; state (lags - 1, dims) int32; weight (lags * n, dims) int8, newest bin first; bias and mult (dims,) int32.
    """
    products = wide(x) @ wide(weight).reshape(-1, len(x), len(bias))  # (lags, dims)
    sums = products + np.pad(wide(state), ((0, 1), (0, 0)))
    y = saturate(round_shift((sums[0] + wide(bias)) * wide(mult), wide(two_k)), 16)
    return y, sums[1:].astype(np.int32)


def q_gru_step(x: NDArray, recurrent: NDArray, h: NDArray, sigmoid: NDArray, tanh: NDArray) -> tuple[NDArray]:
    """One step of a gated recurrent unit, in the order of torch: reset r, update z, new n.

    r, z = sigmoid[sat16(x + recurrent)];  n = tanh[sat16(x + round_shift(r recurrent, 15))]
    h' = sat16(round_shift((2^15 - z) n + z h, 15))

    x and recurrent (3 * width,) int16 on one scale: W x + b of the input and of h; h (width,) int16; tables of 257 points as
    in :func:`q_table`, Q15, that of the sigmoid not negative.
    """
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (np.split(wide(part), 3) for part in (x, recurrent))
    none, one = np.zeros((), np.int64), np.int64(2**DECAY_SHIFT)
    (r,) = q_table(saturate(x_r + h_r, 16), sigmoid, none)
    (z,) = q_table(saturate(x_z + h_z, 16), sigmoid, none)
    (n,) = q_table(saturate(x_n + round_shift(wide(r) * h_n, one), 16), tanh, none)
    return (saturate(round_shift((one - wide(z)) * wide(n) + wide(z) * wide(h), one), 16),)
