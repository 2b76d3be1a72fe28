"""LayerNorm and gated RMSNorm without a division: an inverse square root by table, as ``unit_scale`` of the reference."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, floor_log2, interpolate, peak, stored
from firmware_sim.compiler.kernels.interface import Kernel, Node
from quantization.arithmetic import SUM_OF_SQUARES_BITS, rsqrt_table


def unit_scale_bound() -> int:
    """Largest absolute result of unit_scale: c^2 <= s < 4^p (m + 1) / 4096, so |c| r / 2^p < r(m) sqrt((m + 1) / 4096)."""
    m = np.arange(3 * 4096)  # mantissa of s less 1, in 1/4096
    table, segment, fraction = rsqrt_table().astype(np.int64), m // 64, m % 64
    r = (table[segment] * (64 - fraction) + table[segment + 1] * fraction + 32) // 64
    return int(np.max(r * np.sqrt((4096 + m + 1) / 4096))) + 2  # rounding of the result, and of this product


def q_layer_norm(node: Node) -> Kernel:
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

    _check_squares(node, size, centred(T.int16(0), T.int32(0)).bound, eps)

    def square(value: Any, total: Any) -> Any:
        c = centred(value, total)
        return (c * c).to("int64")

    def scaled(value: Any, total: Any, p: Any, r: Any, factor: Any, offset: Any) -> Any:
        unit = _unit(centred(value, total), p, r)
        return (unit * Exact(factor, peak(weight)) + Exact(offset, peak(bias))).round_shift(k).saturate(bits)

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
        r: T.let = _inverse_root(rsqrt, squares, p)
        for i in range(size):
            y[i] = scaled(x[i], total, p, r, weight[i], bias[i])

    y = node.output(0, f"int{bits}", (size,), (1 << (bits - 1)) - 1)
    return Kernel(kernel, (x.name, weight, bias, rsqrt_table(), y.name), (y,))


def q_gated_norm(node: Node) -> Kernel:
    """v = sat16(round_shift(y * gate, v)); sat(round_shift(unit_scale(v, eps) * weight, k))."""
    node.expect(6, 1)
    x = node.tensor(0, "int16", None)
    n = x.shape[0]
    gate = node.tensor(1, "int16", n)
    k_v, weight, eps, k = node.shift(2), stored(node.constant(3, "int32", n)), node.scalar(4, 1), node.shift(5)
    bits = node.element_bits()
    _check_squares(node, n, 32767, eps)

    def gated(value: Any, factor: Any) -> Exact:
        return (Exact(value, x.bound) * Exact(factor, gate.bound)).round_shift(k_v).clip(32767)

    def square(value: Any, factor: Any) -> Any:
        v = gated(value, factor)
        return (v * v).to("int64")

    def scaled(value: Any, factor: Any, p: Any, r: Any, gain: Any) -> Any:
        return (_unit(gated(value, factor), p, r) * Exact(gain, peak(weight))).round_shift(k).saturate(bits)

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
        r: T.let = _inverse_root(rsqrt, squares, p)
        for i in range(n):
            y[i] = scaled(x[i], gate[i], p, r, weight[i])

    y = node.output(0, f"int{bits}", (n,), (1 << (bits - 1)) - 1)
    return Kernel(kernel, (x.name, gate.name, weight, rsqrt_table(), y.name), (y,))


def _inverse_root(table: Any, squares: Any, p: Any) -> Any:
    """Q15 of 1/sqrt of the mantissa of ``squares`` (int64, in [4^p, 4^(p + 1))), as int32."""
    m = T.cast((squares << T.int64(12)) >> T.cast(2 * p, "int64"), "int32") - 4096
    return interpolate(table, 32767, m >> 6, m & 63, 6).value


def _unit(c: Exact, p: Any, r: Any) -> Exact:
    """round_shift(c * r, p) for a shift that is known only at run time; p < 24."""
    half = Exact(T.shift_left(T.int32(1), p) >> 1, 1 << 22)
    product = c * Exact(r, 32767) + half
    shifted = product.value >> T.cast(p, product.value.ty.dtype)
    return Exact(T.cast(shifted, "int32"), unit_scale_bound())


def _check_squares(node: Node, n: int, c_bound: int, eps: int) -> None:
    if n * c_bound**2 + eps >= 2**SUM_OF_SQUARES_BITS:
        raise node.refuse(f"its sum of squares may reach 2^{SUM_OF_SQUARES_BITS}, the end of the table", "quantise with a larger shift")
