"""A causal convolution whose weights all channels share."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import DOMAIN
from quantization.arithmetic import round_shift, saturate, wide
from quantization.context import DecoderContext
from quantization.operator import Draw, Operator, draw_ints, draw_power
from quantization.weights import weights


def q_channel_conv(x: NDArray, state: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray, NDArray]:
    """Causal convolution with weights that all channels share: sat16(round_shift((sum_k w_k v_k + b) * mult, k)), v = [state, x].

    x (kinds * channels,) int8; state (taps - 1, kinds * channels) int8, oldest first; weight (taps * kinds, maps) int8;
    bias and mult (maps,) int32. Returns (channels * maps,) int16 and the next state.
    """
    window = np.concatenate([state, x[None]])
    accumulator = wide(window).reshape(len(weight), -1).T @ wide(weight) + wide(bias)  # (channels, maps)
    return saturate(round_shift(accumulator * wide(mult), wide(two_k)), 16).reshape(-1), window[1:]


ONNX = f"""QChannelConv (x, state, weight, bias, mult, two_k) => (y, next) {{
    axis = Constant <value_ints: ints = [0]> ()
    one = Constant <value_ints: ints = [1]> ()
    end = Constant <value_ints: ints = [100]> ()
    flat = Constant <value_ints: ints = [-1]> ()
    row = Unsqueeze (x, axis)
    window = Concat <axis: int = 0> (state, row)
    next = Slice (window, one, end, axis)
    weight_shape = Shape (weight)
    terms = Slice (weight_shape, axis, one, axis)
    by_term = Concat <axis: int = 0> (terms, flat)
    values = Reshape (window, by_term)
    by_channel = Transpose <perm: ints = [1, 0]> (values)
    products = MatMulInteger (by_channel, weight)
    acc = Add (products, bias)
    y16 = {DOMAIN}.Requantise (acc, mult, two_k)
    y = Reshape (y16, flat)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    taps, kinds, channels, maps = (int(rng.integers(low, high + 1)) for low, high in ((2, 4), (1, 7), (1, 6), (1, 8)))
    state, weight = draw_ints(rng, np.int8, (taps - 1, kinds * channels), 127), draw_ints(rng, np.int8, (taps * kinds, maps), 127)
    bias, mult = draw_ints(rng, np.int32, (maps,), 2**30), draw_ints(rng, np.int32, (maps,), 2**30 - 1)
    return [draw_ints(rng, np.int8, (kinds * channels,), 127), state, weight, bias, mult, draw_power(rng, 0, 46)], {}


def _channel_conv(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, state_in, weight, bias = node.input[0], node.input[1], context.constants[node.input[2]], context.constants[node.input[3]]
    n_features = context.observed.tensors[x].shape[1]
    shape = (len(weight) * context.observed.tensors[node.output[0]].shape[1] // (n_features * weight.shape[1]) - 1, n_features)
    state = context.graph.state(state_in.removeprefix("state."), np.int8, shape, scale=float(context.scale[x]))
    context.graph.node("QChannelConv", [x, state[0], *weights(context, node, weight, bias)], [node.output[0], state[1]], node.name)


OPERATOR = Operator(q_channel_conv, ONNX, draw, {"ChannelConv": _channel_conv})
