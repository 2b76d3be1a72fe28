"""Elements of a tensor in another order, or several times over."""

import numpy as np
import onnx
from numpy.typing import NDArray

from quantization.arithmetic import wide
from quantization.context import DecoderContext
from quantization.operator import Draw, Operator, draw_ints


def q_gather(x: NDArray, places: NDArray) -> tuple[NDArray]:
    """x[places]: x (n,) int16, places (m,) int16."""
    return (np.asarray(x)[wide(places)],)


ONNX = """QGather (x, places) => (y) {
    at = Cast <to: int = 7> (places)
    y = Gather <axis: int = 0> (x, at)
}"""


def draw(rng: np.random.Generator) -> Draw:
    return [draw_ints(rng, np.int16, (9,), 32767), rng.integers(0, 9, 14).astype(np.int16)], {}


def _gather(context: DecoderContext, node: onnx.NodeProto) -> None:
    places = context.const(f"{node.name}.places", context.constants[node.input[1]], np.int16)
    context.graph.node("QGather", [node.input[0], places], node.output, node.name)


OPERATOR = Operator(q_gather, ONNX, draw, {"Gather": _gather})
