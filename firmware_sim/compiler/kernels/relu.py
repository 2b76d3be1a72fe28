"""The rectifier."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """sat(round_shift(max(x, 0) * mult, k))."""
    node.expect(3, 1)
    x, mult, k = node.tensor(0, "int16", None), node.scalar(1, 1), node.shift(2)
    n, bits = x.shape[0], node.element_bits()

    def rectified(value: Any) -> Exact:
        return (Exact(T.max(value, T.int16(0)), x.bound) * mult).round_shift(k)

    @T.prim_func(s_tir=True)
    def kernel(x: T.Buffer((n,), "int16"), y: T.Buffer((n,), f"int{bits}")):
        for i in range(n):
            y[i] = rectified(x[i]).saturate(bits)

    y = node.output(0, f"int{bits}", (n,), min(rectified(T.int16(0)).bound, (1 << (bits - 1)) - 1))
    return Kernel(kernel, (x.name, y.name), (y,))
