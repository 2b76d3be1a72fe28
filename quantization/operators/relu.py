"""The rectifier, and to the scale of what reads it in one step."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import BITS, round_shift, saturate, wide
from quantization.context import NORM_WEIGHT_BITS, DecoderContext
from quantization.fixedpoint import fixed_point
from quantization.operator import Draw, Operator, draw_ints, draw_power, draw_result


def q_relu(x: NDArray, mult: NDArray, two_k: NDArray, *, to: int) -> tuple[NDArray]:
    """sat(round_shift(max(x, 0) * mult, k)): x (n,) int16, mult () int64 above 0, the result of type ``to``."""
    return (saturate(round_shift(np.maximum(wide(x), 0) * wide(mult), wide(two_k)), BITS[to]),)


ONNX = f"""QRelu <to> (x, mult, two_k) => (y) {{
    x64 = Cast <to: int = {INT64}> (x)
    zero = Constant <value_int: int = 0> ()
    above = Max (x64, zero)
    product = Mul (above, mult)
    rounded = {DOMAIN}.RoundShift (product, two_k)
    y = {DOMAIN}.Saturate <to: int = @to> (rounded)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    mult = np.int64(rng.integers(1, 2**NORM_WEIGHT_BITS))
    return [draw_ints(rng, np.int16, (9,), 32767), mult, draw_power(rng, 0, 30)], draw_result(rng)


def _relu(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, out = node.input[0], node.output[0]
    mult, k = fixed_point(float(context.scale[x]) / float(context.scale[out]), NORM_WEIGHT_BITS, node.name)
    names = [context.scalar(f"{node.name}.mult", int(mult)), context.scalar(f"{node.name}.two_k", 2**k)]
    context.graph.node("QRelu", [x, *names], [out], node.name, to=context.type_of(out))


OPERATOR = Operator(q_relu, ONNX, draw, {"Relu": _relu})
