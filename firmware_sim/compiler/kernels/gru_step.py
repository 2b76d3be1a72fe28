"""The gated recurrent unit."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.table import look_up
from quantization.arithmetic import DECAY_SHIFT, TABLE_SEGMENTS


def scalar(node: Node) -> Kernel:
    """r, z = sigmoid(x + recurrent); n = tanh(x + r recurrent); h' = (1 - z) n + z h in place, gates in Q15."""
    node.expect(5, 1)
    h = node.tensor(2, "int16", None)
    units = h.shape[0]
    x, recurrent = node.tensor(0, "int16", 3 * units), node.tensor(1, "int16", 3 * units)
    sigmoid, tanh = (node.constant(i, "int16", TABLE_SEGMENTS + 1) for i in (3, 4))
    if sigmoid.min() < 0:
        raise node.refuse(f"its table of the sigmoid holds {sigmoid.min()}, less than 0")

    def gate(left: Any, right: Any, table: Any) -> Any:
        return look_up((Exact(left, x.bound) + Exact(right, recurrent.bound)).clip(32767).value, table, 32767).value

    def candidate(entering: Any, r: Any, staying: Any, table: Any) -> Any:
        reset = (Exact(r, 32767) * Exact(staying, recurrent.bound)).round_shift(DECAY_SHIFT)
        return look_up((Exact(entering, x.bound) + reset).clip(32767).value, table, 32767).value

    def mixed(z: Any, n: Any, before: Any) -> Any:
        # A weighted mean: as z is not negative, this never leaves 32 bits, rounding included.
        acc = ((1 << DECAY_SHIFT) - z) * n + z * T.cast(before, "int32")
        return Exact((acc + (1 << (DECAY_SHIFT - 1))) >> DECAY_SHIFT, 1 << DECAY_SHIFT).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((3, units), "int16"),
        recurrent: T.Buffer((3, units), "int16"),
        h: T.Buffer((units,), "int16"),
        sigmoid: T.Buffer((TABLE_SEGMENTS + 1,), "int16"),
        tanh: T.Buffer((TABLE_SEGMENTS + 1,), "int16"),
    ):
        for i in range(units):
            r: T.let = gate(x[0, i], recurrent[0, i], sigmoid)
            z: T.let = gate(x[1, i], recurrent[1, i], sigmoid)
            n: T.let = candidate(x[2, i], r, recurrent[2, i], tanh)
            h[i] = mixed(z, n, h[i])

    after = node.output(0, "int16", (units,), 32767)
    return Kernel(kernel, (x.name, recurrent.name, h.name, sigmoid, tanh), (after,), {after.name: h.name})
