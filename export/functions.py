"""The operators of the float step graphs as ONNX functions (domain ``realm.edge``) of standard operators.

Decoders compute in float32, front ends in float64: a high-pass at 0.5 Hz in direct form loses digits in float32. Each has
an integer counterpart in :mod:`quantization.arithmetic`, named with a leading Q.
"""

from functools import cache

import onnx
import onnx.parser

from export.stepgraph import DOMAIN, OPSET

FLOAT, INT8, INT16, INT32, INT64, BOOL, DOUBLE = 1, 3, 5, 6, 7, 9, 11  # onnx.TensorProto element types, as Cast takes them

_BODIES = (
    # x (n,), mean (n,), inv_std (n,): z-scores, clipped as in training
    """Normalise (x, mean, inv_std) => (y) {
        lo = Constant <value_float: float = -8.0> ()
        hi = Constant <value_float: float = 8.0> ()
        centred = Sub (x, mean)
        scaled = Mul (centred, inv_std)
        y = Clip (scaled, lo, hi)
    }""",
    # x (in,), weight (in, out), bias (out,)
    """Linear (x, weight, bias) => (y) {
        products = MatMul (x, weight)
        y = Add (products, bias)
    }""",
    """LayerNorm (x, weight, bias, eps) => (y) {
        mean = ReduceMean <keepdims: int = 0> (x)
        c = Sub (x, mean)
        squares = Mul (c, c)
        variance = ReduceMean <keepdims: int = 0> (squares)
        shifted = Add (variance, eps)
        sd = Sqrt (shifted)
        unit = Div (c, sd)
        scaled = Mul (unit, weight)
        y = Add (scaled, bias)
    }""",
    # RMSNorm(y * silu(z)) * weight
    f"""GatedNorm (y, z, weight, eps) => (out) {{
        gate = {DOMAIN}.Silu (z)
        v = Mul (y, gate)
        squares = Mul (v, v)
        power = ReduceMean <keepdims: int = 0> (squares)
        shifted = Add (power, eps)
        rms = Sqrt (shifted)
        unit = Div (v, rms)
        out = Mul (unit, weight)
    }}""",
    """Silu (x) => (y) {
        s = Sigmoid (x)
        y = Mul (x, s)
    }""",
    # x (d,), state (taps - 1, d), weight (taps, d), bias (d,)
    """Conv (x, state, weight, bias) => (y, next) {
        axis = Constant <value_ints: ints = [0]> ()
        row = Unsqueeze (x, axis)
        window = Concat <axis: int = 0> (state, row)
        products = Mul (window, weight)
        sums = ReduceSum <keepdims: int = 0> (products, axis)
        y = Add (sums, bias)
        from = Constant <value_ints: ints = [1]> ()
        end = Constant <value_ints: ints = [100]> ()
        next = Slice (window, from, end, axis)
    }""",
    # x (kinds * channels,), state (taps - 1, kinds * channels), weight (taps * kinds, maps), bias (maps,): y (channels * maps,)
    """ChannelConv (x, state, weight, bias) => (y, next) {
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
        products = MatMul (by_channel, weight)
        sums = Add (products, bias)
        y = Reshape (sums, flat)
    }""",
    # x (channels * maps,), mean (channels,), weight (reach,), leak (): y (channels,)
    """ChannelAttention (x, mean, weight, leak) => (y, next) {
        flat = Constant <value_ints: ints = [-1]> ()
        single = Constant <value_ints: ints = [1, 1, -1]> ()
        last = Constant <value_ints: ints = [-1]> ()
        mean_shape = Shape (mean)
        by_channel = Concat <axis: int = 0> (mean_shape, flat)
        maps = Reshape (x, by_channel)
        now = ReduceMean <keepdims: int = 0> (maps, last)
        away = Sub (now, mean)
        taken = Mul (away, leak)
        next = Add (mean, taken)
        channels = Reshape (next, single)
        taps = Reshape (weight, single)
        sums = Conv <auto_pad: string = "SAME_UPPER"> (channels, taps)
        y = Reshape (sums, flat)
    }""",
    # x (channels * maps,), logit (channels,)
    """ChannelGate (x, logit) => (y) {
        flat = Constant <value_ints: ints = [-1]> ()
        last = Constant <value_ints: ints = [1]> ()
        gate = Sigmoid (logit)
        gate_shape = Shape (gate)
        by_channel = Concat <axis: int = 0> (gate_shape, flat)
        maps = Reshape (x, by_channel)
        column = Unsqueeze (gate, last)
        gated = Mul (maps, column)
        y = Reshape (gated, flat)
    }""",
    # x (heads * headdim,), b and c (d_state,), dt (heads,), h (heads, headdim, d_state), dt_bias, a, d (heads,)
    """SelectiveStep (x, b, c, dt, h, dt_bias, a, d) => (y, next) {
        h_shape = Shape (h)
        zero = Constant <value_ints: ints = [0]> ()
        two = Constant <value_ints: ints = [2]> ()
        axis1 = Constant <value_ints: ints = [1]> ()
        axes = Constant <value_ints: ints = [1, 2]> ()
        last = Constant <value_ints: ints = [-1]> ()
        rows = Slice (h_shape, zero, two, zero)
        xh = Reshape (x, rows)
        biased = Add (dt, dt_bias)
        positive = Softplus (biased)
        rate = Mul (positive, a)
        decay = Exp (rate)
        dt1 = Unsqueeze (positive, axis1)
        u = Mul (dt1, xh)
        u1 = Unsqueeze (u, last)
        entering = Mul (u1, b)
        decay2 = Unsqueeze (decay, axes)
        staying = Mul (decay2, h)
        next = Add (staying, entering)
        read = Mul (next, c)
        from_state = ReduceSum <keepdims: int = 0> (read, last)
        d1 = Unsqueeze (d, axis1)
        direct = Mul (xh, d1)
        sum = Add (from_state, direct)
        y = Reshape (sum, last)
    }""",
    # x (n,), state (lags - 1, dims), weight (lags * n, dims) newest bin first, bias (dims,): transposed, the state is partial sums
    """Fir (x, state, weight, bias) => (y, next) {
        axis = Constant <value_ints: ints = [0]> ()
        one = Constant <value_ints: ints = [1]> ()
        end = Constant <value_ints: ints = [1000000]> ()
        flat = Constant <value_ints: ints = [-1]> ()
        below = Constant <value_ints: ints = [0, 0, 1, 0]> ()
        n = Shape (x)
        dims = Shape (bias)
        by_lag = Concat <axis: int = 0> (flat, n, dims)
        taps = Reshape (weight, by_lag)
        products = MatMul (x, taps)
        partial = Pad (state, below)
        sums = Add (products, partial)
        next = Slice (sums, one, end, axis)
        newest = Slice (sums, axis, one, axis)
        now = Squeeze (newest, axis)
        y = Add (now, bias)
    }""",
    # x and recurrent (3 * width,): W x + b of the input and of h (width,), reset, update and new as in torch
    """GruStep (x, recurrent, h) => (next) {
        one = Constant <value_float: float = 1.0> ()
        x_r, x_z, x_n = Split <axis: int = 0, num_outputs: int = 3> (x)
        h_r, h_z, h_n = Split <axis: int = 0, num_outputs: int = 3> (recurrent)
        r_sum = Add (x_r, h_r)
        r = Sigmoid (r_sum)
        z_sum = Add (x_z, h_z)
        z = Sigmoid (z_sum)
        reset = Mul (r, h_n)
        n_sum = Add (x_n, reset)
        n = Tanh (n_sum)
        rest = Sub (one, z)
        entering = Mul (rest, n)
        staying = Mul (z, h)
        next = Add (entering, staying)
    }""",
    # x and recurrent (4 * width,): W x + b of the input and of h (width,), input, forget, new and output as in torch; c (width,)
    """LstmStep (x, recurrent, h, c) => (next_h, next_c) {
        sums = Add (x, recurrent)
        i_in, f_in, g_in, o_in = Split <axis: int = 0, num_outputs: int = 4> (sums)
        i = Sigmoid (i_in)
        f = Sigmoid (f_in)
        g = Tanh (g_in)
        o = Sigmoid (o_in)
        staying = Mul (f, c)
        entering = Mul (i, g)
        next_c = Add (staying, entering)
        shown = Tanh (next_c)
        next_h = Mul (o, shown)
    }""",
    # x (n,), gain and offset (n,): what is known before training, or of another scale for each element
    """Affine (x, gain, offset) => (y) {
        scaled = Mul (x, gain)
        y = Add (scaled, offset)
    }""",
    """RmsNorm (x, weight, eps) => (y) {
        squares = Mul (x, x)
        power = ReduceMean <keepdims: int = 0> (squares)
        shifted = Add (power, eps)
        rms = Sqrt (shifted)
        unit = Div (x, rms)
        y = Mul (unit, weight)
    }""",
    # q (heads * times * d_k,), k (heads * d_k,), v (heads * d_v,), decay (heads,) or (heads * d_k,), s (heads, d_v, d_k), scale ()
    """LinearAttentionStep (q, k, v, decay, s, scale) => (y, next) {
        s_shape = Shape (s)
        zero = Constant <value_ints: ints = [0]> ()
        one = Constant <value_ints: ints = [1]> ()
        two = Constant <value_ints: ints = [2]> ()
        three = Constant <value_ints: ints = [3]> ()
        flat = Constant <value_ints: ints = [-1]> ()
        heads = Slice (s_shape, zero, one, zero)
        rows = Slice (s_shape, zero, two, zero)
        d_k = Slice (s_shape, two, three, zero)
        by_row = Concat <axis: int = 0> (heads, one, flat)
        by_read = Concat <axis: int = 0> (heads, flat, one, d_k)
        values = Reshape (v, rows)
        column = Unsqueeze (values, two)
        keys = Reshape (k, by_row)
        entering = Mul (column, keys)
        gate = Reshape (decay, by_row)
        staying = Mul (gate, s)
        next = Add (staying, entering)
        lifted = Unsqueeze (next, one)
        queries = Reshape (q, by_read)
        read = Mul (lifted, queries)
        sums = ReduceSum <keepdims: int = 0> (read, flat)
        scaled = Mul (sums, scale)
        y = Reshape (scaled, flat)
    }""",
    # What becomes the next value of a state, all of whose readers come before
    """Store (state, x) => (next) {
        next = Identity (x)
    }""",
    # A state as a matrix product reads it: the integer twin goes from int16 to int8 here
    """Narrow (x) => (y) {
        y = Identity (x)
    }""",
    # x (channels,) int16, good (channels,) 0 or 1, reciprocal (): 1 / good channels, or 0 for no reference
    f"""CommonAverage (x, good, reciprocal) => (y) {{
        counts = Cast <to: int = {DOUBLE}> (x)
        kept = Mul (counts, good)
        sum = ReduceSum <keepdims: int = 0> (kept)
        mean = Mul (sum, reciprocal)
        centred = Sub (counts, mean)
        masked = Mul (centred, good)
        axis = Constant <value_ints: ints = [0]> ()
        y = Unsqueeze (masked, axis)
    }}""",
    # x (1, channels), coef (sections, 5) = b0 b1 b2 -a1 -a2, state (sections, 4, channels) = x1 x2 y1 y2
    """Biquad (x, coef, state) => (y, next) {
        one = Constant <value_ints: ints = [1]> ()
        two = Constant <value_ints: ints = [2]> ()
        x1, x2, y1, y2 = Split <axis: int = 1, num_outputs: int = 4> (state)
        lifted = Unsqueeze (x, one)
        nothing = Sub (x1, x1)
        xs = Add (lifted, nothing)
        window = Concat <axis: int = 1> (xs, state)
        taps = Unsqueeze (coef, two)
        products = Mul (window, taps)
        new_y = ReduceSum <keepdims: int = 1> (products, one)
        next = Concat <axis: int = 1> (xs, x1, new_y, y1)
        y = Squeeze (new_y, one)
    }""",
    # y (1, channels), z (bands, channels), phase (1,) int32, total like y, power like z, held (n,) float32.
    # Power is a leaky sum: at each bin edge, 1 / power_bins of it is removed, which is its mean over a time constant.
    f"""BinFeatures (y, z, phase, total, power, held, ticks, power_bins) => (features, valid, next_phase, next_total, next_power) {{
        unit = Constant <value_int: int = 1> ()
        none = Constant <value_int: int = 0> ()
        flat = Constant <value_ints: ints = [-1]> ()
        none64 = Cast <to: int = {DOUBLE}> (none)
        one64 = Cast <to: int = {DOUBLE}> (unit)
        two64 = Add (one64, one64)
        phase64 = Cast <to: int = {INT64}> (phase)
        counted = Add (phase64, unit)
        edge = Equal (counted, ticks)
        new_total = Add (total, y)
        squared = Mul (z, z)
        new_power = Add (power, squared)
        length = Cast <to: int = {DOUBLE}> (ticks)
        mean = Div (new_total, length)
        mean_power = Div (new_power, power_bins)
        left = Sub (new_power, mean_power)
        above_one = Add (mean_power, one64)
        ln = Log (above_one)
        ln2 = Log (two64)
        level = Div (ln, ln2)
        mean_flat = Reshape (mean, flat)
        level_flat = Reshape (level, flat)
        fresh64 = Concat <axis: int = 0> (mean_flat, level_flat)
        fresh = Cast <to: int = {FLOAT}> (fresh64)
        features = Where (edge, fresh, held)
        valid = Cast <to: int = {INT32}> (edge)
        phase_wide = Where (edge, none, counted)
        next_phase = Cast <to: int = {INT32}> (phase_wide)
        next_total = Where (edge, none64, new_total)
        next_power = Where (edge, left, new_power)
    }}""",
    # y (1, channels), threshold (channels,), below (channels,) int8, count and held (channels,) float32
    f"""SpikeCount (y, threshold, phase, below, count, held, ticks) => (features, valid, next_phase, next_below, next_count) {{
        unit = Constant <value_int: int = 1> ()
        none = Constant <value_int: int = 0> ()
        none32 = Constant <value_float: float = 0.0> ()
        axis = Constant <value_ints: ints = [0]> ()
        phase64 = Cast <to: int = {INT64}> (phase)
        counted = Add (phase64, unit)
        edge = Equal (counted, ticks)
        row = Squeeze (y, axis)
        now = Less (row, threshold)
        next_below = Cast <to: int = {INT8}> (now)
        was = Cast <to: int = {BOOL}> (below)
        above = Not (was)
        crossing = And (now, above)
        crossed = Cast <to: int = {FLOAT}> (crossing)
        new_count = Add (count, crossed)
        features = Where (edge, new_count, held)
        valid = Cast <to: int = {INT32}> (edge)
        phase_wide = Where (edge, none, counted)
        next_phase = Cast <to: int = {INT32}> (phase_wide)
        next_count = Where (edge, none32, new_count)
    }}""",
    # x and held (n,) float32, valid and seen (1,) int32, mean and deviation (n,); window: the time constant, a power of two
    f"""RunningZ (x, valid, seen, mean, deviation, held, window, sd, floor) => (z, next_seen, next_mean, next_deviation) {{
        unit = Constant <value_int: int = 1> ()
        powers = Constant <value_ints: ints = [{", ".join(str(2**k) for k in range(17))}]> ()
        edge = Cast <to: int = {BOOL}> (valid)
        seen64 = Cast <to: int = {INT64}> (seen)
        more = Add (seen64, unit)
        counted = Min (more, window)
        reached = LessOrEqual (powers, counted)
        candidates = Where (reached, powers, unit)
        weight64 = ReduceMax <keepdims: int = 0> (candidates)
        weight = Cast <to: int = {DOUBLE}> (weight64)
        x64 = Cast <to: int = {DOUBLE}> (x)
        ahead = Sub (x64, mean)
        mean_step = Div (ahead, weight)
        new_mean = Add (mean, mean_step)
        centred = Sub (x64, new_mean)
        size = Abs (centred)
        excess = Sub (size, deviation)
        deviation_step = Div (excess, weight)
        new_deviation = Add (deviation, deviation_step)
        floored = Max (new_deviation, floor)
        spread = Mul (floored, sd)
        fresh64 = Div (centred, spread)
        fresh = Cast <to: int = {FLOAT}> (fresh64)
        z = Where (edge, fresh, held)
        counted32 = Cast <to: int = {INT32}> (counted)
        next_seen = Where (edge, counted32, seen)
        next_mean = Where (edge, new_mean, mean)
        next_deviation = Where (edge, new_deviation, deviation)
    }}""",
)


@cache
def functions() -> tuple[onnx.FunctionProto, ...]:
    """All float operators, parsed."""
    header = f'<opset_import: ["" : {OPSET}, "{DOMAIN}" : 1], domain: "{DOMAIN}">\n'
    return tuple(onnx.parser.parse_function(header + body) for body in _BODIES)
