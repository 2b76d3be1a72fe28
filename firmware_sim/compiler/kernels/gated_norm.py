"""Gated RMSNorm without a division."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.dsp import FLAGS, packed, smlabb, smlald, smlatt, ssat16, symmetric, whole_words
from firmware_sim.compiler.kernels.exact import Exact, floor_log2, peak, stored
from firmware_sim.compiler.kernels.fence import fence, pin, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor
from firmware_sim.compiler.kernels.unit_scale import check_squares, inverse_root, unit, unit_pairs, unit_pairs_fit
from quantization.arithmetic import rsqrt_table

_WORDS = 2  # of y and of the gate whose loads are one run, at most


@dataclass(frozen=True)
class _Operands:
    """The checked operands and the result; k_v is the shift of the gated values."""

    x: Value
    gate: Value
    k_v: int
    weight: NDArray
    eps: int
    k: int
    bits: int
    y: Value


def _operands(node: Node) -> _Operands:
    node.expect(6, 1)
    x = node.tensor(0, "int16", None)
    gate, weight = node.tensor(1, "int16", *x.shape), stored(node.constant(3, "int32", *x.shape))
    bits = node.element_bits()
    y = node.output(0, f"int{bits}", x.shape, (1 << (bits - 1)) - 1)
    norm = _Operands(x, gate, node.shift(2), weight, node.scalar(4, 1), node.shift(5), bits, y)
    check_squares(node, x.shape[0], 32767, norm.eps)
    return norm


def scalar(node: Node) -> Kernel:
    """v = sat16(round_shift(y * gate, v)); sat(round_shift(unit_scale(v, eps) * weight, k))."""
    norm = _operands(node)
    weight, eps, k, bits = norm.weight, norm.eps, norm.k, norm.bits
    n = norm.x.shape[0]

    def gated(value: Any, factor: Any) -> Exact:
        return (Exact(value, norm.x.bound) * Exact(factor, norm.gate.bound)).round_shift(norm.k_v).clip(32767)

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

    return Kernel(kernel, (norm.x.name, norm.gate.name, weight, rsqrt_table(), norm.y.name), (norm.y,))


def dsp(node: Node) -> Kernel:
    """The same by words of two, v kept between the passes; plain code where a sum leaves 32 bits."""
    return by_words(node, runs=True)


def dual(node: Node) -> Kernel:
    """The same, in the order that LLVM finds for a core of two instructions a cycle."""
    return by_words(node, runs=False)


def by_words(node: Node, runs: bool) -> Kernel:
    norm = _operands(node)
    if whole_words(norm.x, norm.gate) and norm.k_v <= 30 and unit_pairs_fit(norm.k, norm.weight, (1 << norm.k) >> 1):
        return _by_words(norm, runs)
    return scalar(node)


def _by_words(norm: _Operands, runs: bool) -> Kernel:
    """Of int16 factors and k_v <= 30 no product leaves 32 bits, rounding included."""
    n, k_v, eps, bits, weight = norm.x.shape[0], norm.k_v, norm.eps, norm.bits, norm.weight
    words = n // 2
    step = divisor(words, _WORDS)

    def gated(ys: Any, gates: Any, half: Any) -> Any:
        return symmetric(packed(*(ssat16(mac(ys, gates, half) >> T.int32(k_v)) for mac in (smlabb, smlatt))))

    scale = unit_pairs(n, bits, norm.k, lambda half, i: half, runs)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((words,), "int32"),
        gate: T.Buffer((words,), "int32"),
        weight: T.Buffer((n,), weight.dtype.name),
        rsqrt: T.Buffer((193,), "int16"),
        y: T.Buffer((n,), f"int{bits}"),
        v: T.Buffer((words,), "int32"),
    ):
        left = T.alloc_buffer((step,), "int32")
        right = T.alloc_buffer((step,), "int32")
        half = T.alloc_scalar("int32")
        squares = T.alloc_scalar("int64")
        half = pin(T.int32((1 << k_v) >> 1))
        squares = T.int64(eps)
        for i in range(words // step):
            for j in T.unroll(step):
                left[j] = x[i * step + j]
                right[j] = gate[i * step + j]
            for j in T.unroll(step):
                right[j] = fence(right[j]) if runs else pin(right[j])
            for j in T.unroll(step):
                left[j] = gated(left[j], right[j], half)
                squares = smlald(left[j], left[j], squares)
                v[i * step + j] = left[j]
        p: T.let = floor_log2(squares) >> 1
        r: T.let = inverse_root(rsqrt, squares, p)
        half = pin(T.int32((1 << norm.k) >> 1))
        scale(v, weight, half, y, p, r)

    own = Value(f"{norm.y.name}.gated", "int16", (n,), 32767)
    pointers = (norm.x.name, norm.gate.name, weight, rsqrt_table(), norm.y.name, own.name)
    return Kernel(with_fences(kernel), pointers, (norm.y,), scratch=(own,), flags=FLAGS)
