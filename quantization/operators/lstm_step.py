"""One step of a long short-term memory."""

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.special import expit

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import DECAY_SHIFT, round_shift, saturate, wide
from quantization.context import HEADROOM, DecoderContext
from quantization.fixedpoint import table
from quantization.operator import Draw, Operator, draw_ints, draw_power
from quantization.operators.table import q_table

MOST_CELL_BITS = 15  # before the binary point of a cell: 2^15 is far beyond what the sigmoids of a step can add up to


def q_lstm_step(
    x: NDArray, recurrent: NDArray, h: NDArray, c: NDArray, sigmoid: NDArray, tanh: NDArray, cell: NDArray, two_e: NDArray
) -> tuple[NDArray, NDArray]:
    """One step of a long short-term memory, in the order of torch: input i, forget f, new g, output o.

    i, f, o = sigmoid[sat16(x + recurrent)];  g = tanh[sat16(x + recurrent)]
    c' = sat16(round_shift(f c + round_shift(i g, e), 15));  h' = sat16(round_shift(o cell[c'], 15))

    x and recurrent (4 * width,) int16 on one scale; h (width,) int16, Q15, which only gives its place; c (width,) int16, whose unit is
    2^(e - 15); tables of 257 points as in :func:`q_table`, Q15, that of the sigmoid not negative; ``cell`` is tanh on the scale of c.
    """
    sums = [saturate(a + b, 16) for a, b in zip(np.split(wide(x), 4), np.split(wide(recurrent), 4), strict=True)]
    none, one = np.zeros((), np.int64), np.int64(2**DECAY_SHIFT)
    i, f, o = (wide(q_table(sums[k], sigmoid, none)[0]) for k in (0, 1, 3))
    g = wide(q_table(sums[2], tanh, none)[0])
    new_c = saturate(round_shift(f * wide(c) + round_shift(i * g, wide(two_e)), one), 16)
    return saturate(round_shift(o * wide(q_table(new_c, cell, none)[0]), one), 16), new_c


ONNX = f"""QLstmStep (x, recurrent, h, c, sigmoid, tanh, cell, two_e) => (next_h, next_c) {{
    none = Constant <value_int: int = 0> ()
    q15 = Constant <value_int: int = 32768> ()
    x64 = Cast <to: int = {INT64}> (x)
    recurrent64 = Cast <to: int = {INT64}> (recurrent)
    sums = Add (x64, recurrent64)
    clipped = {DOMAIN}.Saturate16 (sums)
    i_in, f_in, g_in, o_in = Split <axis: int = 0, num_outputs: int = 4> (clipped)
    i = {DOMAIN}.QTable (i_in, sigmoid, none)
    f = {DOMAIN}.QTable (f_in, sigmoid, none)
    g = {DOMAIN}.QTable (g_in, tanh, none)
    o = {DOMAIN}.QTable (o_in, sigmoid, none)
    i64 = Cast <to: int = {INT64}> (i)
    f64 = Cast <to: int = {INT64}> (f)
    g64 = Cast <to: int = {INT64}> (g)
    o64 = Cast <to: int = {INT64}> (o)
    c64 = Cast <to: int = {INT64}> (c)
    staying = Mul (f64, c64)
    product = Mul (i64, g64)
    entering = {DOMAIN}.RoundShift (product, two_e)
    mixed = Add (staying, entering)
    new = {DOMAIN}.RoundShift (mixed, q15)
    next_c = {DOMAIN}.Saturate16 (new)
    shown = {DOMAIN}.QTable (next_c, cell, none)
    shown64 = Cast <to: int = {INT64}> (shown)
    gated = Mul (o64, shown64)
    out = {DOMAIN}.RoundShift (gated, q15)
    next_h = {DOMAIN}.Saturate16 (out)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    width, limit = int(rng.integers(1, 9)), int(rng.choice([300, 32767]))
    x, recurrent = (draw_ints(rng, np.int16, (4 * width,), limit) for _ in range(2))
    h, c = (draw_ints(rng, np.int16, (width,), 32767) for _ in range(2))
    sigmoid, tanh, cell = (draw_ints(rng, np.int16, (257,), 32767) for _ in range(3))
    return [x, recurrent, h, c, np.abs(sigmoid), tanh, cell, draw_power(rng, 0, MOST_CELL_BITS)], {}


def cell_scale(largest: float) -> float:
    """The unit of a cell whose largest absolute value is known."""
    return 2.0 ** (min(MOST_CELL_BITS, max(0, int(np.ceil(np.log2(max(HEADROOM * largest, 1.0)))))) - DECAY_SHIFT)


def _lstm_step(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, recurrent, h, c = node.input
    scale_c = float(context.scale[node.output[1]])
    e = round(np.log2(scale_c)) + DECAY_SHIFT
    tables = [
        context.const(f"{node.name}.{what}", table(function, scale, 2.0**-DECAY_SHIFT), np.int16)
        for what, function, scale in (
            ("sigmoid", expit, float(context.scale[x])),
            ("tanh", np.tanh, float(context.scale[x])),
            ("cell", np.tanh, scale_c),
        )
    ]
    shape = (context.observed.tensors[x].shape[1] // 4,)
    h_state = context.graph.state(h.removeprefix("state."), np.int16, shape, scale=2.0**-DECAY_SHIFT)
    c_state = context.graph.state(c.removeprefix("state."), np.int16, shape, scale=scale_c)
    names = [*tables, context.scalar(f"{node.name}.two_e", 2**e)]
    context.graph.node("QLstmStep", [x, recurrent, h_state[0], c_state[0], *names], [h_state[1], c_state[1]], node.name)


OPERATOR = Operator(q_lstm_step, ONNX, draw, {"LstmStep": _lstm_step})
