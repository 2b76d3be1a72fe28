"""Functions of one int16 by a table."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.dsp import FLAGS, packed, sadd16, smlabb, smlabt, tops, uxtb16, whole_words
from firmware_sim.compiler.kernels.exact import Exact, interpolate, peak
from firmware_sim.compiler.kernels.fence import fence, pin, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor
from firmware_sim.compiler.kernels.plain import RV32, THUMB1, Plain, computed_plainly
from quantization.arithmetic import TABLE_SEGMENTS

SEGMENT_BITS = (2**16 // TABLE_SEGMENTS).bit_length() - 1  # of codes
_BODY = 2  # elements in the body of the loop by slopes, at most
_WORDS = 2  # of x that the loop's body looks up, at most


def look_up(value: Any, table: Any, highest: int, row: Any = 0) -> Exact:
    """A tabulated function of an int16; ``row`` is where its points begin, ``highest`` the largest of them."""
    u = T.cast(value, "int32") + 32768
    return interpolate(table, highest, row + (u >> SEGMENT_BITS), u & ((1 << SEGMENT_BITS) - 1), SEGMENT_BITS)


@dataclass(frozen=True)
class _Operands:
    """The checked operands; ``base`` () or (n,) is where an element's points begin."""

    x: Value
    table: NDArray
    base: NDArray


def _operands(node: Node) -> _Operands:
    node.expect(3, 1)
    x, table = node.tensor(0, "int16", None), node.constant(1, "int16", None)
    one_row = getattr(node.inputs[2], "shape", None) == ()
    base = node.constant(2, "int64") if one_row else node.constant(2, "int64", *x.shape)
    if base.min() < 0 or base.max() + TABLE_SEGMENTS >= len(table):
        raise node.refuse(
            f"rows begin at {base.min()} to {base.max()} in a table of {len(table)} points and need {TABLE_SEGMENTS + 1} each"
        )
    return _Operands(x, table, base)


def scalar(node: Node) -> Kernel:
    """Linear interpolation in a table of 257 points, or in one of several that lie one after another."""
    operands = _operands(node)
    x, table, base = operands.x, operands.table, operands.base
    n, points, highest = x.shape[0], len(table), peak(table)

    def looked_up(value: Any, table: Any, row: Any) -> Any:
        return look_up(value, table, highest, row).to("int16")

    y = node.output(0, "int16", (n,), highest)
    if base.shape == ():
        row = int(base)

        @T.prim_func(s_tir=True)
        def kernel(x: T.Buffer((n,), "int16"), table: T.Buffer((points,), "int16"), y: T.Buffer((n,), "int16")):
            for i in range(n):
                y[i] = looked_up(x[i], table, row)

        return Kernel(kernel, (x.name, table, y.name), (y,))

    rows = base.astype("int32")

    @T.prim_func(s_tir=True)
    def kernel_by_row(
        x: T.Buffer((n,), "int16"), table: T.Buffer((points,), "int16"), rows: T.Buffer((n,), "int32"), y: T.Buffer((n,), "int16")
    ):
        for i in range(n):
            y[i] = looked_up(x[i], table, rows[i])

    return Kernel(kernel_by_row, (x.name, table, rows, y.name), (y,))


def rv32(node: Node) -> Kernel:
    """The same of one row with one product: T[i] 2^bits + (T[i + 1] - T[i]) f."""
    return _by_slopes(node, RV32)


def thumb1(node: Node) -> Kernel:
    """The same."""
    return _by_slopes(node, THUMB1)


