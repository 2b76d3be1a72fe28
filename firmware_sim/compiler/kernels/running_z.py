"""The running z-score of a front end's features: it works at bin edges only."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, floor_log2, interpolate, mantissa, peak
from firmware_sim.compiler.kernels.interface import Kernel, Node
from quantization.arithmetic import ZSCORE_FRACTION_BITS, ZSCORE_STATE_BITS, reciprocal_table

MEAN_BOUND, DEVIATION_BOUND = 2 ** (15 + ZSCORE_STATE_BITS), 2 ** (16 + ZSCORE_STATE_BITS)  # an int16, and the distance of two
DROPPED_BITS = 15 - ZSCORE_FRACTION_BITS  # of the product of a deviation and a Q15 reciprocal


def scalar(node: Node) -> Kernel:
    """Updates mean and deviation and standardises where ``valid`` is 1. All of the state is updated in place."""
    node.expect(8, 4)
    x = node.tensor(0, "int16", None)
    n = x.shape[0]
    valid, seen = node.tensor(1, "int32", 1), node.tensor(2, "int32", 1)
    mean, deviation, held = node.tensor(3, "int64", n), node.tensor(4, "int64", n), node.tensor(5, "int16", n)
    window, floor = 1 << node.shift(6), node.constant(7, "int64", n)
    if window > 2**30:
        raise node.refuse(f"input 6 is {window}, beyond 2^30")
    if floor.min() < 1 or peak(floor) > DEVIATION_BOUND:
        raise node.refuse(f"input 7 holds {floor.min()} to {floor.max()}, beyond 1 to 2^{16 + ZSCORE_STATE_BITS}")
    table = reciprocal_table()

    def moved(value: Any, target: Any, k: Any) -> Any:
        """value + round_shift(target - value, k) in int64, for a shift that is known only at run time."""
        half = T.shift_left(T.int64(1), k) >> T.int64(1)
        return value + ((target - value + half) >> k)

    def score(reciprocals: Any, centred: Any, spread: Any) -> Any:
        p = floor_log2(spread)
        m = mantissa(spread, p)
        r = interpolate(reciprocals, peak(table), m >> 8, m & 255, 8).to("int64")
        shift = T.cast(p, "int64") + T.int64(DROPPED_BITS)
        half = T.shift_left(T.int64(1), shift - T.int64(1))
        return Exact((centred * r + half) >> shift, 2**62).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int16"),
        valid: T.Buffer((1,), "int32"),
        seen: T.Buffer((1,), "int32"),
        mean: T.Buffer((n,), "int64"),
        deviation: T.Buffer((n,), "int64"),
        held: T.Buffer((n,), "int16"),
        floor: T.Buffer((n,), "int64"),
        reciprocals: T.Buffer((65,), "int16"),
    ):
        if valid[0] == 1:
            seen[0] = T.min(seen[0] + 1, window)
            k: T.let = T.cast(floor_log2(T.cast(seen[0], "int64")), "int64")
            for i in range(n):
                target: T.let = T.cast(x[i], "int64") << T.int64(ZSCORE_STATE_BITS)
                mean[i] = moved(mean[i], target, k)
                centred: T.let = target - mean[i]
                deviation[i] = moved(deviation[i], T.max(centred, -centred), k)
                spread: T.let = T.max(deviation[i], floor[i])
                held[i] = score(reciprocals, centred, spread)

    outputs = (
        node.output(0, "int16", (n,), 32767),
        node.output(1, "int32", (1,), window),
        node.output(2, "int64", (n,), MEAN_BOUND),
        node.output(3, "int64", (n,), DEVIATION_BOUND),
    )
    states = dict(zip((o.name for o in outputs), (held.name, seen.name, mean.name, deviation.name), strict=True))
    pointers = (x.name, valid.name, seen.name, mean.name, deviation.name, held.name, floor, table)
    return Kernel(kernel, pointers, outputs, states)
