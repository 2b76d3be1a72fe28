"""Elements of a tensor in another order, or several times over."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """x[places]."""
    node.expect(2, 1)
    x, places = node.tensor(0, "int16", None), node.constant(1, "int16", None)
    n, m = x.shape[0], len(places)
    if places.min() < 0 or places.max() >= n:
        raise node.refuse(f"takes elements {places.min()} to {places.max()} of {n}")

    @T.prim_func(s_tir=True)
    def kernel(x: T.Buffer((n,), "int16"), places: T.Buffer((m,), "int16"), y: T.Buffer((m,), "int16")):
        for i in range(m):
            y[i] = x[T.cast(places[i], "int32")]

    y = node.output(0, "int16", (m,), x.bound)
    return Kernel(kernel, (x.name, places, y.name), (y,))
