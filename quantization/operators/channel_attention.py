"""What each channel is worth: a leaky mean over time, and a convolution over the channels."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT32, INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import round_shift, saturate, wide
from quantization.context import HEADROOM, MULTIPLIER_BITS, DecoderContext
from quantization.fixedpoint import INT8_LIMIT, INT16_LIMIT, fixed_point
from quantization.operator import Draw, Operator, draw_ints, draw_power


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


ONNX = f"""QChannelAttention (x, mean, two_f, two_leak, two_r, weight, mult, two_k) => (y, next) {{
    none = Constant <value_int: int = 0> ()
    unit = Constant <value_int: int = 1> ()
    two = Constant <value_int: int = 2> ()
    one = Constant <value_ints: ints = [1]> ()
    flat = Constant <value_ints: ints = [-1]> ()
    mean_shape = Shape (mean)
    by_channel = Concat <axis: int = 0> (mean_shape, flat)
    x64 = Cast <to: int = {INT64}> (x)
    maps = Reshape (x64, by_channel)
    sums = ReduceSum <keepdims: int = 0> (maps, one)
    total = Mul (sums, two_f)
    mean64 = Cast <to: int = {INT64}> (mean)
    away = Sub (total, mean64)
    taken = {DOMAIN}.RoundShift (away, two_leak)
    new = Add (mean64, taken)
    next = Cast <to: int = {INT32}> (new)
    pooled_wide = {DOMAIN}.RoundShift (new, two_r)
    pooled = {DOMAIN}.Saturate16 (pooled_wide)
    p64 = Cast <to: int = {INT64}> (pooled)
    weight_shape = Shape (weight)
    beside = Div (weight_shape, two)
    pads = Concat <axis: int = 0> (beside, beside)
    padded = Pad (p64, pads, none)
    channels = Squeeze (mean_shape)
    reach = Squeeze (weight_shape)
    starts = Range (none, channels, unit)
    offsets = Range (none, reach, unit)
    column = Unsqueeze (starts, one)
    places = Add (column, offsets)
    windows = Gather (padded, places)
    w64 = Cast <to: int = {INT64}> (weight)
    acc = MatMul (windows, w64)
    scaled = Mul (acc, mult)
    rounded = {DOMAIN}.RoundShift (scaled, two_k)
    y = {DOMAIN}.Saturate16 (rounded)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    channels, maps, reach = int(rng.integers(1, 9)), int(rng.integers(1, 9)), int(rng.choice([1, 3, 5]))
    f = np.int64(2 ** int(rng.integers(0, 13)))
    mean = draw_ints(rng, np.int32, (channels,), int(maps * 32767 * f))
    shifts = [f, draw_power(rng, 0, 10), draw_power(rng, 0, 16)]
    weight, mult = draw_ints(rng, np.int8, (reach,), 127), np.int64(rng.integers(0, 2**30))
    return [draw_ints(rng, np.int16, (channels * maps,), 32767), mean, *shifts, weight, mult, draw_power(rng, 0, 46)], {}


def _channel_attention(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, mean, out = node.input[0], node.input[1], node.output[0]
    weight, leak = context.constants[node.input[2]], float(context.constants[node.input[3]])
    seen = context.observed.tensors[x]
    channels = context.observed.tensors[out].shape[1]
    maps = seen.shape[1] // channels
    f = 30 - int(np.ceil(np.log2(maps * INT16_LIMIT)))  # what is taken from the mean or added stays in int32
    scale_mean = float(context.scale[x]) / (maps * 2**f)
    # A mean over time is no larger than what it is a mean of.
    widest = HEADROOM * float(np.max(np.abs(seen.reshape(-1, channels, maps).mean(axis=2)))) / scale_mean
    r = max(0, int(np.ceil(np.log2(max(widest, 1.0) / INT16_LIMIT))))
    scale_w = max(float(np.max(np.abs(weight))) / INT8_LIMIT, float(np.finfo(np.float32).tiny))
    mult, k = fixed_point(scale_mean * 2**r * scale_w / float(context.scale[out]), MULTIPLIER_BITS, node.name)
    state = context.graph.state(mean.removeprefix("state."), np.int32, (channels,), scale=scale_mean)
    names = [
        context.scalar(f"{node.name}.two_f", 2**f),
        context.scalar(f"{node.name}.two_leak", round(1 / leak)),
        context.scalar(f"{node.name}.two_r", 2**r),
        context.const(f"{node.name}.weight", np.rint(weight / scale_w), np.int8),
        context.scalar(f"{node.name}.mult", int(mult)),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QChannelAttention", [x, state[0], *names], [out, state[1]], node.name)


OPERATOR = Operator(q_channel_attention, ONNX, draw, {"ChannelAttention": _channel_attention})
