"""One step of a gated recurrent unit."""

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.special import expit

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import DECAY_SHIFT, round_shift, saturate, wide
from quantization.context import DecoderContext
from quantization.fixedpoint import table
from quantization.operator import Draw, Operator, draw_ints
from quantization.operators.table import q_table


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


ONNX = f"""QGruStep (x, recurrent, h, sigmoid, tanh) => (next) {{
    none = Constant <value_int: int = 0> ()
    q15 = Constant <value_int: int = 32768> ()
    x64 = Cast <to: int = {INT64}> (x)
    recurrent64 = Cast <to: int = {INT64}> (recurrent)
    x_r, x_z, x_n = Split <axis: int = 0, num_outputs: int = 3> (x64)
    h_r, h_z, h_n = Split <axis: int = 0, num_outputs: int = 3> (recurrent64)
    r_sum = Add (x_r, h_r)
    r_in = {DOMAIN}.Saturate16 (r_sum)
    r = {DOMAIN}.QTable (r_in, sigmoid, none)
    z_sum = Add (x_z, h_z)
    z_in = {DOMAIN}.Saturate16 (z_sum)
    z = {DOMAIN}.QTable (z_in, sigmoid, none)
    r64 = Cast <to: int = {INT64}> (r)
    reset_wide = Mul (r64, h_n)
    reset = {DOMAIN}.RoundShift (reset_wide, q15)
    n_sum = Add (x_n, reset)
    n_in = {DOMAIN}.Saturate16 (n_sum)
    n = {DOMAIN}.QTable (n_in, tanh, none)
    z64 = Cast <to: int = {INT64}> (z)
    n64 = Cast <to: int = {INT64}> (n)
    h64 = Cast <to: int = {INT64}> (h)
    rest = Sub (q15, z64)
    entering = Mul (rest, n64)
    staying = Mul (z64, h64)
    mixed = Add (entering, staying)
    new = {DOMAIN}.RoundShift (mixed, q15)
    next = {DOMAIN}.Saturate16 (new)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    width, limit = int(rng.integers(1, 9)), int(rng.choice([300, 32767]))
    x, recurrent = (draw_ints(rng, np.int16, (3 * width,), limit) for _ in range(2))
    sigmoid, tanh = (draw_ints(rng, np.int16, (257,), 32767) for _ in range(2))
    return [x, recurrent, draw_ints(rng, np.int16, (width,), 32767), np.abs(sigmoid), tanh], {}


def _gru_step(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, recurrent, h = node.input
    tables = [
        context.const(f"{node.name}.{what}", table(function, float(context.scale[x]), 2.0**-DECAY_SHIFT), np.int16)
        for what, function in (("sigmoid", expit), ("tanh", np.tanh))
    ]
    shape = (context.observed.tensors[x].shape[1] // 3,)
    state = context.graph.state(h.removeprefix("state."), np.int16, shape, scale=2.0**-DECAY_SHIFT)
    context.graph.node("QGruStep", [x, recurrent, state[0], *tables], [state[1]], node.name)


OPERATOR = Operator(q_gru_step, ONNX, draw, {"GruStep": _gru_step})
