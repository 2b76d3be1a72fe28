"""Local motor potential and log band power of a bin."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT16, INT32, INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS, log2, round_shift, saturate, wide
from quantization.context import FrontendContext
from quantization.fixedpoint import fixed_point, stored_scale
from quantization.operator import Draw, Operator, draw_ints
from quantization.operators.biquad import STEP

LMP_HEADROOM = 2.0  # over the largest mean seen in calibration


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
    two_p: NDArray,
    one: NDArray,
    log_offset: NDArray,
    power_bins: NDArray,
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Local motor potential and log band power, accumulated over a bin of ``ticks`` samples.

    total' = total + floor(y / 4);  power' = power + floor(z / two_z)^2; at the bin's edge, with p = round_shift(power', power_bins),
    features = [sat16(round_shift(total' * mean_mult, mean)), sat16(log2(round_shift(p, p) + one) - log_offset)]; the total starts at 0
    again and the power at power' - p: p is a leaky mean over power_bins (a power of two) bins, the bin's own power where that is 1.
    Between edges the features are held: the means of all channels, then band after band. Returns features (n,) int16, valid (1,) int32,
    phase, total, power.
    y (channels, 1), z (channels, bands) int32; total like y, int32; power like z, int64; log2 has 9 fraction bits.
    """
    new_phase = wide(phase) + 1
    edge = new_phase == wide(ticks)
    new_total = wide(total) + wide(y) // STEP
    new_power = wide(power) + (wide(z) // wide(two_z)) ** 2
    mean = round_shift(new_total * wide(mean_mult), wide(two_mean))
    mean_power = round_shift(new_power, wide(power_bins))
    level = log2(round_shift(mean_power, wide(two_p)) + wide(one)) - wide(log_offset)
    fresh = saturate(np.concatenate([mean.reshape(-1), level.T.reshape(-1)]), 16)
    return (
        np.where(edge, fresh, held),
        edge.astype(np.int32),
        np.where(edge, 0, new_phase).astype(np.int32),
        np.where(edge, 0, new_total).astype(np.int32),
        np.where(edge, new_power - mean_power, new_power),
    )


ONNX = f"""QBinFeatures (y, z, phase, total, power, held, ticks, mean_mult, two_mean, two_z, two_p, one, log_offset, power_bins)
        => (features, valid, next_phase, next_total, next_power) {{
    unit = Constant <value_int: int = 1> ()
    none = Constant <value_int: int = 0> ()
    flat = Constant <value_ints: ints = [-1]> ()
    phase64 = Cast <to: int = {INT64}> (phase)
    counted = Add (phase64, unit)
    edge = Equal (counted, ticks)
    y64 = Cast <to: int = {INT64}> (y)
    total64 = Cast <to: int = {INT64}> (total)
    step = Constant <value_int: int = {STEP}> ()
    y_rest = Mod (y64, step)
    y_steps = Sub (y64, y_rest)
    y_counted = Div (y_steps, step)
    new_total = Add (total64, y_counted)
    z64 = Cast <to: int = {INT64}> (z)
    z_rest = Mod (z64, two_z)
    z_steps = Sub (z64, z_rest)
    z_counted = Div (z_steps, two_z)
    squared = Mul (z_counted, z_counted)
    new_power = Add (power, squared)
    mean_wide = Mul (new_total, mean_mult)
    mean = {DOMAIN}.RoundShift (mean_wide, two_mean)
    mean_power = {DOMAIN}.RoundShift (new_power, power_bins)
    left = Sub (new_power, mean_power)
    short_power = {DOMAIN}.RoundShift (mean_power, two_p)
    above_one = Add (short_power, one)
    log = {DOMAIN}.Log2 (above_one)
    level = Sub (log, log_offset)
    mean_flat = Reshape (mean, flat)
    by_band = Transpose <perm: ints = [1, 0]> (level)
    level_flat = Reshape (by_band, flat)
    fresh64 = Concat <axis: int = 0> (mean_flat, level_flat)
    fresh = {DOMAIN}.Saturate16 (fresh64)
    fresh_wide = Cast <to: int = {INT64}> (fresh)
    held_wide = Cast <to: int = {INT64}> (held)
    features_wide = Where (edge, fresh_wide, held_wide)
    features = Cast <to: int = {INT16}> (features_wide)
    valid = Cast <to: int = {INT32}> (edge)
    phase_wide = Where (edge, none, counted)
    next_phase = Cast <to: int = {INT32}> (phase_wide)
    total_wide = Where (edge, none, new_total)
    next_total = Cast <to: int = {INT32}> (total_wide)
    next_power = Where (edge, left, new_power)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    channels, bands, ticks = 3, 2, 20
    y, z = draw_ints(rng, np.int32, (channels, 1), 2**28), draw_ints(rng, np.int32, (channels, bands), 2**28)
    total = draw_ints(rng, np.int32, (channels, 1), 2**29)
    exponents = rng.integers(0, 61, (channels, bands))
    held = draw_ints(rng, np.int16, (channels * (1 + bands),), 32767)
    phase = np.array([rng.choice([0, ticks - 2, ticks - 1])], np.int32)
    values = (ticks, rng.integers(1, 2**24), 2**30, rng.choice([1, 4]), 2**15, 2**9, 4608, rng.choice([1, 4, 1024]))
    return [y, z, phase, total, rng.integers(0, 2**exponents, dtype=np.int64), held, *(np.int64(v) for v in values)], {}


def _bin_features(context: FrontendContext, node: onnx.NodeProto) -> None:
    channels, ticks, features, fmt = context.channels, context.ticks, context.features, context.fmt
    bands, power_bins = features.shape[1] // channels - 1, int(context.constants[node.input[7]])
    z_bits = power_bits = 0  # dropped from a band's sample, and from the power of a bin
    while ticks * power_bins * (fmt.limit >> z_bits) ** 2 >= 2**62:
        z_bits += 1
    while ticks * (fmt.limit >> z_bits) ** 2 >> power_bits >= 2 ** (SUM_OF_SQUARES_BITS - 1):
        power_bits += 1
    fraction = 2 * (fmt.fraction - z_bits) - power_bits  # of the power whose logarithm is taken
    lmp_scale = stored_scale(LMP_HEADROOM * float(np.max(np.abs(features[:, :channels]))))
    mean_mult, k = fixed_point(context.gain / (ticks * 2**fmt.guard * lmp_scale), 24, node.name, max_shift=30)
    y, z = node.input[0], node.input[1]
    phase_in, phase_out = context.graph.state("bins.phase", np.int32, (1,))
    total_in, total_out = context.graph.state("bins.total", np.int32, (channels, 1))
    power_in, power_out = context.graph.state("bins.power", np.int64, (channels, bands))
    held_in, held_out = context.graph.state("bins.held", np.int16, (channels * (1 + bands),))
    scalars = context.scalars(
        node.name,
        ticks=ticks,
        mean_mult=int(mean_mult),
        two_mean=2**k,
        two_z=2**z_bits,
        two_p=2**power_bits,
        one=2 ** max(fraction, 0),
        log_offset=fraction * 2**LOG2_FRACTION_BITS,
        power_bins=power_bins,
    )
    inputs = [y, z, phase_in, total_in, power_in, held_in, *scalars]
    context.graph.node("QBinFeatures", inputs, [held_out, "valid", phase_out, total_out, power_out], node.name)
    context.scale = [lmp_scale] * channels + [2.0**-LOG2_FRACTION_BITS] * (channels * bands)


OPERATOR = Operator(q_bin_features, ONNX, draw, {"BinFeatures": _bin_features})
