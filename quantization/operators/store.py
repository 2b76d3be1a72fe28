"""What becomes a state's next value, where no operator of the state computes it in its place."""

import numpy as np
import onnx
from numpy.typing import NDArray

from quantization.context import DecoderContext
from quantization.operator import Draw, Operator, draw_ints


def q_store(state: NDArray, x: NDArray) -> tuple[NDArray]:
    """x in place of the state, both (n,) int16; what the state was does not matter."""
    return (np.array(x),)


ONNX = """QStore (state, x) => (next) {
    next = Identity (x)
}"""


def draw(rng: np.random.Generator) -> Draw:
    return [draw_ints(rng, np.int16, (9,), 32767), draw_ints(rng, np.int16, (9,), 32767)], {}


def _store(context: DecoderContext, node: onnx.NodeProto) -> None:
    into, x = node.input
    shape = (context.observed.tensors[x].shape[1],)
    state = context.graph.state(into.removeprefix("state."), np.int16, shape, scale=float(context.scale[into]))
    context.graph.node("QStore", [state[0], x], [state[1]], node.name)


OPERATOR = Operator(q_store, ONNX, draw, {"Store": _store})
