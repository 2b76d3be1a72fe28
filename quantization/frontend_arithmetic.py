"""The front ends' operators of the integer arithmetic: the reference, in numpy. :mod:`quantization.arithmetic` has the others."""

import numpy as np
from numpy.typing import NDArray

from quantization.arithmetic import (
    ZSCORE_FRACTION_BITS,
    ZSCORE_STATE_BITS,
    floating,
    interpolate,
    log2,
    reciprocal_table,
    round_shift,
    saturate,
    wide,
)


def q_common_average(x: NDArray, good: NDArray, reciprocal: NDArray, two_k: NDArray, guard: NDArray) -> tuple[NDArray]:
    """((x * guard) - round_shift(sum(x * good) * reciprocal, k)) * good, int32, with log2 guard fraction bits.

    x (channels,) int16; good (channels,) int8, 0 or 1; reciprocal is round(guard * 2^k / sum(good)), or 0 for no reference.
    """
    mean = round_shift(np.sum(wide(x) * wide(good)) * wide(reciprocal), wide(two_k))
    return (((wide(x) * wide(guard) - mean) * wide(good)).astype(np.int32)[None],)


def q_biquad(x: NDArray, coef: NDArray, state: NDArray, two_k: NDArray, limit: NDArray) -> tuple[NDArray, NDArray]:
    """A bank of second-order sections, direct form I, with rounding errors fed back so that nothing is lost at low frequency.

    acc = b0 x + b1 x1 + b2 x2 - a1 y1 - a2 y2 + f1 e1 [+ f2 e2];  e = acc mod 2^k;  y = clip(floor(acc / 2^k), -limit, limit)
    x (1, channels) int32; coef (sections, 6 or 7) int32 = [b0, b1, b2, -a1, -a2] * 2^k, then f1 = 1, or f1, f2 = 2, -1;
    state (sections, 5 or 6, channels) int32 = [x1, x2, y1, y2, e1] and e2.
    """
    inputs = np.broadcast_to(wide(x), (len(state), *x.shape))  # (sections, 1, channels)
    before = wide(state)
    acc = wide(coef)[:, None, :] @ np.concatenate([inputs, before], axis=1)
    error = acc % wide(two_k)
    y = np.clip((acc - error) // wide(two_k), -wide(limit), wide(limit))
    new = np.concatenate([inputs, before[:, :1], y, before[:, 2:3], error, before[:, 4:-1]], axis=1)
    return y[:, 0].astype(np.int32), new.astype(np.int32)


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
