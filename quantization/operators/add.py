"""The residual stream: both summands have one scale."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import saturate, wide
from quantization.context import DecoderContext
from quantization.operator import Draw, Operator, draw_ints


def q_add(a: NDArray, b: NDArray) -> tuple[NDArray]:
    """sat16(a + b), both int16 on one scale: the residual stream."""
    return (saturate(wide(a) + wide(b), 16),)


ONNX = f"""QAdd (a, b) => (y) {{
    a64 = Cast <to: int = {INT64}> (a)
    b64 = Cast <to: int = {INT64}> (b)
    sum = Add (a64, b64)
    y = {DOMAIN}.Saturate16 (sum)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    return [draw_ints(rng, np.int16, (9,), 32767), draw_ints(rng, np.int16, (9,), 32767)], {}


def _add(context: DecoderContext, node: onnx.NodeProto) -> None:
    context.graph.node("QAdd", node.input, node.output, node.name)


OPERATOR = Operator(q_add, ONNX, draw, {"Add": _add})
