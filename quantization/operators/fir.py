"""The Wiener filter: a filter over bins, vector in and vector out."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import DOMAIN
from quantization.arithmetic import round_shift, saturate, wide
from quantization.context import DecoderContext
from quantization.fixedpoint import INT8_LIMIT
from quantization.operator import Draw, Operator, draw_ints, draw_power
from quantization.weights import weights


def q_fir(x: NDArray, state: NDArray, weight: NDArray, bias: NDArray, mult: NDArray, two_k: NDArray) -> tuple[NDArray, NDArray]:
    """A filter with a vector in and a vector out, one step, in the transposed direct form: its state is partial sums, not inputs.

    sums_i = W_i x + state_i, state_(lags - 1) = 0;  y = sat16(round_shift((sums_0 + b) * mult, k));  state'_i = sums_(i + 1)

    x (n,) int8; state (lags - 1, dims) int32; weight (lags * n, dims) int8, newest bin first; bias and mult (dims,) int32.
    """
    products = wide(x) @ wide(weight).reshape(-1, len(x), len(bias))  # (lags, dims)
    sums = products + np.pad(wide(state), ((0, 1), (0, 0)))
    y = saturate(round_shift((sums[0] + wide(bias)) * wide(mult), wide(two_k)), 16)
    return y, sums[1:].astype(np.int32)


ONNX = f"""QFir (x, state, weight, bias, mult, two_k) => (y, next) {{
    axis = Constant <value_ints: ints = [0]> ()
    one = Constant <value_ints: ints = [1]> ()
    end = Constant <value_ints: ints = [1000000]> ()
    flat = Constant <value_ints: ints = [-1]> ()
    below = Constant <value_ints: ints = [0, 0, 1, 0]> ()
    n = Shape (x)
    dims = Shape (bias)
    by_lag = Concat <axis: int = 0> (flat, n, dims)
    by_sum = Concat <axis: int = 0> (flat, dims)
    taps = Reshape (weight, by_lag)
    row = Unsqueeze (x, axis)
    rows = MatMulInteger (row, taps)
    products = Reshape (rows, by_sum)
    partial = Pad (state, below)
    sums = Add (products, partial)
    next = Slice (sums, one, end, axis)
    newest = Slice (sums, axis, one, axis)
    now = Squeeze (newest, axis)
    acc = Add (now, bias)
    y = {DOMAIN}.Requantise (acc, mult, two_k)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    lags, n, dims = (int(rng.integers(low, high + 1)) for low, high in ((2, 6), (1, 9), (1, 3)))
    state, weight = draw_ints(rng, np.int32, (lags - 1, dims), 2**29), draw_ints(rng, np.int8, (lags * n, dims), 127)
    bias, mult = draw_ints(rng, np.int32, (dims,), 2**30), draw_ints(rng, np.int32, (dims,), 2**30 - 1)
    return [draw_ints(rng, np.int8, (n,), 127), state, weight, bias, mult, draw_power(rng, 0, 46)], {}


def _offset(seen: NDArray[np.floating], scale: float, weight: NDArray) -> NDArray[np.float64]:
    """What rounding x to int8 adds to the outputs, on average over calibration, (dims,): the bias takes it back.

    Spike counts take few values. The rounding error of each comes again in every bin, and the lags add it up to an offset of the output.
    Nagel et al. 2019 (arXiv 1906.04721), appendix on empirical bias correction, correct the means of outputs so.

    Args:
        seen: x, ``(bins, n)``.
        weight: ``(lags * n, dims)``.
    """
    stored = np.clip(np.rint(seen / scale), -INT8_LIMIT, INT8_LIMIT) * scale
    return weight.reshape(-1, seen.shape[1], weight.shape[1]).sum(axis=0).T @ (stored - seen).mean(axis=0)


def _fir(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, state_in, weight, bias = node.input[0], node.input[1], context.constants[node.input[2]], context.constants[node.input[3]]
    names = weights(context, node, weight, bias - _offset(context.observed.tensors[x], float(context.scale[x]), weight))
    mult, two_k = (context.graph.constants[name] for name in names[2:])
    shape = (len(weight) // context.observed.tensors[x].shape[1] - 1, len(bias))
    scale = (mult / two_k * context.scale[node.output[0]]).tolist()
    state = context.graph.state(state_in.removeprefix("state."), np.int32, shape, scale=scale)
    context.graph.node("QFir", [x, state[0], *names], [node.output[0], state[1]], node.name)


OPERATOR = Operator(q_fir, ONNX, draw, {"Fir": _fir})
