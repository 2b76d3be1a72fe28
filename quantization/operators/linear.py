"""A matrix product of int8 with int8 weights, requantised to int16."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import DOMAIN
from quantization.arithmetic import round_shift, saturate, wide
from quantization.context import DecoderContext
from quantization.operator import Draw, Operator, draw_ints, draw_power
from quantization.weights import weights


def q_linear(x: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray]:
    """sat16(round_shift((x W + b) * mult, k)): x (in,) int8 or int16, weight (in, out) int8, bias and mult (out,) int32."""
    accumulator = wide(x) @ wide(weight) + wide(bias)
    return (saturate(round_shift(accumulator * wide(mult), wide(two_k)), 16),)


ONNX = f"""QLinear (x, weight, bias, mult, two_k) => (y) {{
    axis = Constant <value_ints: ints = [0]> ()
    row = Unsqueeze (x, axis)
    products = MatMulInteger (row, weight)
    sums = Squeeze (products, axis)
    acc = Add (sums, bias)
    y = {DOMAIN}.Requantise (acc, mult, two_k)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    weight, bias = draw_ints(rng, np.int8, (40, 7), 127), draw_ints(rng, np.int32, (7,), 2**30)
    return [draw_ints(rng, np.int8, (40,), 127), weight, bias, draw_ints(rng, np.int32, (7,), 2**30 - 1), draw_power(rng, 0, 46)], {}


def _linear(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, weight, bias = node.input[0], context.constants[node.input[1]], context.constants[node.input[2]]
    op = "QLinear" if x in context.narrow else "QLinear16"
    context.graph.node(op, [x, *weights(context, node, weight, bias)], node.output, node.name)


OPERATOR = Operator(q_linear, ONNX, draw, {"Linear": _linear})
