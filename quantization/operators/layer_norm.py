"""LayerNorm without a division."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import BITS, round_shift, saturate, unit_scale, wide
from quantization.context import NORM_WEIGHT_BITS, DecoderContext
from quantization.fixedpoint import fixed_point, norm_eps
from quantization.operator import Draw, Operator, draw_ints, draw_power, draw_result


def q_layer_norm(
    x: NDArray, n: NDArray, two_g: NDArray, weight: NDArray, bias: NDArray, eps: NDArray, two_k: NDArray, *, to: int
) -> tuple[NDArray]:
    """c = round_shift(n x - sum(x), g); sat(round_shift(unit_scale(c, eps) * weight + bias, k)).

    x (n,) int16; weight and bias (n,) int32. The mean needs no division because unit_scale does not see a common factor.
    """
    c = round_shift(wide(n) * wide(x) - np.sum(wide(x)), wide(two_g))
    scaled = unit_scale(c, wide(eps)) * wide(weight) + wide(bias)
    return (saturate(round_shift(scaled, wide(two_k)), BITS[to]),)


ONNX = f"""QLayerNorm <to> (x, n, two_g, weight, bias, eps, two_k) => (y) {{
    x64 = Cast <to: int = {INT64}> (x)
    sum = ReduceSum <keepdims: int = 0> (x64)
    scaled = Mul (x64, n)
    centred = Sub (scaled, sum)
    c = {DOMAIN}.RoundShift (centred, two_g)
    t = {DOMAIN}.UnitScale (c, eps)
    w64 = Cast <to: int = {INT64}> (weight)
    b64 = Cast <to: int = {INT64}> (bias)
    product = Mul (t, w64)
    shifted = Add (product, b64)
    rounded = {DOMAIN}.RoundShift (shifted, two_k)
    y = {DOMAIN}.Saturate <to: int = @to> (rounded)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    x = draw_ints(rng, np.int16, (24,), int(rng.choice([1, 50, 32767])))
    weight, bias = draw_ints(rng, np.int32, (24,), 2**15 - 1), draw_ints(rng, np.int32, (24,), 2**30)
    eps = np.int64(rng.choice([1, 1000, 2**46]))
    return [x, np.int64(24), np.int64(64), weight, bias, eps, draw_power(rng, 0, 30)], draw_result(rng)


def _layer_norm(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, out = node.input[0], node.output[0]
    weight, bias, eps = (context.constants[name] for name in node.input[1:])
    n = len(weight)
    g = int(np.ceil(np.log2(n))) + 1  # n x - sum(x) fits 16 bits after it
    scale_c = float(context.scale[x]) * 2**g / n
    real = np.stack([weight * np.sqrt(n) / 2**15, bias / 2**15]) / float(context.scale[out])
    _, k = fixed_point(real, NORM_WEIGHT_BITS, node.name, max_shift=30)  # bias * 2^15 stays below 2^30 as well
    names = [
        context.scalar(f"{node.name}.n", n),
        context.scalar(f"{node.name}.two_g", 2**g),
        context.const(f"{node.name}.weight", np.rint(real[0] * 2.0**k), np.int32),
        context.const(f"{node.name}.bias", np.rint(real[1] * 2.0 ** (k + 15)), np.int32),
        context.scalar(f"{node.name}.eps", norm_eps(float(eps), n, scale_c, node.name)),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QLayerNorm", [x, *names], [out], node.name, to=context.type_of(out))


OPERATOR = Operator(q_layer_norm, ONNX, draw, {"LayerNorm": _layer_norm})
