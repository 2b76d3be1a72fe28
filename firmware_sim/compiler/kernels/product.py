"""Two tensors multiplied element by element."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """sat(round_shift(a * b * mult, k))."""
    node.expect(4, 1)
    a = node.tensor(0, "int16", None)
    b, mult, k = node.tensor(1, "int16", *a.shape), node.scalar(2, 1), node.shift(3)
    n, bits = a.shape[0], node.element_bits()

    def multiplied(left: Any, right: Any) -> Exact:
        return (Exact(left, a.bound) * Exact(right, b.bound) * mult).round_shift(k)

    @T.prim_func(s_tir=True)
    def kernel(a: T.Buffer((n,), "int16"), b: T.Buffer((n,), "int16"), y: T.Buffer((n,), f"int{bits}")):
        for i in range(n):
            y[i] = multiplied(a[i], b[i]).saturate(bits)

    y = node.output(0, f"int{bits}", (n,), min(multiplied(T.int16(0), T.int16(0)).bound, (1 << (bits - 1)) - 1))
    return Kernel(kernel, (a.name, b.name, y.name), (y,), macs=n)
