"""Two tensors, one behind the other, on one scale."""

import numpy as np
import onnx
from numpy.typing import NDArray

from quantization.context import DecoderContext
from quantization.operator import Draw, Operator, draw_ints


def q_concat(a: NDArray, b: NDArray) -> tuple[NDArray]:
    """a (n,) and b (m,), both int16."""
    return (np.concatenate([a, b]),)


ONNX = """QConcat (a, b) => (y) {
    y = Concat <axis: int = 0> (a, b)
}"""


def draw(rng: np.random.Generator) -> Draw:
    return [draw_ints(rng, np.int16, (9,), 32767), draw_ints(rng, np.int16, (4,), 32767)], {}


def _concat(context: DecoderContext, node: onnx.NodeProto) -> None:
    context.graph.node("QConcat", node.input, node.output, node.name)


OPERATOR = Operator(q_concat, ONNX, draw, {"Concat": _concat})
