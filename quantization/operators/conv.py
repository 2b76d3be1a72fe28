"""The depthwise causal convolution of Mamba-2."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import round_shift, saturate, wide
from quantization.context import DecoderContext
from quantization.operator import Draw, Operator, draw_ints, draw_power
from quantization.weights import weights


def q_conv(x: NDArray, state: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray, NDArray]:
    """Depthwise causal convolution, one step: sat16(round_shift((sum_k w_k v_k + b) * mult, k)), v = [state, x].

    x (d,) int16; state (taps - 1, d) int16, oldest first; weight (taps, d) int8; bias and mult (d,) int32.
    """
    window = np.concatenate([state, x[None]])
    accumulator = np.sum(wide(window) * wide(weight), axis=0) + wide(bias)
    return saturate(round_shift(accumulator * wide(mult), wide(two_k)), 16), window[1:]


ONNX = f"""QConv (x, state, weight, bias, mult, two_k) => (y, next) {{
    axis = Constant <value_ints: ints = [0]> ()
    row = Unsqueeze (x, axis)
    window = Concat <axis: int = 0> (state, row)
    v64 = Cast <to: int = {INT64}> (window)
    w64 = Cast <to: int = {INT64}> (weight)
    products = Mul (v64, w64)
    sums = ReduceSum <keepdims: int = 0> (products, axis)
    b64 = Cast <to: int = {INT64}> (bias)
    acc = Add (sums, b64)
    y = {DOMAIN}.Requantise (acc, mult, two_k)
    from = Constant <value_ints: ints = [1]> ()
    end = Constant <value_ints: ints = [100]> ()
    next = Slice (window, from, end, axis)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    state, weight = draw_ints(rng, np.int16, (3, 5), 32767), draw_ints(rng, np.int8, (4, 5), 127)
    bias, mult = draw_ints(rng, np.int32, (5,), 2**30), draw_ints(rng, np.int32, (5,), 2**30 - 1)
    return [draw_ints(rng, np.int16, (5,), 32767), state, weight, bias, mult, draw_power(rng, 0, 46)], {}


def _conv(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, state_in, weight, bias = node.input[0], node.input[1], context.constants[node.input[2]], context.constants[node.input[3]]
    shape = (len(weight) - 1, weight.shape[1])
    state = context.graph.state(state_in.removeprefix("state."), np.int16, shape, scale=float(context.scale[x]))
    context.graph.node("QConv", [x, state[0], *weights(context, node, weight, bias)], [node.output[0], state[1]], node.name)


OPERATOR = Operator(q_conv, ONNX, draw, {"Conv": _conv})
