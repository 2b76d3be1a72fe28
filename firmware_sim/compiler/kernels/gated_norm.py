"""Gated RMSNorm without a division."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, floor_log2, peak, stored
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.unit_scale import check_squares, inverse_root, unit
from quantization.arithmetic import rsqrt_table


def scalar(node: Node) -> Kernel:
    """v = sat16(round_shift(y * gate, v)); sat(round_shift(unit_scale(v, eps) * weight, k))."""
    node.expect(6, 1)
    x = node.tensor(0, "int16", None)
    n = x.shape[0]
    gate = node.tensor(1, "int16", n)
    k_v, weight, eps, k = node.shift(2), stored(node.constant(3, "int32", n)), node.scalar(4, 1), node.shift(5)
    bits = node.element_bits()
    check_squares(node, n, 32767, eps)

    def gated(value: Any, factor: Any) -> Exact:
        return (Exact(value, x.bound) * Exact(factor, gate.bound)).round_shift(k_v).clip(32767)

    def square(value: Any, factor: Any) -> Any:
        v = gated(value, factor)
        return (v * v).to("int64")

    def scaled(value: Any, factor: Any, p: Any, r: Any, gain: Any) -> Any:
        return (unit(gated(value, factor), p, r) * Exact(gain, peak(weight))).round_shift(k).saturate(bits)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int16"),
        gate: T.Buffer((n,), "int16"),
        weight: T.Buffer((n,), weight.dtype.name),
        rsqrt: T.Buffer((193,), "int16"),
        y: T.Buffer((n,), f"int{bits}"),
    ):
        squares = T.alloc_scalar("int64")
        squares = T.int64(eps)
        for i in range(n):
            squares = squares + square(x[i], gate[i])
        p: T.let = floor_log2(squares) >> 1
        r: T.let = inverse_root(rsqrt, squares, p)
        for i in range(n):
            y[i] = scaled(x[i], gate[i], p, r, weight[i])

    y = node.output(0, f"int{bits}", (n,), (1 << (bits - 1)) - 1)
    return Kernel(kernel, (x.name, gate.name, weight, rsqrt_table(), y.name), (y,))
