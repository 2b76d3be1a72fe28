"""A function of one int16 by a table: activations, decays."""

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT16, INT64
from export.pointwise import points
from export.stepgraph import DOMAIN
from quantization.activations import gelu, silu
from quantization.arithmetic import TABLE_SEGMENTS, interpolate, wide
from quantization.context import DecoderContext
from quantization.fixedpoint import INT16_LIMIT, table
from quantization.operator import Draw, Operator, draw_ints
from realm_edge.errors import UserError


def q_table(x: NDArray, table: NDArray, base: NDArray) -> tuple[NDArray]:
    """A function of one int16 by 257 points and linear interpolation.

    u = x + 32768, i = floor(u / 256), f = u mod 256; round_shift(T[base + i] * (256 - f) + T[base + i + 1] * f, 8).
    table (rows * 257,) int16; base () or (n,) int64: where an element's row begins.
    """
    u = wide(x) + 2**15
    return (interpolate(table, wide(base) + u // 256, u % 256, 256).astype(np.int16),)


ONNX = f"""QTable (x, table, base) => (y) {{
    x64 = Cast <to: int = {INT64}> (x)
    offset = Constant <value_int: int = 32768> ()
    u = Add (x64, offset)
    width = Constant <value_int: int = 256> ()
    fraction = Mod (u, width)
    i = Div (u, width)
    segment = Add (i, base)
    y64 = {DOMAIN}.Interpolate (table, segment, fraction, width)
    y = Cast <to: int = {INT16}> (y64)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    rows = np.arange(3, dtype=np.int64) * 257
    return [draw_ints(rng, np.int16, (3,), 32767), draw_ints(rng, np.int16, (3 * 257,), 32767), rows], {}


def _activation(context: DecoderContext, node: onnx.NodeProto) -> None:
    function = {"Silu": silu, "Gelu": gelu}[node.op_type]
    tabulated(context, function, node.input[0], node.output[0], node.name, float(context.scale[node.output[0]]))


def tabulated(context: DecoderContext, function: Callable, x: str, out: str, name: str, scale_out: float) -> None:
    points = table(function, float(context.scale[x]), scale_out, context.limit.get(out, INT16_LIMIT), context.formats.table_segments)
    names = [context.const(f"{name}.table", points, np.int16), context.scalar(f"{name}.base", 0)]
    context.graph.node("QTable", [x, *names], [out], f"{name}.{function.__name__}")


def pointwise(context: DecoderContext, node: onnx.NodeProto) -> None:
    """Of :mod:`export.pointwise`: a row for all elements, or where constants differ one for each.

    Raises:
        UserError: the function is no number anywhere.
    """
    x, out = node.input[0], node.output[0]
    constants = [context.constants[name] for name in node.input[1:]]
    codes = np.arange(-TABLE_SEGMENTS // 2, TABLE_SEGMENTS // 2 + 1, dtype=np.float64) * 256.0
    values = points(context.functions[node.op_type], codes * float(context.scale[x]), constants)
    if np.isnan(values).any():
        raise UserError(f"{node.name}: is no number wherever its input lies: look at its constants")
    limit, scale = context.limit.get(out, INT16_LIMIT), float(context.scale[out])
    rows = np.rint(np.clip(values.T / scale, -limit, limit)).astype(np.int16)  # (rows, points)
    base = 0 if len(rows) == 1 else np.arange(len(rows)) * rows.shape[1]
    names = [context.const(f"{node.name}.table", rows.ravel(), np.int16), context.const(f"{node.name}.base", base, np.int64)]
    context.graph.node("QTable", [x, *names], [out], node.name)


OPERATOR = Operator(q_table, ONNX, draw, {"Silu": _activation, "Gelu": _activation})
