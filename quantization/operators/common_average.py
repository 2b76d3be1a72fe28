"""The common average reference of a front end."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT32, INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import round_shift, wide
from quantization.context import FrontendContext
from quantization.fixedpoint import fixed_point
from quantization.operator import Draw, Operator, draw_ints, draw_power
from quantization.operators.biquad import STEP


def q_common_average(x: NDArray, good: NDArray, reciprocal: NDArray, two_k: NDArray, guard: NDArray) -> tuple[NDArray]:
    """4 ((x * guard) - round_shift(sum(x * good) * reciprocal, k)) * good, (channels, 1) int32: multiples of 4, as filters make them.

    x (channels,) int16; good (channels,) int8, 0 or 1; reciprocal is round(guard * 2^k / sum(good)), or 0 for no reference.
    """
    mean = round_shift(np.sum(wide(x) * wide(good)) * wide(reciprocal), wide(two_k))
    return (((wide(x) * wide(guard) - mean) * wide(good) * STEP).astype(np.int32)[:, None],)


ONNX = f"""QCommonAverage (x, good, reciprocal, two_k, guard) => (y) {{
    x64 = Cast <to: int = {INT64}> (x)
    g64 = Cast <to: int = {INT64}> (good)
    kept = Mul (x64, g64)
    sum = ReduceSum <keepdims: int = 0> (kept)
    scaled = Mul (sum, reciprocal)
    mean = {DOMAIN}.RoundShift (scaled, two_k)
    wide = Mul (x64, guard)
    centred = Sub (wide, mean)
    masked = Mul (centred, g64)
    step = Constant <value_int: int = {STEP}> ()
    stepped = Mul (masked, step)
    y32 = Cast <to: int = {INT32}> (stepped)
    axis = Constant <value_ints: ints = [1]> ()
    y = Unsqueeze (y32, axis)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    good = rng.integers(0, 2, 6).astype(np.int8)
    reciprocal = np.int64(rng.integers(0, 2**24))
    return [draw_ints(rng, np.int16, (6,), 32767), good, reciprocal, draw_power(rng, 16, 22), np.int64(rng.choice([1, 256]))], {}


def _reference(context: FrontendContext, node: onnx.NodeProto) -> None:
    good, mean_weight = context.constants[node.input[1]], float(context.constants[node.input[2]])
    reciprocal, k = fixed_point(mean_weight * 2**context.fmt.guard, 24, node.name, max_shift=22)
    names = [context.const(f"{node.name}.good", good, np.int8)]
    names += context.scalars(node.name, reciprocal=int(reciprocal), two_k=2**k, guard=2**context.fmt.guard)
    context.graph.node("QCommonAverage", ["sample", *names], [node.output[0]], node.name)


OPERATOR = Operator(q_common_average, ONNX, draw, {"CommonAverage": _reference})
