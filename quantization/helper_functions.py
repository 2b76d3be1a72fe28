"""ONNX functions that the operators' own are made of: rounding, saturation, interpolation, inverse root and logarithm."""

from export.functions import INT8, INT16, INT64
from export.stepgraph import DOMAIN
from quantization.arithmetic import LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS, log2_table, rsqrt_table


def _ints(values: object) -> str:
    return ", ".join(str(int(v)) for v in values)  # type: ignore[attr-defined]


_POWERS = _ints(2**k for k in range(SUM_OF_SQUARES_BITS))
_POWERS_FROM_1 = _ints(2**k for k in range(1, SUM_OF_SQUARES_BITS))
_POWERS_OF_4_FROM_1 = _ints(4**k for k in range(1, SUM_OF_SQUARES_BITS // 2))

HELPER_BODIES = (
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
    f"""Saturate <to> (x) => (y) {{
        kind = Constant <value_int: int = @to> ()
        narrow = Constant <value_int: int = {INT8}> ()
        is8 = Equal (kind, narrow)
        limit8 = Constant <value_int: int = 127> ()
        limit16 = Constant <value_int: int = 32767> ()
        hi = Where (is8, limit8, limit16)
        lo = Neg (hi)
        clipped = Clip (x, lo, hi)
        y = Cast <to: int = @to> (clipped)
    }}""",
    f"""Requantise (acc, mult, two_k) => (y) {{
        acc64 = Cast <to: int = {INT64}> (acc)
        m64 = Cast <to: int = {INT64}> (mult)
        scaled = Mul (acc64, m64)
        rounded = {DOMAIN}.RoundShift (scaled, two_k)
        y = {DOMAIN}.Saturate16 (rounded)
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
)
