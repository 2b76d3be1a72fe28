"""The long short-term memory."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.table import look_up
from quantization.arithmetic import DECAY_SHIFT, TABLE_SEGMENTS


def scalar(node: Node) -> Kernel:
    """Gates from x + recurrent; c' = f c + i g and h' = o tanh(c') in place, gates in Q15."""
    node.expect(8, 2)
    h = node.tensor(2, "int16", None)
    units = h.shape[0]
    c = node.tensor(3, "int16", units)
    x, recurrent = node.tensor(0, "int16", 4 * units), node.tensor(1, "int16", 4 * units)
    sigmoid, tanh, cell = (node.constant(i, "int16", TABLE_SEGMENTS + 1) for i in (4, 5, 6))
    e = node.shift(7)
    if sigmoid.min() < 0:
        raise node.refuse(f"its table of the sigmoid holds {sigmoid.min()}, less than 0")

    def gate(left: Any, right: Any, table: Any) -> Any:
        return look_up((Exact(left, x.bound) + Exact(right, recurrent.bound)).clip(32767).value, table, 32767).value

    def mixed(i: Any, f: Any, g: Any, before: Any) -> Any:
        # Two products of 15 bits and the rounding stay below 2^31; a cell of -32768 is none that this writes.
        acc = f * T.cast(before, "int32") + (Exact(i, 32767) * Exact(g, 32767)).round_shift(e).to("int32")
        return Exact((acc + (1 << (DECAY_SHIFT - 1))) >> DECAY_SHIFT, 1 << 16).saturate(16)

    def shown(o: Any, value: Any, table: Any) -> Any:
        return (Exact(o, 32767) * look_up(value, table, 32767)).round_shift(DECAY_SHIFT).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((4, units), "int16"),
        recurrent: T.Buffer((4, units), "int16"),
        h: T.Buffer((units,), "int16"),
        c: T.Buffer((units,), "int16"),
        sigmoid: T.Buffer((TABLE_SEGMENTS + 1,), "int16"),
        tanh: T.Buffer((TABLE_SEGMENTS + 1,), "int16"),
        cell: T.Buffer((TABLE_SEGMENTS + 1,), "int16"),
    ):
        for j in range(units):
            i: T.let = gate(x[0, j], recurrent[0, j], sigmoid)
            f: T.let = gate(x[1, j], recurrent[1, j], sigmoid)
            g: T.let = gate(x[2, j], recurrent[2, j], tanh)
            c[j] = mixed(i, f, g, c[j])
            o: T.let = gate(x[3, j], recurrent[3, j], sigmoid)
            h[j] = shown(o, c[j], cell)

    after = (node.output(0, "int16", (units,), 32767), node.output(1, "int16", (units,), 32767))
    places = {after[0].name: h.name, after[1].name: c.name}
    return Kernel(kernel, (x.name, recurrent.name, h.name, c.name, sigmoid, tanh, cell), after, places, macs=3 * units)
