"""z-scores, or any other scale per element."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, peak, stored
from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """sat(round_shift(x * mult + bias, k))."""
    node.expect(4, 1)
    x = node.tensor(0, "int16", None)
    n = x.shape[0]
    mult, bias, k = stored(node.constant(1, "int32", n)), stored(node.constant(2, "int64", n)), node.shift(3)
    bits = node.element_bits()

    def normalised(value: Any, factor: Any, offset: Any) -> Any:
        return (Exact(value, x.bound) * Exact(factor, peak(mult)) + Exact(offset, peak(bias))).round_shift(k).saturate(bits)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int16"),
        mult: T.Buffer((n,), mult.dtype.name),
        bias: T.Buffer((n,), bias.dtype.name),
        y: T.Buffer((n,), f"int{bits}"),
    ):
        for i in range(n):
            y[i] = normalised(x[i], mult[i], bias[i])

    y = node.output(0, f"int{bits}", (n,), (1 << (bits - 1)) - 1)
    return Kernel(kernel, (x.name, mult, bias, y.name), (y,))
