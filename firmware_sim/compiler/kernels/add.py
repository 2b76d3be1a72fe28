"""The residual stream."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """sat16(a + b)."""
    node.expect(2, 1)
    a = node.tensor(0, "int16", None)
    n = a.shape[0]
    b = node.tensor(1, "int16", n)

    def added(left: Any, right: Any) -> Any:
        return (Exact(left, a.bound) + Exact(right, b.bound)).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(a: T.Buffer((n,), "int16"), b: T.Buffer((n,), "int16"), y: T.Buffer((n,), "int16")):
        for i in range(n):
            y[i] = added(a[i], b[i])

    y = node.output(0, "int16", (n,), min(a.bound + b.bound, 32767))
    return Kernel(kernel, (a.name, b.name, y.name), (y,))