def _by_slopes(node: Node, core: Plain) -> Kernel:
    operands = _operands(node)
    if operands.base.shape != ():
        return computed_plainly(scalar, core)(node)
    x, n = operands.x, operands.x.shape[0]
    table = np.ascontiguousarray(operands.table[int(operands.base) :][: TABLE_SEGMENTS + 1])
    step = divisor(n, _BODY)

    def looked_up(value: Any, table: Any) -> Any:
        segment: Any = (value >> SEGMENT_BITS) + TABLE_SEGMENTS // 2
        left, right = (T.cast(table[segment + side], "int32") for side in range(2))
        rise = (right - left) * T.bitwise_and(value, T.int32((1 << SEGMENT_BITS) - 1))
        return T.cast(fence((T.shift_left(left, T.int32(SEGMENT_BITS)) + rise + (1 << SEGMENT_BITS >> 1)) >> SEGMENT_BITS), "int16")

    @T.prim_func(s_tir=True)
    def kernel(x: T.Buffer((n,), "int16"), table: T.Buffer((TABLE_SEGMENTS + 1,), "int16"), y: T.Buffer((n,), "int16")):
        value = T.alloc_scalar("int32")
        for i in range(n // step):
            for j in T.unroll(step):
                value = core.signed(x[i * step + j])
                y[i * step + j] = looked_up(value, table)

    y = node.output(0, "int16", (n,), peak(operands.table))
    return Kernel(with_fences(kernel), (x.name, table, y.name), (y,))


def dsp(node: Node) -> Kernel:
    """The same by words of two values; plain code for several rows, or where neighbouring points differ by more than an int16."""
    return by_words(node, runs=True)


def dual(node: Node) -> Kernel:
    """The same, in the order that LLVM finds for a core of two instructions a cycle."""
    return by_words(node, runs=False)


def by_words(node: Node, runs: bool) -> Kernel:
    operands = _operands(node)
    if operands.base.shape == () and whole_words(operands.x):
        points = operands.table[int(operands.base) :][: TABLE_SEGMENTS + 1]
        if peak(np.diff(points.astype(np.int32))) < 2**15:
            return _by_words(node, operands.x, points, runs)
    return scalar(node)


def _by_words(node: Node, x: Value, points: NDArray, runs: bool) -> Kernel:
    """A segment is one word: where it begins in the upper half, by how much it rises in the lower one."""
    n, highest = x.shape[0], peak(points)
    words = n // 2
    step = divisor(words, _WORDS)
    wide = points.astype(np.int32)
    segments = (wide[:-1] << 16) + (np.diff(wide) & 0xFFFF)

    def interpolated(first: Any, second: Any, fractions: Any, half: Any) -> Any:
        rises = (mac(segment, fractions, half) >> T.int32(SEGMENT_BITS) for mac, segment in ((smlabb, first), (smlabt, second)))
        return sadd16(tops(first, second), packed(*rises))

    @T.prim_func(s_tir=True)
    def kernel(x: T.Buffer((words,), "int32"), segments: T.Buffer((TABLE_SEGMENTS,), "int32"), y: T.Buffer((n,), "int16")):
        xs = T.alloc_buffer((step,), "int32")
        found = T.alloc_buffer((2,), "int32")
        half = T.alloc_scalar("int32")
        half = pin(T.int32(1 << (SEGMENT_BITS - 1)))
        for i in range(pin(T.int32(words // step))):
            for j in T.unroll(step):
                xs[j] = x[i * step + j]
            for j in T.unroll(step):
                xs[j] = fence(xs[j]) if runs else pin(xs[j])
            for j in T.unroll(step):
                xs[j] = T.bitwise_xor(xs[j], T.int32(-0x7FFF8000))  # as unsigned numbers, from the lowest one on
                found[0] = T.bitwise_and(xs[j] >> SEGMENT_BITS, 0xFF)
                found[1] = T.bitwise_and(xs[j] >> (16 + SEGMENT_BITS), 0xFF)
                if runs:
                    for r in T.unroll(2):
                        found[r] = fence(found[r])
                for r in T.unroll(2):
                    found[r] = segments[found[r]]
                if runs:
                    for r in T.unroll(2):
                        found[r] = fence(found[r])
                xs[j] = interpolated(found[0], found[1], uxtb16(xs[j]), half)
                y[2 * (i * step + j)] = T.cast(xs[j], "int16")
                y[2 * (i * step + j) + 1] = T.cast(xs[j] >> 16, "int16")

    y = node.output(0, "int16", (n,), highest)
    return Kernel(with_fences(kernel), (x.name, segments, y.name), (y,), flags=FLAGS)
