"""Two tensors multiplied element by element."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import BITS, round_shift, saturate, wide
from quantization.context import NORM_WEIGHT_BITS, DecoderContext
from quantization.fixedpoint import fixed_point
from quantization.operator import Draw, Operator, draw_ints, draw_power, draw_result


def q_product(a: NDArray, b: NDArray, mult: NDArray, two_k: NDArray, *, to: int) -> tuple[NDArray]:
    """sat(round_shift(a * b * mult, k)): a and b (n,) int16, mult () int64 above 0, the result of type ``to``."""
    return (saturate(round_shift(wide(a) * wide(b) * wide(mult), wide(two_k)), BITS[to]),)


ONNX = f"""QProduct <to> (a, b, mult, two_k) => (y) {{
    a64 = Cast <to: int = {INT64}> (a)
    b64 = Cast <to: int = {INT64}> (b)
    product = Mul (a64, b64)
    scaled = Mul (product, mult)
    rounded = {DOMAIN}.RoundShift (scaled, two_k)
    y = {DOMAIN}.Saturate <to: int = @to> (rounded)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    a, b = (draw_ints(rng, np.int16, (9,), 32767) for _ in range(2))
    return [a, b, np.int64(rng.integers(1, 2**NORM_WEIGHT_BITS)), draw_power(rng, 0, 46)], draw_result(rng)


def _mul(context: DecoderContext, node: onnx.NodeProto) -> None:
    a, b = node.input
    out = node.output[0]
    mult, k = fixed_point(float(context.scale[a]) * float(context.scale[b]) / float(context.scale[out]), NORM_WEIGHT_BITS, node.name)
    names = [context.scalar(f"{node.name}.mult", max(1, int(mult))), context.scalar(f"{node.name}.two_k", 2**k)]
    context.graph.node("QProduct", [a, b, *names], [out], node.name, to=context.type_of(out))


OPERATOR = Operator(q_product, ONNX, draw, {"Mul": _mul})
