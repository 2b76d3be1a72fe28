"""RMSNorm without a division."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, floor_log2, peak, stored
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.unit_scale import check_squares, inverse_root, unit
from quantization.arithmetic import rsqrt_table


def scalar(node: Node) -> Kernel:
    """sat(round_shift(unit_scale(x, eps) * weight, k))."""
    node.expect(4, 1)
    x = node.tensor(0, "int16", None)
    weight, eps, k = stored(node.constant(1, "int32", *x.shape)), node.scalar(2, 1), node.shift(3)
    n, bits = x.shape[0], node.element_bits()
    check_squares(node, n, x.bound, eps)

    def square(value: Any) -> Any:
        return (Exact(value, x.bound) * Exact(value, x.bound)).to("int64")

    def scaled(value: Any, p: Any, r: Any, gain: Any) -> Any:
        return (unit(Exact(value, x.bound), p, r) * Exact(gain, peak(weight))).round_shift(k).saturate(bits)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int16"),
        weight: T.Buffer((n,), weight.dtype.name),
        rsqrt: T.Buffer((193,), "int16"),
        y: T.Buffer((n,), f"int{bits}"),
    ):
        squares = T.alloc_scalar("int64")
        squares = T.int64(eps)
        for i in range(n):
            squares = squares + square(x[i])
        p: T.let = floor_log2(squares) >> 1
        r: T.let = inverse_root(rsqrt, squares, p)
        for i in range(n):
            y[i] = scaled(x[i], p, r, weight[i])

    y = node.output(0, f"int{bits}", (n,), (1 << (bits - 1)) - 1)
    return Kernel(kernel, (x.name, weight, rsqrt_table(), y.name), (y,), macs=n)
