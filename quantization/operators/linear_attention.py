"""One step of gated linear attention."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import DECAY_SHIFT, round_shift, saturate, wide
from quantization.context import HEADROOM, MULTIPLIER_BITS, NORM_WEIGHT_BITS, DecoderContext
from quantization.fixedpoint import INT16_LIMIT, fixed_point
from quantization.operator import Draw, Operator, draw_ints, draw_power
from realm_edge.errors import UserError


def q_linear_attention(
    q: NDArray,
    k: NDArray,
    v: NDArray,
    decay: NDArray,
    s: NDArray,
    u_mult: NDArray,
    two_u: NDArray,
    y_mult: NDArray,
    two_y: NDArray,
) -> tuple[NDArray, NDArray]:
    """One step of linear attention with a decaying state, integers only.

    u  = sat16(round_shift(v * u_mult, u))               the value, on the head's state scale divided by that of k
    S' = sat16(round_shift(decay * S + u * k, 15))       decay in Q15; fits int32
    y  = sat16(round_shift(sum_n q_n S'_n * y_mult, y))

    k (heads * d_k,), v (heads * d_v,) int16; q (times * heads * d_k,) int16, heads that share a state next to one another, and
    |q| <= 65535 // d_k so that the sum fits int32; decay (heads,) or (heads * d_k,) int16, not negative; S (heads, d_v, d_k) int16;
    u_mult, y_mult (heads,) int32.
    """
    heads, d_v, d_k = s.shape
    u = wide(saturate(round_shift(wide(v).reshape(heads, d_v) * wide(u_mult)[:, None], wide(two_u)), 16))
    gate = wide(decay).reshape(heads, 1, -1)
    mixed = gate * wide(s) + u[:, :, None] * wide(k).reshape(heads, 1, d_k)
    new = saturate(round_shift(mixed, np.int64(2**DECAY_SHIFT)), 16)  # (heads, d_v, d_k)
    read = np.sum(wide(new)[:, None] * wide(q).reshape(heads, -1, 1, d_k), axis=-1)  # (heads, times, d_v)
    return saturate(round_shift(read * wide(y_mult)[:, None, None], wide(two_y)), 16).reshape(-1), new


ONNX = f"""QLinearAttention (q, k, v, decay, s, u_mult, two_u, y_mult, two_y) => (y, next) {{
    s_shape = Shape (s)
    zero = Constant <value_ints: ints = [0]> ()
    one = Constant <value_ints: ints = [1]> ()
    two = Constant <value_ints: ints = [2]> ()
    three = Constant <value_ints: ints = [3]> ()
    flat = Constant <value_ints: ints = [-1]> ()
    axes = Constant <value_ints: ints = [1, 2]> ()
    heads = Slice (s_shape, zero, one, zero)
    d_k = Slice (s_shape, two, three, zero)
    rows = Slice (s_shape, zero, two, zero)
    by_row = Concat <axis: int = 0> (heads, one, flat)
    by_read = Concat <axis: int = 0> (heads, flat, one, d_k)
    v64 = Cast <to: int = {INT64}> (v)
    values = Reshape (v64, rows)
    um64 = Cast <to: int = {INT64}> (u_mult)
    um1 = Unsqueeze (um64, one)
    u_wide = Mul (values, um1)
    u_round = {DOMAIN}.RoundShift (u_wide, two_u)
    u16 = {DOMAIN}.Saturate16 (u_round)
    u64 = Cast <to: int = {INT64}> (u16)
    u1 = Unsqueeze (u64, two)
    k64 = Cast <to: int = {INT64}> (k)
    keys = Reshape (k64, by_row)
    entering = Mul (u1, keys)
    d64 = Cast <to: int = {INT64}> (decay)
    gate = Reshape (d64, by_row)
    s64 = Cast <to: int = {INT64}> (s)
    staying = Mul (gate, s64)
    mixed = Add (staying, entering)
    q15 = Constant <value_int: int = 32768> ()
    new_wide = {DOMAIN}.RoundShift (mixed, q15)
    next = {DOMAIN}.Saturate16 (new_wide)
    n64 = Cast <to: int = {INT64}> (next)
    n1 = Unsqueeze (n64, one)
    q64 = Cast <to: int = {INT64}> (q)
    queries = Reshape (q64, by_read)
    read = Mul (n1, queries)
    acc = ReduceSum <keepdims: int = 0> (read, flat)
    ym64 = Cast <to: int = {INT64}> (y_mult)
    ym1 = Unsqueeze (ym64, axes)
    scaled = Mul (acc, ym1)
    y_round = {DOMAIN}.RoundShift (scaled, two_y)
    y16 = {DOMAIN}.Saturate16 (y_round)
    y = Reshape (y16, flat)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    heads, times, d_v, d_k = (int(rng.integers(1, most + 1)) for most in (3, 2, 4, 8))
    q = draw_ints(rng, np.int16, (heads * times * d_k,), min(INT16_LIMIT, 65535 // d_k))
    k, v = draw_ints(rng, np.int16, (heads * d_k,), 32767), draw_ints(rng, np.int16, (heads * d_v,), 32767)
    decay = np.abs(draw_ints(rng, np.int16, (heads * int(rng.choice([1, d_k])),), 32767))
    s = draw_ints(rng, np.int16, (heads, d_v, d_k), 32767)
    u_mult, y_mult = (draw_ints(rng, np.int32, (heads,), 2**bits - 1) for bits in (NORM_WEIGHT_BITS, MULTIPLIER_BITS))
    return [q, k, v, decay, s, u_mult, draw_power(rng, 0, 30), y_mult, draw_power(rng, 0, 46)], {}


def _linear_attention(context: DecoderContext, node: onnx.NodeProto) -> None:
    """The scales are those of :mod:`quantization.operators.selective_step`: u * k is added to S * 2^15."""
    q, k, v, decay, s = node.input[:5]
    seen, gain = context.observed.tensors, float(context.constants[node.input[5]])
    if context.observed.peak(decay) > 1 or seen[decay].min() < 0:
        raise UserError(
            f"{node.name}: its decay is {seen[decay].min():.3g} to {seen[decay].max():.3g} over the calibration data, not 0 to 1"
        )
    s_peak = context.observed.state_peaks[node.output[1]].astype(np.float64)
    heads, d_k = len(s_peak), seen[k].shape[1] // len(s_peak)
    v_peak = np.max(np.abs(seen[v].reshape(len(seen[v]), heads, -1)), axis=(0, 2))
    scale_q, scale_k, scale_v = (float(context.scale[name]) for name in (q, k, v))
    scale_s = HEADROOM * np.maximum(s_peak, v_peak * INT16_LIMIT * scale_k) / INT16_LIMIT
    scale_s = np.maximum(scale_s, np.finfo(np.float32).tiny)
    u_mult, k_u = fixed_point(scale_v * 2.0**DECAY_SHIFT * scale_k / scale_s, NORM_WEIGHT_BITS, f"{node.name}.u", max_shift=30)
    y_mult, k_y = fixed_point(gain * scale_s * scale_q / float(context.scale[node.output[0]]), MULTIPLIER_BITS, node.name)
    shape = (heads, seen[v].shape[1] // heads, d_k)
    state = context.graph.state(s.removeprefix("state."), np.int16, shape, scale=scale_s.tolist())
    names = [
        context.const(f"{node.name}.u_mult", u_mult, np.int32),
        context.scalar(f"{node.name}.two_u", 2**k_u),
        context.const(f"{node.name}.y_mult", y_mult, np.int32),
        context.scalar(f"{node.name}.two_y", 2**k_y),
    ]
    context.graph.node("QLinearAttention", [q, k, v, decay, state[0], *names], [node.output[0], state[1]], node.name)


OPERATOR = Operator(q_linear_attention, ONNX, draw, {"LinearAttentionStep": _linear_attention})
