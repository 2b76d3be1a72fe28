"""RMSNorm(y * silu(z)) of Mamba-2."""

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy.special import expit

from export.functions import INT64
from export.stepgraph import DOMAIN
from quantization.activations import silu
from quantization.arithmetic import BITS, round_shift, saturate, unit_scale, wide
from quantization.context import HEADROOM, NORM_WEIGHT_BITS, DecoderContext
from quantization.fixedpoint import INT16_LIMIT, fixed_point, norm_eps, stored_scale
from quantization.operator import Draw, Operator, draw_ints, draw_power, draw_result
from quantization.operators.table import tabulated


def q_gated_norm(y: NDArray, gate: NDArray, two_v: NDArray, weight: NDArray, eps: NDArray, two_k: NDArray, *, to: int) -> tuple[NDArray]:
    """v = sat16(round_shift(y * gate, v)); sat(round_shift(unit_scale(v, eps) * weight, k)): RMSNorm(y * silu(z)) of Mamba-2."""
    v = saturate(round_shift(wide(y) * wide(gate), wide(two_v)), 16)
    return (saturate(round_shift(unit_scale(wide(v), wide(eps)) * wide(weight), wide(two_k)), BITS[to]),)


ONNX = f"""QGatedNorm <to> (y, gate, two_v, weight, eps, two_k) => (out) {{
    y64 = Cast <to: int = {INT64}> (y)
    g64 = Cast <to: int = {INT64}> (gate)
    gated = Mul (y64, g64)
    wide = {DOMAIN}.RoundShift (gated, two_v)
    v = {DOMAIN}.Saturate16 (wide)
    v64 = Cast <to: int = {INT64}> (v)
    t = {DOMAIN}.UnitScale (v64, eps)
    w64 = Cast <to: int = {INT64}> (weight)
    product = Mul (t, w64)
    rounded = {DOMAIN}.RoundShift (product, two_k)
    out = {DOMAIN}.Saturate <to: int = @to> (rounded)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    y, gate = draw_ints(rng, np.int16, (24,), int(rng.choice([3, 32767]))), draw_ints(rng, np.int16, (24,), 32767)
    weight, eps = draw_ints(rng, np.int32, (24,), 2**15 - 1), np.int64(rng.choice([1, 2**46]))
    return [y, gate, draw_power(rng, 0, 15), weight, eps, draw_power(rng, 0, 30)], draw_result(rng)


def _gated_norm(context: DecoderContext, node: onnx.NodeProto) -> None:
    y, z, weight, eps = node.input[0], node.input[1], context.constants[node.input[2]], float(context.constants[node.input[3]])
    seen = context.observed.tensors
    gate_seen = seen[z] * expit(seen[z])
    scale_y, scale_gate = float(context.scale[y]), stored_scale(HEADROOM * float(np.max(np.abs(gate_seen))))
    gate = f"{node.name}.gate"
    tabulated(context, silu, z, gate, gate, scale_gate)
    widest = HEADROOM * float(np.max(np.abs(seen[y] * gate_seen))) / (scale_y * scale_gate)  # in units of the product
    k_v = max(0, int(np.ceil(np.log2(max(widest, 1.0) / INT16_LIMIT))))
    scale_v = scale_y * scale_gate * 2.0**k_v
    n = len(weight)
    mult, k = fixed_point(weight * np.sqrt(n) / 2**15 / float(context.scale[node.output[0]]), NORM_WEIGHT_BITS, node.name, max_shift=30)
    names = [
        context.scalar(f"{node.name}.two_v", 2**k_v),
        context.const(f"{node.name}.weight", mult, np.int32),
        context.scalar(f"{node.name}.eps", norm_eps(eps, n, scale_v, node.name)),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QGatedNorm", [y, gate, *names], node.output, node.name, to=context.type_of(node.output[0]))


OPERATOR = Operator(q_gated_norm, ONNX, draw, {"GatedNorm": _gated_norm})
