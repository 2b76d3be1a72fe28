"""A bank of second-order filter sections whose rounding errors are fed back."""

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy import signal

from export.functions import INT32, INT64
from quantization.arithmetic import wide
from quantization.context import FrontendContext, SignalFormat
from quantization.operator import Draw, Operator, draw_ints

COEFFICIENT_BITS, WORD_BITS = 30, 32  # of a coefficient's fraction, and of what an output leaves behind of the sum
STEP = 2 ** (WORD_BITS - COEFFICIENT_BITS)  # outputs are multiples of it: the sum's upper word, times this
SUM_LIMIT = 2**61  # a sum below it has an upper word that is still an int32 after the multiplication by STEP
INPUT_BITS = 16  # of a sample less the common average, in ADC counts, beside its sign
IMPULSE_SAMPLES = 2**18  # of a filter's response: 9 s at 30 kHz


def q_biquad(x: NDArray, coef: NDArray, history: NDArray, state: NDArray, limit: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """A bank of second-order sections that read one input, direct form I, with rounding errors fed back: nothing is lost at low frequency.

    acc = b0 x + b1 x1 + b2 x2 - a1 y1 - a2 y2 + f1 e1 [+ f2 e2];  e = acc mod 2^32;  y = clip(4 floor(acc / 2^32), -limit, limit - 1)
    A core with 32-bit words finds e in the lower word of the sum and y in the upper one.

    x (channels, 1) int32; coef (sections, 6 or 7) int32 = [b0, b1, b2, -a1, -a2] * 2^30, then f1 = 1, or f1, f2 = 2, -1;
    history (channels, 2) int32 = [x1, x2]; state (channels, sections, 3 or 4) int32 = [y1, y2, e1] and e2, where an int32 stands for
    the error that has the same 32 bits. Returns y (channels, sections) int32, history, state.
    """
    inputs, before = np.concatenate([wide(x), wide(history)], axis=1), wide(state)
    before[..., 2:] %= 2**WORD_BITS
    acc = inputs @ wide(coef)[:, :3].T + np.sum(before * wide(coef)[:, 3:], axis=-1)
    error = acc % 2**WORD_BITS
    y = np.clip((acc - error) // 2**WORD_BITS * STEP, -wide(limit), wide(limit) - 1)
    after = np.concatenate([y[..., None], before[..., :1], error[..., None], before[..., 2:-1]], axis=-1)
    return y.astype(np.int32), inputs[:, :2].astype(np.int32), after.astype(np.uint32).view(np.int32)


ONNX = f"""QBiquad (x, coef, history, state, limit) => (y, next_history, next) {{
    zero = Constant <value_ints: ints = [0]> ()
    one = Constant <value_ints: ints = [1]> ()
    two = Constant <value_ints: ints = [2]> ()
    three = Constant <value_ints: ints = [3]> ()
    last = Constant <value_ints: ints = [-1]> ()
    far = Constant <value_ints: ints = [100]> ()
    unit = Constant <value_int: int = 1> ()
    word = Constant <value_int: int = {2**WORD_BITS}> ()
    half = Constant <value_int: int = {2 ** (WORD_BITS - 1)}> ()
    step = Constant <value_int: int = {STEP}> ()
    x64 = Cast <to: int = {INT64}> (x)
    h64 = Cast <to: int = {INT64}> (history)
    inputs = Concat <axis: int = 1> (x64, h64)
    c64 = Cast <to: int = {INT64}> (coef)
    forward_coef = Slice (c64, zero, three, one)
    forward_taps = Transpose <perm: ints = [1, 0]> (forward_coef)
    forward = MatMul (inputs, forward_taps)
    s64 = Cast <to: int = {INT64}> (state)
    outputs = Slice (s64, zero, two, last)
    signed_errors = Slice (s64, two, far, last)
    errors = Mod (signed_errors, word)
    past = Concat <axis: int = 2> (outputs, errors)
    back_coef = Slice (c64, three, far, one)
    rows = Unsqueeze (past, two)
    columns = Unsqueeze (back_coef, last)
    back_wide = MatMul (rows, columns)
    square = Constant <value_ints: ints = [2, 3]> ()
    back = Squeeze (back_wide, square)
    acc = Add (forward, back)
    error = Mod (acc, word)
    exact = Sub (acc, error)
    upper = Div (exact, word)
    stepped = Mul (upper, step)
    low = Neg (limit)
    high = Sub (limit, unit)
    y64 = Clip (stepped, low, high)
    y = Cast <to: int = {INT32}> (y64)
    kept = Slice (inputs, zero, two, one)
    next_history = Cast <to: int = {INT32}> (kept)
    shifted = Add (error, half)
    wrapped = Mod (shifted, word)
    signed = Sub (wrapped, half)
    y_column = Unsqueeze (y64, last)
    signed_column = Unsqueeze (signed, last)
    y1 = Slice (s64, zero, one, last)
    older = Slice (signed_errors, zero, last, last)
    stacked = Concat <axis: int = 2> (y_column, y1, signed_column, older)
    next = Cast <to: int = {INT32}> (stacked)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    sections, channels, limit = int(rng.integers(1, 4)), 4, 2 ** int(rng.integers(10, 29))
    feedback = [[1], [2, -1]][rng.integers(0, 2)]
    coef = draw_ints(rng, np.int32, (sections, 5), 2**30)
    coef = np.concatenate([coef, np.tile(np.array(feedback, np.int32), (sections, 1))], axis=1)
    outputs = np.clip(draw_ints(rng, np.int64, (channels, sections, 2), limit), -limit, limit - 1)
    errors = rng.integers(-(2**31), 2**31, (channels, sections, len(feedback)))
    state = np.concatenate([outputs, errors], axis=-1).astype(np.int32)
    return [
        draw_ints(rng, np.int32, (channels, 1), limit),
        coef,
        draw_ints(rng, np.int32, (channels, 2), limit),
        state,
        np.int64(limit),
    ], {}


def _biquad(context: FrontendContext, node: onnx.NodeProto) -> None:
    real = context.constants[node.input[1]]
    feedback = _feedback(real, context.fmt)
    coef = _coefficients(real)
    _check_sums(coef, context.fmt, sum(map(abs, feedback)))
    history_in, history_out = context.graph.state(f"{node.name}.history", np.int32, (context.channels, 2))
    state_in, state_out = context.graph.state(f"{node.name}.sections", np.int32, (context.channels, len(coef), 2 + len(feedback)))
    coef = np.concatenate([coef, np.tile(feedback, (len(coef), 1))], axis=1)
    names = [context.const(f"{node.name}.coef", coef, np.int32), history_in, state_in]
    names += context.scalars(node.name, limit=context.fmt.limit)
    context.graph.node("QBiquad", [node.input[0], *names], [node.output[0], history_out, state_out], node.name)


def _feedback(real: NDArray[np.float64], fmt: SignalFormat) -> tuple[int, ...]:
    """Coefficients of the fed-back rounding errors: second order where first order bounds what they do to an output too loosely.

    Of sections (n, 5) with -a1, -a2 last. An error of less than 1 reaches the output through (1 - z^-1) / A, or (1 - z^-1)^2 / A, so
    the sum of that filter's absolute impulse response bounds its effect whatever the input is.
    """
    impulse = np.zeros(IMPULSE_SAMPLES)
    impulse[0] = 1.0
    reaches = [np.abs(signal.lfilter([1.0, -1.0], [1.0, -section[3], -section[4]], impulse)).sum() for section in real]
    return (1,) if max(reaches) < fmt.rounding * 2**fmt.guard else (2, -1)


def _coefficients(real: NDArray[np.float64]) -> NDArray[np.int64]:
    """Sections (n, 5) times 2^30, each polynomial's sum rounded as one number.

    The sums are the gains at 0 Hz. Taps rounded one by one can let what a high-pass has to stop leak. A notch
    g (1, c, 1) / (1, g c, 2 g - 1) has a gain of 1 at 0 Hz: its poles' taps follow from its zeros', so that it stays 1 and one product
    serves both.
    """
    one = 2.0**COEFFICIENT_BITS
    coef = np.rint(real * one).astype(np.int64)
    for middle, rest in ((1, [0, 2]), (3, [4])):
        coef[:, middle] = np.rint(real[:, [middle, *rest]].sum(axis=1) * one).astype(np.int64) - coef[:, rest].sum(axis=1)
    notches = np.isclose(real[:, 3], -real[:, 1], rtol=1e-12, atol=0) & np.isclose(real[:, 4], 1 - 2 * real[:, 0], rtol=1e-9, atol=1e-12)
    coef[notches, 3], coef[notches, 4] = -coef[notches, 1], 2**COEFFICIENT_BITS - 2 * coef[notches, 0]
    return coef


def _check_sums(coef: NDArray[np.int64], fmt: SignalFormat, errors: int) -> None:
    """``errors`` is how often an error below 2^32 is fed back."""
    entering, fed_back = (int(np.abs(taps).sum(axis=1).max()) for taps in (coef[:, :3], coef[:, 3:]))
    largest = entering * 2 ** (INPUT_BITS + fmt.fraction) + fed_back * fmt.limit + errors * 2**WORD_BITS
    if coef.min() < -(2**31) or coef.max() >= 2**31 or largest >= SUM_LIMIT:
        raise ValueError(f"filter coefficients up to {np.abs(coef).max() / 2**COEFFICIENT_BITS:.3g} leave the sum's words")


OPERATOR = Operator(q_biquad, ONNX, draw, {"Biquad": _biquad})
