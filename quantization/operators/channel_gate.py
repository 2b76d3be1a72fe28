"""Each channel's maps times what the channel is worth."""

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.special import expit

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import round_shift, saturate, wide
from quantization.context import DecoderContext
from quantization.fixedpoint import fixed_point
from quantization.operator import Draw, Operator, draw_ints, draw_power
from quantization.operators.table import tabulated


def q_channel_gate(x: NDArray, gate: NDArray, two_k: NDArray) -> tuple[NDArray]:
    """sat8(round_shift(x * gate, k)): x (channels * maps,) int16, gate (channels,) int16, not negative."""
    gated = wide(x).reshape(len(gate), -1) * wide(gate)[:, None]
    return (saturate(round_shift(gated, wide(two_k)), 8).reshape(-1),)


ONNX = f"""QChannelGate (x, gate, two_k) => (y) {{
    one = Constant <value_ints: ints = [1]> ()
    flat = Constant <value_ints: ints = [-1]> ()
    gate_shape = Shape (gate)
    by_channel = Concat <axis: int = 0> (gate_shape, flat)
    x64 = Cast <to: int = {INT64}> (x)
    maps = Reshape (x64, by_channel)
    g64 = Cast <to: int = {INT64}> (gate)
    column = Unsqueeze (g64, one)
    gated = Mul (maps, column)
    rounded = {DOMAIN}.RoundShift (gated, two_k)
    y8 = {DOMAIN}.Saturate8 (rounded)
    y = Reshape (y8, flat)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    channels, maps = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    return [
        draw_ints(rng, np.int16, (channels * maps,), 32767),
        np.abs(draw_ints(rng, np.int16, (channels,), 32767)),
        draw_power(rng, 0, 30),
    ], {}


def _channel_gate(context: DecoderContext, node: onnx.NodeProto) -> None:
    """The table of the sigmoid is scaled so that the product needs a shift only."""
    x, logit, out = node.input[0], node.input[1], node.output[0]
    gain = float(context.scale[x]) / float(context.scale[out])
    _, k = fixed_point(gain, 16, node.name, max_shift=30)  # a gate is at most 1
    gate = f"{node.name}.gate"
    tabulated(context, expit, logit, gate, gate, 1 / (gain * 2.0**k))
    context.graph.node("QChannelGate", [x, gate, context.scalar(f"{node.name}.two_k", 2**k)], [out], node.name)


OPERATOR = Operator(q_channel_gate, ONNX, draw, {"ChannelGate": _channel_gate})
