"""Functions of one int16 by a table."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, interpolate, peak
from firmware_sim.compiler.kernels.interface import Kernel, Node
from quantization.arithmetic import TABLE_SEGMENTS

SEGMENT_BITS = (2**16 // TABLE_SEGMENTS).bit_length() - 1  # of codes


def look_up(value: Any, table: Any, highest: int, row: Any = 0) -> Exact:
    """A tabulated function of an int16; ``row`` is where its points begin, ``highest`` the largest of them."""
    u = T.cast(value, "int32") + 32768
    return interpolate(table, highest, row + (u >> SEGMENT_BITS), u & ((1 << SEGMENT_BITS) - 1), SEGMENT_BITS)


def scalar(node: Node) -> Kernel:
    """Linear interpolation in a table of 257 points, or in one of several that lie one after another."""
    node.expect(3, 1)
    x, table = node.tensor(0, "int16", None), node.constant(1, "int16", None)
    n, points, highest = x.shape[0], len(table), peak(table)
    one_row = getattr(node.inputs[2], "shape", None) == ()
    base = node.constant(2, "int64") if one_row else node.constant(2, "int64", n)
    if base.min() < 0 or base.max() + TABLE_SEGMENTS >= points:
        raise node.refuse(f"rows begin at {base.min()} to {base.max()} in a table of {points} points and need {TABLE_SEGMENTS + 1} each")

    def looked_up(value: Any, table: Any, row: Any) -> Any:
        return look_up(value, table, highest, row).to("int16")

    y = node.output(0, "int16", (n,), highest)
    if one_row:
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
