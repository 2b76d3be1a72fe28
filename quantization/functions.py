"""The operators of :mod:`quantization.arithmetic` as ONNX functions (domain ``realm.edge``) of standard operators.

onnxruntime executes them as they are; ``onnx.inliner`` inlines them for tools without functions. Everything is computed in
int64 except MatMulInteger, which takes int8 times int8 only (uint8 times int8 saturates on CPUs without VNNI). onnxruntime
sums int64 in ReduceSum through double, exact below 2^53 only: filters, whose products are larger, use MatMul instead.
"""

from functools import cache

import onnx
import onnx.parser

from export.stepgraph import DOMAIN, OPSET
from quantization.arithmetic import LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS, log2_table, rsqrt_table
from quantization.frontend_functions import FRONTEND_BODIES

INT8, INT16, INT32, INT64 = 3, 5, 6, 7  # onnx.TensorProto element types, as Cast takes them


def _ints(values: object) -> str:
    return ", ".join(str(int(v)) for v in values)  # type: ignore[attr-defined]


_POWERS = _ints(2**k for k in range(SUM_OF_SQUARES_BITS))
_POWERS_FROM_1 = _ints(2**k for k in range(1, SUM_OF_SQUARES_BITS))
_POWERS_OF_4_FROM_1 = _ints(4**k for k in range(1, SUM_OF_SQUARES_BITS // 2))

_BODIES = (
    """RoundShift (x, two_k) => (y) {
        two = Constant <value_int: int = 2> ()
        half = Div (two_k, two)
        t = Add (x, half)
        r = Mod (t, two_k)
        d = Sub (t, r)
        y = Div (d, two_k)
    }""",
    f"""Saturate16 (x) => (y) {{
        lo = Constant <value_int: int = -32767> ()
        hi = Constant <value_int: int = 32767> ()
        c = Clip (x, lo, hi)
        y = Cast <to: int = {INT16}> (c)
    }}""",
    f"""Saturate8 (x) => (y) {{
        lo = Constant <value_int: int = -127> ()
        hi = Constant <value_int: int = 127> ()
        c = Clip (x, lo, hi)
        y = Cast <to: int = {INT8}> (c)
    }}""",
    f"""Interpolate (table, segment, fraction, width) => (y) {{
        one = Constant <value_int: int = 1> ()
        after = Add (segment, one)
        a = Gather <axis: int = 0> (table, segment)
        b = Gather <axis: int = 0> (table, after)
        a64 = Cast <to: int = {INT64}> (a)
        b64 = Cast <to: int = {INT64}> (b)
        rest = Sub (width, fraction)
        left = Mul (a64, rest)
        right = Mul (b64, fraction)
        sum = Add (left, right)
        y = {DOMAIN}.RoundShift (sum, width)
    }}""",
    f"""UnitScale (c, eps) => (y) {{
        squares = Mul (c, c)
        total = ReduceSum <keepdims: int = 0> (squares)
        s = Add (total, eps)
        fours = Constant <value_ints: ints = [{_POWERS_OF_4_FROM_1}]> ()
        above = GreaterOrEqual (s, fours)
        counted = Cast <to: int = {INT64}> (above)
        p = ReduceSum <keepdims: int = 0> (counted)
        powers = Constant <value_ints: ints = [{_POWERS}]> ()
        two_p = Gather <axis: int = 0> (powers, p)
        four_p = Mul (two_p, two_p)
        scale = Constant <value_int: int = 4096> ()
        scaled = Mul (s, scale)
        m = Div (scaled, four_p)
        u = Sub (m, scale)
        width = Constant <value_int: int = 64> ()
        fraction = Mod (u, width)
        segment = Div (u, width)
        table = Constant <value_ints: ints = [{_ints(rsqrt_table())}]> ()
        r = {DOMAIN}.Interpolate (table, segment, fraction, width)
        product = Mul (c, r)
        y = {DOMAIN}.RoundShift (product, two_p)
    }}""",
    # floor(log2 v), its power of two, and the 14 bits below the highest
    f"""Floating (v) => (p, two_p, u) {{
        axis = Constant <value_ints: ints = [-1]> ()
        column = Unsqueeze (v, axis)
        twos = Constant <value_ints: ints = [{_POWERS_FROM_1}]> ()
        above = GreaterOrEqual (column, twos)
        counted = Cast <to: int = {INT64}> (above)
        p = ReduceSum <keepdims: int = 0> (counted, axis)
        powers = Constant <value_ints: ints = [{_POWERS}]> ()
        two_p = Gather <axis: int = 0> (powers, p)
        scale = Constant <value_int: int = 16384> ()
        scaled = Mul (v, scale)
        m = Div (scaled, two_p)
        u = Sub (m, scale)
    }}""",
    f"""Log2 (v) => (y) {{
        p, two_p, u = {DOMAIN}.Floating (v)
        width = Constant <value_int: int = 256> ()
        fraction = Mod (u, width)
        segment = Div (u, width)
        table = Constant <value_ints: ints = [{_ints(log2_table())}]> ()
        mantissa = {DOMAIN}.Interpolate (table, segment, fraction, width)
        drop = Constant <value_int: int = {2 ** (14 - LOG2_FRACTION_BITS)}> ()
        low = {DOMAIN}.RoundShift (mantissa, drop)
        unit = Constant <value_int: int = {2**LOG2_FRACTION_BITS}> ()
        high = Mul (p, unit)
        y = Add (high, low)
    }}""",
    f"""QNormalise (x, mult, bias, two_k) => (y) {{
        x64 = Cast <to: int = {INT64}> (x)
        m64 = Cast <to: int = {INT64}> (mult)
        product = Mul (x64, m64)
        shifted = Add (product, bias)
        rounded = {DOMAIN}.RoundShift (shifted, two_k)
        y = {DOMAIN}.Saturate8 (rounded)
    }}""",
    f"""QLinear (x, weight, bias, mult, two_k) => (y) {{
        axis = Constant <value_ints: ints = [0]> ()
        row = Unsqueeze (x, axis)
        products = MatMulInteger (row, weight)
        sums = Squeeze (products, axis)
        acc = Add (sums, bias)
        acc64 = Cast <to: int = {INT64}> (acc)
        m64 = Cast <to: int = {INT64}> (mult)
        scaled = Mul (acc64, m64)
        rounded = {DOMAIN}.RoundShift (scaled, two_k)
        y = {DOMAIN}.Saturate16 (rounded)
    }}""",
    f"""QLayerNorm <to> (x, n, two_g, weight, bias, eps, two_k) => (y) {{
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
        kind = Constant <value_int: int = @to> ()
        narrow = Constant <value_int: int = {INT8}> ()
        is8 = Equal (kind, narrow)
        limit8 = Constant <value_int: int = 127> ()
        limit16 = Constant <value_int: int = 32767> ()
        hi = Where (is8, limit8, limit16)
        lo = Neg (hi)
        clipped = Clip (rounded, lo, hi)
        y = Cast <to: int = @to> (clipped)
    }}""",
    f"""QGatedNorm (y, gate, two_v, weight, eps, two_k) => (out) {{
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
        out = {DOMAIN}.Saturate8 (rounded)
    }}""",
    f"""QAdd (a, b) => (y) {{
        a64 = Cast <to: int = {INT64}> (a)
        b64 = Cast <to: int = {INT64}> (b)
        sum = Add (a64, b64)
        y = {DOMAIN}.Saturate16 (sum)
    }}""",
    f"""QTable (x, table, base) => (y) {{
        x64 = Cast <to: int = {INT64}> (x)
        offset = Constant <value_int: int = 32768> ()
        u = Add (x64, offset)
        width = Constant <value_int: int = 256> ()
        fraction = Mod (u, width)
        i = Div (u, width)
        segment = Add (i, base)
        y64 = {DOMAIN}.Interpolate (table, segment, fraction, width)
        y = Cast <to: int = {INT16}> (y64)
    }}""",
    f"""QConv (x, state, weight, bias, mult, two_k) => (y, next) {{
        axis = Constant <value_ints: ints = [0]> ()
        row = Unsqueeze (x, axis)
        window = Concat <axis: int = 0> (state, row)
        v64 = Cast <to: int = {INT64}> (window)
        w64 = Cast <to: int = {INT64}> (weight)
        products = Mul (v64, w64)
        sums = ReduceSum <keepdims: int = 0> (products, axis)
        b64 = Cast <to: int = {INT64}> (bias)
        acc = Add (sums, b64)
        m64 = Cast <to: int = {INT64}> (mult)
        scaled = Mul (acc, m64)
        rounded = {DOMAIN}.RoundShift (scaled, two_k)
        y = {DOMAIN}.Saturate16 (rounded)
        from = Constant <value_ints: ints = [1]> ()
        end = Constant <value_ints: ints = [100]> ()
        next = Slice (window, from, end, axis)
    }}""",
    f"""QSelectiveStep (x, b, c, decay, dt, h, two_u, y_mult, d_mult, two_y) => (y, next) {{
        h_shape = Shape (h)
        zero = Constant <value_ints: ints = [0]> ()
        two = Constant <value_ints: ints = [2]> ()
        axis1 = Constant <value_ints: ints = [1]> ()
        last = Constant <value_ints: ints = [-1]> ()
        minus = Constant <value_ints: ints = [-1]> ()
        rows = Slice (h_shape, zero, two, zero)
        x64 = Cast <to: int = {INT64}> (x)
        xh = Reshape (x64, rows)
        dt64 = Cast <to: int = {INT64}> (dt)
        dt1 = Unsqueeze (dt64, axis1)
        u_wide = Mul (dt1, xh)
        u_round = {DOMAIN}.RoundShift (u_wide, two_u)
        u16 = {DOMAIN}.Saturate16 (u_round)
        u64 = Cast <to: int = {INT64}> (u16)
        u1 = Unsqueeze (u64, last)
        b64 = Cast <to: int = {INT64}> (b)
        entering = Mul (u1, b64)
        axes = Constant <value_ints: ints = [1, 2]> ()
        decay64 = Cast <to: int = {INT64}> (decay)
        decay2 = Unsqueeze (decay64, axes)
        h64 = Cast <to: int = {INT64}> (h)
        staying = Mul (decay2, h64)
        mixed = Add (staying, entering)
        q15 = Constant <value_int: int = 32768> ()
        new_wide = {DOMAIN}.RoundShift (mixed, q15)
        next = {DOMAIN}.Saturate16 (new_wide)
        n64 = Cast <to: int = {INT64}> (next)
        c64 = Cast <to: int = {INT64}> (c)
        read = Mul (n64, c64)
        acc = ReduceSum <keepdims: int = 0> (read, last)
        ym64 = Cast <to: int = {INT64}> (y_mult)
        ym1 = Unsqueeze (ym64, axis1)
        dm64 = Cast <to: int = {INT64}> (d_mult)
        dm1 = Unsqueeze (dm64, axis1)
        from_state = Mul (acc, ym1)
        direct = Mul (xh, dm1)
        y_wide = Add (from_state, direct)
        y_round = {DOMAIN}.RoundShift (y_wide, two_y)
        y16 = {DOMAIN}.Saturate16 (y_round)
        y = Reshape (y16, minus)
    }}""",
    *FRONTEND_BODIES,
)


@cache
def functions() -> tuple[onnx.FunctionProto, ...]:
    """All integer operators and their helpers, parsed."""
    header = f'<opset_import: ["" : {OPSET}, "{DOMAIN}" : 1], domain: "{DOMAIN}">\n'
    return tuple(onnx.parser.parse_function(header + body) for body in _BODIES)
