"""The running z-score of features."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import BOOL, INT16, INT32, INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import (
    ZSCORE_FRACTION_BITS,
    ZSCORE_STATE_BITS,
    floating,
    interpolate,
    reciprocal_table,
    round_shift,
    saturate,
    wide,
)
from quantization.context import FrontendContext
from quantization.operator import Draw, Operator, draw_ints


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


ONNX = f"""QRunningZ (x, valid, seen, mean, deviation, held, window, floor) => (z, next_seen, next_mean, next_deviation) {{
    unit = Constant <value_int: int = 1> ()
    edge = Cast <to: int = {BOOL}> (valid)
    seen64 = Cast <to: int = {INT64}> (seen)
    more = Add (seen64, unit)
    counted = Min (more, window)
    k, two_k, unused = {DOMAIN}.Floating (counted)
    x64 = Cast <to: int = {INT64}> (x)
    fine = Constant <value_int: int = {2**ZSCORE_STATE_BITS}> ()
    scaled = Mul (x64, fine)
    ahead = Sub (scaled, mean)
    mean_step = {DOMAIN}.RoundShift (ahead, two_k)
    new_mean = Add (mean, mean_step)
    centred = Sub (scaled, new_mean)
    size = Abs (centred)
    excess = Sub (size, deviation)
    deviation_step = {DOMAIN}.RoundShift (excess, two_k)
    new_deviation = Add (deviation, deviation_step)
    spread = Max (new_deviation, floor)
    p, two_p, u = {DOMAIN}.Floating (spread)
    width = Constant <value_int: int = 256> ()
    fraction = Mod (u, width)
    segment = Div (u, width)
    table = Constant <value_ints: ints = [{", ".join(str(v) for v in reciprocal_table())}]> ()
    r = {DOMAIN}.Interpolate (table, segment, fraction, width)
    product = Mul (centred, r)
    drop = Constant <value_int: int = {2 ** (15 - ZSCORE_FRACTION_BITS)}> ()
    divisor = Mul (two_p, drop)
    z_wide = {DOMAIN}.RoundShift (product, divisor)
    fresh = {DOMAIN}.Saturate16 (z_wide)
    fresh_wide = Cast <to: int = {INT64}> (fresh)
    held_wide = Cast <to: int = {INT64}> (held)
    chosen = Where (edge, fresh_wide, held_wide)
    z = Cast <to: int = {INT16}> (chosen)
    counted32 = Cast <to: int = {INT32}> (counted)
    next_seen = Where (edge, counted32, seen)
    next_mean = Where (edge, new_mean, mean)
    next_deviation = Where (edge, new_deviation, deviation)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    n, window = 5, 2 ** int(rng.integers(1, 17))
    seen = np.array([rng.choice([0, 1, window // 2, window - 1, window])], np.int32)
    mean, deviation = draw_ints(rng, np.int64, (n,), 2**39), rng.integers(0, 2 ** rng.integers(0, 41, n))
    floor = rng.integers(1, 2 ** rng.integers(1, 41, n), endpoint=True)
    tensors = [draw_ints(rng, np.int16, (n,), 32767), rng.integers(0, 2, 1).astype(np.int32), seen, mean, deviation]
    return [*tensors, draw_ints(rng, np.int16, (n,), 32767), np.int64(window), floor], {}


def _running_z(context: FrontendContext, node: onnx.NodeProto) -> None:
    window, floor = int(context.constants[node.input[6]]), float(context.constants[node.input[8]])
    n = len(context.scale)
    seen_in, seen_out = context.graph.state("zscore.seen", np.int32, (1,))
    mean_in, mean_out = context.graph.state("zscore.mean", np.int64, (n,))
    deviation_in, deviation_out = context.graph.state("zscore.deviation", np.int64, (n,))
    held_in, held_out = context.graph.state("zscore.held", np.int16, (n,))
    # No deviation of an int16 exceeds 2^16 codes.
    floors = np.rint(np.minimum(floor / np.array(context.scale), 2.0**16) * 2.0**ZSCORE_STATE_BITS)
    names = [*context.scalars(node.name, window=window), context.const(f"{node.name}.floor", floors, np.int64)]
    inputs = [node.input[0], "valid", seen_in, mean_in, deviation_in, held_in, *names]
    context.graph.node("QRunningZ", inputs, [held_out, seen_out, mean_out, deviation_out], node.name)
    context.scale = [2.0**-ZSCORE_FRACTION_BITS] * n


OPERATOR = Operator(q_running_z, ONNX, draw, {"RunningZ": _running_z})
