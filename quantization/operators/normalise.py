"""Features to z-scores, or to any other scale per element: one multiplication, one addition."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import BITS, DECAY_SHIFT, round_shift, saturate, wide
from quantization.context import MULTIPLIER_BITS, NORM_WEIGHT_BITS, DecoderContext
from quantization.fixedpoint import fixed_point
from quantization.operator import Draw, Operator, draw_ints, draw_power, draw_result


def q_normalise(x: NDArray, mult: NDArray, bias: NDArray, two_k: NDArray, *, to: int) -> tuple[NDArray]:
    """sat(round_shift(x * mult + bias, k)): features (n,) int16 to z-scores of type ``to``; mult (n,) int32, bias (n,) int64.

    ``to`` is an ONNX element type, int8 or int16, here and below.
    """
    return (saturate(round_shift(wide(x) * wide(mult) + wide(bias), wide(two_k)), BITS[to]),)


ONNX = f"""QNormalise <to> (x, mult, bias, two_k) => (y) {{
    x64 = Cast <to: int = {INT64}> (x)
    m64 = Cast <to: int = {INT64}> (mult)
    product = Mul (x64, m64)
    shifted = Add (product, bias)
    rounded = {DOMAIN}.RoundShift (shifted, two_k)
    y = {DOMAIN}.Saturate <to: int = @to> (rounded)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    mult = draw_ints(rng, np.int32, (9,), 2**30 - 1)
    return [draw_ints(rng, np.int16, (9,), 32767), mult, draw_ints(rng, np.int64, (9,), 2**46), draw_power(rng, 0, 46)], draw_result(rng)


def _normalise(context: DecoderContext, node: onnx.NodeProto) -> None:
    mean, inv_std = (context.constants[name] for name in node.input[1:])
    gain = inv_std / float(context.scale[node.output[0]])
    _standardise(context, node, "features", gain * context.feature_scale, -mean * gain, MULTIPLIER_BITS)


def _affine(context: DecoderContext, node: onnx.NodeProto) -> None:
    """Another scale and offset for each element; of the model's input, which has a scale for each itself."""
    x, out = node.input[0], node.output[0]
    gain, offset = (context.constants[name] / float(context.scale[out]) for name in node.input[1:])
    scale = context.feature_scale if x == "features" else float(context.scale[x])
    _standardise(context, node, x, gain * scale, offset, MULTIPLIER_BITS)


def _narrow(context: DecoderContext, node: onnx.NodeProto) -> None:
    """From a tensor's scale, or the Q15 of hidden values (states have none of their own), to what a matrix product reads."""
    n = context.observed.tensors[node.output[0]].shape[1]
    gain = np.full(n, context.scale.get(node.input[0], 2.0**-DECAY_SHIFT) / float(context.scale[node.output[0]]))
    _standardise(context, node, node.input[0], gain, np.zeros(n), NORM_WEIGHT_BITS)


def _standardise(context: DecoderContext, node: onnx.NodeProto, x: str, gain: NDArray, offset: NDArray, bits: int) -> None:
    mult, k = fixed_point(gain, bits, node.name)
    names = [
        context.const(f"{node.name}.mult", mult, np.int32),
        context.const(f"{node.name}.bias", np.rint(offset * 2.0**k), np.int64),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QNormalise", [x, *names], node.output, node.name, to=context.type_of(node.output[0]))


OPERATOR = Operator(q_normalise, ONNX, draw, {"Normalise": _normalise, "Affine": _affine, "Narrow": _narrow})
