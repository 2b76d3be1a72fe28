"""A bank of second-order filter sections whose rounding errors are fed back."""

import numpy as np
import onnx
from numpy.typing import NDArray
from scipy import signal

from export.functions import INT32, INT64
from quantization.arithmetic import round_shift, wide
from quantization.context import FrontendContext, SignalFormat
from quantization.fixedpoint import fixed_point
from quantization.operator import Draw, Operator, draw_ints

IMPULSE_SAMPLES = 2**18  # of a filter's response: 9 s at 30 kHz


def q_biquad(x: NDArray, coef: NDArray, state: NDArray, two_k: NDArray, limit: NDArray) -> tuple[NDArray, NDArray]:
    """A bank of second-order sections, direct form I, with rounding errors fed back so that nothing is lost at low frequency.

    acc = b0 x + b1 x1 + b2 x2 - a1 y1 - a2 y2 + f1 e1 [+ f2 e2];  e = acc mod 2^k;  y = clip(floor(acc / 2^k), -limit, limit)
    x (1, channels) int32; coef (sections, 6 or 7) int32 = [b0, b1, b2, -a1, -a2] * 2^k, then f1 = 1, or f1, f2 = 2, -1;
    state (sections, 5 or 6, channels) int32 = [x1, x2, y1, y2, e1] and e2.
    """
    inputs = np.broadcast_to(wide(x), (len(state), *x.shape))  # (sections, 1, channels)
    before = wide(state)
    acc = wide(coef)[:, None, :] @ np.concatenate([inputs, before], axis=1)
    error = acc % wide(two_k)
    y = np.clip((acc - error) // wide(two_k), -wide(limit), wide(limit))
    new = np.concatenate([inputs, before[:, :1], y, before[:, 2:3], error, before[:, 4:-1]], axis=1)
    return y[:, 0].astype(np.int32), new.astype(np.int32)


ONNX = f"""QBiquad (x, coef, state, two_k, limit) => (y, next) {{
    zero = Constant <value_ints: ints = [0]> ()
    one = Constant <value_ints: ints = [1]> ()
    two = Constant <value_ints: ints = [2]> ()
    three = Constant <value_ints: ints = [3]> ()
    four = Constant <value_ints: ints = [4]> ()
    last = Constant <value_ints: ints = [-1]> ()
    zero_scalar = Constant <value_int: int = 0> ()
    s64 = Cast <to: int = {INT64}> (state)
    x1 = Slice (s64, zero, one, one)
    y1 = Slice (s64, two, three, one)
    older = Slice (s64, four, last, one)
    x64 = Cast <to: int = {INT64}> (x)
    like = Mul (y1, zero_scalar)
    lifted = Unsqueeze (x64, one)
    xs = Add (lifted, like)
    window = Concat <axis: int = 1> (xs, s64)
    c64 = Cast <to: int = {INT64}> (coef)
    taps = Unsqueeze (c64, one)
    acc = MatMul (taps, window)
    error = Mod (acc, two_k)
    exact = Sub (acc, error)
    wide = Div (exact, two_k)
    low = Neg (limit)
    new_y = Clip (wide, low, limit)
    stacked = Concat <axis: int = 1> (xs, x1, new_y, y1, error, older)
    next = Cast <to: int = {INT32}> (stacked)
    y_flat = Squeeze (new_y, one)
    y = Cast <to: int = {INT32}> (y_flat)
}}"""


def draw(rng: np.random.Generator) -> Draw:
    sections, channels, k = int(rng.integers(1, 4)), 4, int(rng.choice([13, 14, 29]))
    limit = {13: 32767, 14: 2**19 - 1, 29: 2**25}[k]
    history = draw_ints(rng, np.int32, (sections, 4, channels), limit)
    feedback = [[1], [2, -1]][rng.integers(0, 2)]
    error = rng.integers(0, 2**k, (sections, len(feedback), channels)).astype(np.int32)
    coef = draw_ints(rng, np.int32, (sections, 5), 2**30 - 1 if k == 29 else 2**14)
    coef = np.concatenate([coef, np.tile(np.array(feedback, np.int32), (sections, 1))], axis=1)
    return [draw_ints(rng, np.int32, (1, channels), limit), coef, np.concatenate([history, error], 1), np.int64(2**k), np.int64(limit)], {}


def _biquad(context: FrontendContext, node: onnx.NodeProto) -> None:
    real = context.constants[node.input[1]]
    feedback = _feedback(real, context.fmt)
    coef, k = _coefficients(real, context.fmt, sum(map(abs, feedback)))
    state_in, state_out = context.graph.state(f"{node.name}.history", np.int32, (len(coef), 4 + len(feedback), context.channels))
    coef = np.concatenate([coef, np.tile(feedback, (len(coef), 1))], axis=1)
    names = [context.const(f"{node.name}.coef", coef, np.int32), state_in]
    names += context.scalars(node.name, two_k=2**k, limit=context.fmt.limit)
    context.graph.node("QBiquad", [node.input[0], *names], [node.output[0], state_out], node.name)


def _feedback(real: NDArray[np.float64], fmt: SignalFormat) -> tuple[int, ...]:
    """Coefficients of the fed-back rounding errors: second order where first order bounds what they do to an output too loosely.

    Of sections (n, 5) with -a1, -a2 last. An error of less than 1 reaches the output through (1 - z^-1) / A, or (1 - z^-1)^2 / A, so
    the sum of that filter's absolute impulse response bounds its effect whatever the input is.
    """
    impulse = np.zeros(IMPULSE_SAMPLES)
    impulse[0] = 1.0
    reaches = [np.abs(signal.lfilter([1.0, -1.0], [1.0, -section[3], -section[4]], impulse)).sum() for section in real]
    return (1,) if max(reaches) < fmt.rounding * 2**fmt.guard else (2, -1)


def _coefficients(real: NDArray[np.float64], fmt: SignalFormat, errors: int) -> tuple[NDArray[np.int64], int]:
    """Coefficients and shift: as fine as int32 and the accumulator allow, the sum of the poles' taps more so than each of them.

    Where poles lie near 1 it is that sum that sets the corner, and its rounding that moves the response most.
    """
    _, most = fixed_point(real, 30, "filter coefficients", max_shift=29)
    for k in range(most, 0, -1):
        for j in range(k):
            coef = _rounded(real, k, j)
            if _fits(coef, k, j, fmt, errors):
                return coef, k
    raise ValueError(f"no filter coefficients whose products stay below 2^{fmt.accumulator_bits}")


def _fits(coef: NDArray[np.int64], k: int, j: int, fmt: SignalFormat, errors: int) -> bool:
    """Whether a kernel's sums stay within the accumulator (:mod:`firmware_sim.compiler.kernels.biquad`), whatever comes in.

    What is a whole multiple of 2^k in a coefficient needs no accumulator. Of the rest r, r1 y1 + r2 y2 = (r1 + r2) y1 + r2 (y2 - y1),
    and with r2 a multiple of 2^j the second product is added without its j lowest bits. ``errors`` is how often an error of at most 2^k
    is fed back.
    """
    rest = coef - round_shift(coef, 2**k) * 2**k
    fine = np.abs(rest[:, :3]).sum(axis=1) * 2 ** (16 + fmt.guard) + errors * 2**k
    if j == 0:
        largest = fine + np.abs(rest[:, 3:]).sum(axis=1) * fmt.limit
    else:
        fine += np.abs(rest[:, 3:].sum(axis=1)) * fmt.limit
        largest = np.maximum(fine, (np.abs(rest[:, 4]) >> j) * 2 * fmt.limit + (fine >> j) + 1)
    return bool(np.max(largest) < 2**fmt.accumulator_bits)


def _rounded(real: NDArray[np.float64], k: int, j: int) -> NDArray[np.int64]:
    """Sections (n, 5) times 2^k, each polynomial's sum rounded as one number, the last tap to a multiple of 2^j.

    The sums are the gains at 0 Hz. Taps rounded one by one can let what a high-pass has to stop leak: of a constant, 10 % at 350 Hz
    and 30 kHz with 11 bits.
    """
    coef = np.rint(real * 2.0**k).astype(np.int64)
    coef[:, 4] = np.rint(real[:, 4] * 2.0 ** (k - j)).astype(np.int64) << j
    for middle, rest in ((1, (0, 2)), (3, (4,))):
        taps = [middle, *rest]
        coef[:, middle] = np.rint(real[:, taps].sum(axis=1) * 2.0**k).astype(np.int64) - coef[:, list(rest)].sum(axis=1)
    return coef


OPERATOR = Operator(q_biquad, ONNX, draw, {"Biquad": _biquad})
