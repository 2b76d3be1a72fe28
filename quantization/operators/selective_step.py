"""One step of the selective state space (Mamba-2)."""

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import DECAY_SHIFT, TABLE_SEGMENTS, round_shift, saturate, wide
from quantization.context import HEADROOM, MULTIPLIER_BITS, DecoderContext
from quantization.fixedpoint import INT16_LIMIT, fixed_point, table
from quantization.operator import Draw, Operator, draw_ints, draw_power


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


ONNX = f"""QSelectiveStep (x, b, c, decay, dt, h, two_u, y_mult, d_mult, two_y) => (y, next) {{
    h_shape = Shape (h)
    zero = Constant <value_ints: ints = [0]> ()
    two = Constant <value_ints: ints = [2]> ()
    axis1 = Constant <value_ints: ints = [1]> ()
    last = Constant <value_ints: ints = [-1]> ()
    minus = Constant <value_ints: ints = [-1]> ()
    rows = Slice (h_shape, zero, two, zero)
    x64 = Cast <to: int = {INT64}> (x)
    xh = Reshape (x64, rows)
    dt64 = Cast <to: int = {INT64}> (dt)
    dt1 = Unsqueeze (dt64, axis1)
    u_wide = Mul (dt1, xh)
    u_round = {DOMAIN}.RoundShift (u_wide, two_u)
    u16 = {DOMAIN}.Saturate16 (u_round)
    u64 = Cast <to: int = {INT64}> (u16)
    u1 = Unsqueeze (u64, last)
    b64 = Cast <to: int = {INT64}> (b)
    entering = Mul (u1, b64)
    axes = Constant <value_ints: ints = [1, 2]> ()
    decay64 = Cast <to: int = {INT64}> (decay)
    decay2 = Unsqueeze (decay64, axes)
    h64 = Cast <to: int = {INT64}> (h)
    staying = Mul (decay2, h64)
    mixed = Add (staying, entering)
    q15 = Constant <value_int: int = 32768> ()
    new_wide = {DOMAIN}.RoundShift (mixed, q15)
    next = {DOMAIN}.Saturate16 (new_wide)
    n64 = Cast <to: int = {INT64}> (next)
    c64 = Cast <to: int = {INT64}> (c)
    read = Mul (n64, c64)
    acc = ReduceSum <keepdims: int = 0> (read, last)
    ym64 = Cast <to: int = {INT64}> (y_mult)
    ym1 = Unsqueeze (ym64, axis1)
    dm64 = Cast <to: int = {INT64}> (d_mult)
    dm1 = Unsqueeze (dm64, axis1)
    from_state = Mul (acc, ym1)
    direct = Mul (xh, dm1)
    y_wide = Add (from_state, direct)
    y_round = {DOMAIN}.RoundShift (y_wide, two_y)
    y16 = {DOMAIN}.Saturate16 (y_round)
    y = Reshape (y16, minus)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    heads, headdim, d_state = 2, 3, 8
    x, h = draw_ints(rng, np.int16, (heads * headdim,), 32767), draw_ints(rng, np.int16, (heads, headdim, d_state), 32767)
    b, c = draw_ints(rng, np.int16, (d_state,), 32767), draw_ints(rng, np.int16, (d_state,), 65535 // d_state)
    decay, dt = (np.abs(draw_ints(rng, np.int16, (heads,), 32767)) for _ in range(2))
    mults = [draw_ints(rng, np.int32, (heads,), 2**30 - 1) for _ in range(2)]
    return [x, b, c, decay, dt, h, draw_power(rng, 0, 30), *mults, draw_power(rng, 0, 46)], {}


def _selective_step(context: DecoderContext, node: onnx.NodeProto) -> None:
    """Tables for decay and dt, then the step; see :func:`q_selective_step` for the scales."""
    x, b, c, dt_raw, h = node.input[:5]
    dt_bias, a, d = (context.constants[name] for name in node.input[5:])
    seen = context.observed.tensors
    heads = len(a)
    dt_seen = np.logaddexp(0.0, seen[dt_raw] + dt_bias)  # (bins, heads)
    u_peak = np.max(np.abs(dt_seen[:, :, None] * seen[x].reshape(len(seen[x]), heads, -1)), axis=(0, 2))  # (heads,)
    scale_x, scale_b, scale_c = (float(context.scale[name]) for name in (x, b, c))
    h_peak = context.observed.state_peaks[node.output[1]].astype(np.float64)
    # u * B is added to h * 2^15: the scale of u follows from those of h and B, so h must also be wide enough for u.
    scale_h = np.maximum(HEADROOM * h_peak, HEADROOM * u_peak * INT16_LIMIT * scale_b) / INT16_LIMIT
    scale_h = np.maximum(scale_h, np.finfo(np.float32).tiny)
    scale_u = scale_h / (2.0**DECAY_SHIFT * scale_b)

    scale_dt = float(context.scale[dt_raw])
    gain = scale_x / scale_u  # (heads,)
    _, k_u = fixed_point(HEADROOM * dt_seen.max(axis=0) * gain, 15, f"{node.name}.dt", max_shift=30)
    base = context.const(f"{node.name}.rows", np.arange(heads) * (TABLE_SEGMENTS + 1), np.int64)
    rows = range(heads)

    def decay_of(head: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        return lambda v: np.exp(np.logaddexp(0.0, v + dt_bias[head]) * a[head])

    def step_of(head: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        return lambda v: np.logaddexp(0.0, v + dt_bias[head]) * gain[head]

    segments = context.formats.table_segments
    decay = [table(decay_of(i), scale_dt, 2.0**-DECAY_SHIFT, segments=segments) for i in rows]
    steps = [table(step_of(i), scale_dt, 2.0**-k_u, segments=segments) for i in rows]
    for what, points in (("decay", decay), ("dt", steps)):
        name = f"{node.name}.{what}"
        context.graph.node("QTable", [dt_raw, context.const(f"{name}.table", np.concatenate(points), np.int16), base], [name], name)

    scale_y = float(context.scale[node.output[0]])
    gains = np.stack([scale_h * scale_c / scale_y, d * scale_x / scale_y])
    mult, k_y = fixed_point(gains, MULTIPLIER_BITS, node.name)
    shape = (heads, seen[x].shape[1] // heads, seen[b].shape[1])
    state = context.graph.state(h.removeprefix("state."), np.int16, shape, scale=scale_h.tolist())
    names = [
        context.scalar(f"{node.name}.two_u", 2**k_u),
        context.const(f"{node.name}.y_mult", mult[0], np.int32),
        context.const(f"{node.name}.d_mult", mult[1], np.int32),
        context.scalar(f"{node.name}.two_y", 2**k_y),
    ]
    inputs = [x, b, c, f"{node.name}.decay", f"{node.name}.dt", state[0], *names]
    context.graph.node("QSelectiveStep", inputs, [node.output[0], state[1]], node.name)


OPERATOR = Operator(q_selective_step, ONNX, draw, {"SelectiveStep": _selective_step})
