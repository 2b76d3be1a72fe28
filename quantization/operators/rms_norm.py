"""RMSNorm without a division."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import BITS, round_shift, saturate, unit_scale, wide
from quantization.context import NORM_WEIGHT_BITS, DecoderContext
from quantization.fixedpoint import fixed_point, norm_eps
from quantization.operator import Draw, Operator, draw_ints, draw_power, draw_result


def q_rms_norm(x: NDArray, weight: NDArray, eps: NDArray, two_k: NDArray, *, to: int) -> tuple[NDArray]:
    """sat(round_shift(unit_scale(x, eps) * weight, k)): x (n,) int16, weight (n,) int32."""
    return (saturate(round_shift(unit_scale(wide(x), wide(eps)) * wide(weight), wide(two_k)), BITS[to]),)


ONNX = f"""QRmsNorm <to> (x, weight, eps, two_k) => (y) {{
    x64 = Cast <to: int = {INT64}> (x)
    t = {DOMAIN}.UnitScale (x64, eps)
    w64 = Cast <to: int = {INT64}> (weight)
    product = Mul (t, w64)
    rounded = {DOMAIN}.RoundShift (product, two_k)
    y = {DOMAIN}.Saturate <to: int = @to> (rounded)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    x, weight = draw_ints(rng, np.int16, (24,), int(rng.choice([3, 32767]))), draw_ints(rng, np.int32, (24,), 2**15 - 1)
    return [x, weight, np.int64(rng.choice([1, 2**46])), draw_power(rng, 0, 30)], draw_result(rng)


def _rms_norm(context: DecoderContext, node: onnx.NodeProto) -> None:
    x, out = node.input[0], node.output[0]
    weight, eps = (context.constants[name] for name in node.input[1:])
    n = len(weight)
    real = weight * np.sqrt(n) / 2**15 / float(context.scale[out])
    mult, k = fixed_point(real, NORM_WEIGHT_BITS, node.name, max_shift=30)
    names = [
        context.const(f"{node.name}.weight", mult, np.int32),
        context.scalar(f"{node.name}.eps", norm_eps(float(eps), n, float(context.scale[x]), node.name)),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QRmsNorm", [x, *names], [out], node.name, to=context.type_of(out))


OPERATOR = Operator(q_rms_norm, ONNX, draw, {"RmsNorm": _rms_norm})
