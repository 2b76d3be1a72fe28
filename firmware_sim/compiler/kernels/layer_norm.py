"""LayerNorm without a division."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.dsp import FLAGS, ONES, packed, smlabb, smlad, smlald, smlatb, whole_words
from firmware_sim.compiler.kernels.exact import Exact, floor_log2, peak, stored
from firmware_sim.compiler.kernels.fence import fence, pin, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor
from firmware_sim.compiler.kernels.unit_scale import check_squares, inverse_root, unit, unit_pairs, unit_pairs_fit
from quantization.arithmetic import rsqrt_table

_WORDS = 4  # of x whose loads are one run, at most


@dataclass(frozen=True)
class _Operands:
    """The checked operands and the result."""

    x: Value
    n: int
    g: int
    weight: NDArray
    bias: NDArray
    eps: int
    k: int
    bits: int
    y: Value

    def centred(self, value: Any, total: Any) -> Exact:
        """c of an element and the sum of all."""
        return (Exact(value, self.x.bound) * self.n - Exact(total, self.x.shape[0] * self.x.bound)).round_shift(self.g)


def _operands(node: Node) -> _Operands:
    node.expect(7, 1)
    x = node.tensor(0, "int16", None)
    weight, bias = node.constant(3, "int32", *x.shape), node.constant(4, "int32", *x.shape)
    bits = node.element_bits()
    y = node.output(0, f"int{bits}", x.shape, (1 << (bits - 1)) - 1)
    norm = _Operands(x, node.scalar(1, 1), node.shift(2), weight, bias, node.scalar(5, 1), node.shift(6), bits, y)
    check_squares(node, x.shape[0], norm.centred(T.int16(0), T.int32(0)).bound, norm.eps)
    return norm


def scalar(node: Node) -> Kernel:
    """c = round_shift(n x - sum(x), g); sat(round_shift(unit_scale(c, eps) * weight + bias, k))."""
    norm = _operands(node)
    size, eps, k, bits = norm.x.shape[0], norm.eps, norm.k, norm.bits
    weight, bias = stored(norm.weight), stored(norm.bias)

    def square(value: Any, total: Any) -> Any:
        c = norm.centred(value, total)
        return (c * c).to("int64")

    def scaled(value: Any, total: Any, p: Any, r: Any, factor: Any, offset: Any) -> Any:
        c = norm.centred(value, total)
        return (unit(c, p, r) * Exact(factor, peak(weight)) + Exact(offset, peak(bias))).round_shift(k).saturate(bits)

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

    return Kernel(kernel, (norm.x.name, weight, bias, rsqrt_table(), norm.y.name), (norm.y,))


def dsp(node: Node) -> Kernel:
    """The same by words of two, c kept between the passes; plain code where c leaves int16 or a sum 32 bits."""
    return by_words(node, runs=True)


def dual(node: Node) -> Kernel:
    """The same, in the order that LLVM finds for a core of two instructions a cycle."""
    return by_words(node, runs=False)


def by_words(node: Node, runs: bool) -> Kernel:
    norm = _operands(node)
    size, k = norm.x.shape[0], norm.k
    half = (1 << k) >> 1
    # |n x - sum(x)| adds up n - 1 differences of two elements
    spread = 2 * (size - 1) * norm.x.bound + (1 << norm.g >> 1)
    c_fits = norm.n == size < 2**15 and spread < 2**31 and spread >> norm.g < 2**15 and norm.g <= 16
    if whole_words(norm.x) and c_fits and unit_pairs_fit(k, norm.weight, peak(norm.bias) + half):
        return _by_words(norm, norm.bias + np.int32(half), runs)
    return scalar(node)


def _by_words(norm: _Operands, bias: NDArray[np.int32], runs: bool) -> Kernel:
    size, eps, g, bits = norm.x.shape[0], norm.eps, norm.g, norm.bits
    weight = stored(norm.weight)
    words = size // 2
    step = divisor(words, _WORDS)
    scale = unit_pairs(size, bits, norm.k, lambda bias, i: bias[i], runs)

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((words,), "int32"),
        weight: T.Buffer((size,), weight.dtype.name),
        bias: T.Buffer((size,), "int32"),
        rsqrt: T.Buffer((193,), "int16"),
        y: T.Buffer((size,), f"int{bits}"),
        c: T.Buffer((words,), "int32"),
    ):
        loaded = T.alloc_buffer((step,), "int32")
        total = T.alloc_scalar("int32")
        squares = T.alloc_scalar("int64")
        total = 0
        for i in range(pin(T.int32(words // step))):
            for j in T.unroll(step):
                loaded[j] = x[i * step + j]
            for j in T.unroll(step):
                total = smlad(fence(loaded[j]), ONES, total)
        total = pin((1 << g >> 1) - total)
        squares = T.int64(eps)
        for i in range(pin(T.int32(words // step))):
            for j in T.unroll(step):
                loaded[j] = x[i * step + j]
            for j in T.unroll(step):
                loaded[j] = fence(loaded[j]) if runs else pin(loaded[j])
            for j in T.unroll(step):
                loaded[j] = packed(smlabb(loaded[j], size, total) >> g, smlatb(loaded[j], size, total) >> g)
                squares = smlald(loaded[j], loaded[j], squares)
                c[i * step + j] = loaded[j]
        p: T.let = floor_log2(squares) >> 1
        r: T.let = inverse_root(rsqrt, squares, p)
        scale(c, weight, bias, y, p, r)

    own = Value(f"{norm.y.name}.centred", "int16", (size,), 2**15)
    pointers = (norm.x.name, weight, bias, rsqrt_table(), norm.y.name, own.name)
    return Kernel(with_fences(kernel), pointers, (norm.y,), scratch=(own,), flags=FLAGS)
