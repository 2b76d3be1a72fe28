"""LayerNorm without a division."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, floor_log2, peak, stored
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.unit_scale import check_squares, inverse_root, unit
from quantization.arithmetic import rsqrt_table


def scalar(node: Node) -> Kernel:
    """c = round_shift(n x - sum(x), g); sat(round_shift(unit_scale(c, eps) * weight + bias, k))."""
    node.expect(7, 1)
    x = node.tensor(0, "int16", None)
    size = x.shape[0]
    n, g = node.scalar(1, 1), node.shift(2)
    weight, bias = stored(node.constant(3, "int32", size)), stored(node.constant(4, "int32", size))
    eps, k = node.scalar(5, 1), node.shift(6)
    bits = node.element_bits()
    total_bound = size * x.bound

    def centred(value: Any, total: Any) -> Exact:
        return (Exact(value, x.bound) * n - Exact(total, total_bound)).round_shift(g)

    check_squares(node, size, centred(T.int16(0), T.int32(0)).bound, eps)

    def square(value: Any, total: Any) -> Any:
        c = centred(value, total)
        return (c * c).to("int64")

    def scaled(value: Any, total: Any, p: Any, r: Any, factor: Any, offset: Any) -> Any:
        return (unit(centred(value, total), p, r) * Exact(factor, peak(weight)) + Exact(offset, peak(bias))).round_shift(k).saturate(bits)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((size,), "int16"),
        weight: T.Buffer((size,), weight.dtype.name),
        bias: T.Buffer((size,), bias.dtype.name),
        rsqrt: T.Buffer((193,), "int16"),
        y: T.Buffer((size,), f"int{bits}"),
    ):
        total = T.alloc_scalar("int32")
        squares = T.alloc_scalar("int64")
        total = 0
        for i in range(size):
            total = total + T.cast(x[i], "int32")
        squares = T.int64(eps)
        for i in range(size):
            squares = squares + square(x[i], total)
        p: T.let = floor_log2(squares) >> 1
        r: T.let = inverse_root(rsqrt, squares, p)
        for i in range(size):
            y[i] = scaled(x[i], total, p, r, weight[i], bias[i])

    y = node.output(0, f"int{bits}", (size,), (1 << (bits - 1)) - 1)
    return Kernel(kernel, (x.name, weight, bias, rsqrt_table(), y.name), (y,))
