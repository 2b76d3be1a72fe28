"""Two tensors, one behind the other."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """Copies both."""
    node.expect(2, 1)
    a, b = node.tensor(0, "int16", None), node.tensor(1, "int16", None)
    n, m = a.shape[0], b.shape[0]

    @T.prim_func(s_tir=True)
    def kernel(a: T.Buffer((n,), "int16"), b: T.Buffer((m,), "int16"), y: T.Buffer((n + m,), "int16")):
        for i in range(n):
            y[i] = a[i]
        for i in range(m):
            y[n + i] = b[i]

    y = node.output(0, "int16", (n + m,), max(a.bound, b.bound))
    return Kernel(kernel, (a.name, b.name, y.name), (y,))
