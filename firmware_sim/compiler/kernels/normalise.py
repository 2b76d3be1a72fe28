"""z-scores, or any other scale per element."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.dsp import FLAGS, high_word, joined, ssat, symmetric_pair
from firmware_sim.compiler.kernels.exact import Exact, computed_by, peak, stored
from firmware_sim.compiler.kernels.fence import fence, with_fences
from firmware_sim.compiler.kernels.helium_normalise import vector_scaling
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor
from firmware_sim.compiler.kernels.plain import RV32, THUMB1, Plain, computed_plainly, with_plain

_HALF = 16  # bits
_BODY = 4  # elements in the body of the loop by halves, at most
_UP = 16  # bits that an int16 is shifted up, so that the sum's high word needs none of the low one


@dataclass(frozen=True)
class _Operands:
    """The checked operands and the result, of so many bits."""

    x: Value
    mult: NDArray
    bias: NDArray
    k: int
    bits: int
    y: Value


def _operands(node: Node) -> _Operands:
    node.expect(4, 1)
    x = node.tensor(0, "int16", None)
    mult, bias = node.constant(1, "int32", *x.shape), node.constant(2, "int64", *x.shape)
    bits = node.element_bits()
    return _Operands(x, mult, bias, node.shift(3), bits, node.output(0, f"int{bits}", x.shape, (1 << (bits - 1)) - 1))


def scalar(node: Node) -> Kernel:
    """sat(round_shift(x * mult + bias, k))."""
    scaling = _operands(node)
    x, k, bits = scaling.x, scaling.k, scaling.bits
    mult, bias, n = stored(scaling.mult), stored(scaling.bias), x.shape[0]

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

    return Kernel(kernel, (x.name, mult, bias, scaling.y.name), (scaling.y,))


def rv32(node: Node) -> Kernel:
    """The same without sums of 64 bits, where what is left of them after 16 bits were shifted out fits a word."""
    return _by_halves(node, RV32)


def thumb1(node: Node) -> Kernel:
    """The same, which is two products of 32 bits in place of four."""
    return _by_halves(node, THUMB1)


def _by_halves(node: Node, core: Plain) -> Kernel:
    """x * mult + bias, of halves m1, m0 and b1, b0 with rounding: floor of it / 2^16 is x m1 + b1 + floor((x m0 + b0) / 2^16)."""
    scale = _operands(node)
    x, bits = scale.x, scale.bits
    n, step, left = x.shape[0], divisor(x.shape[0], _BODY), scale.k - _HALF
    bias = scale.bias.astype(object) + (1 << scale.k >> 1)
    bound = (x.bound * peak(scale.mult) + int(max(bias.max(), -bias.min())) >> _HALF) + 2
    if left < 0 or bound + 2**16 >= 2**31:
        return computed_plainly(scalar, core)(node)
    halves = np.stack([scale.mult, (bias >> _HALF).astype(np.int32), (bias & 0xFFFF).astype(np.int32)], axis=1)

    def normalised(value: Any, halves: Any, i: Any) -> Any:
        mult, upper, lower = (halves[i, part] for part in range(3))
        low = (value * T.bitwise_and(mult, T.int32(0xFFFF)) + lower) >> T.int32(_HALF)
        return Exact(fence(value * (mult >> T.int32(_HALF)) + upper + low), bound).floor_shift(left).saturate(bits)

    with computed_by(core.arithmetic):

        @T.prim_func(s_tir=True)
        def kernel(
            x: T.Buffer((n,), "int16"),
            halves: T.Buffer((n, 3), "int32"),
            y: T.Buffer((n,), f"int{bits}"),
        ):
            for i in range(n // step):
                for j in T.unroll(step):
                    value: T.let = core.signed(x[i * step + j])
                    y[i * step + j] = normalised(value, halves, i * step + j)

    return Kernel(with_plain(with_fences(kernel)), (x.name, halves, scale.y.name), (scale.y,))


def helium(node: Node) -> Kernel:
    """The same for four elements at a time."""
    return vector_scaling(_operands(node)) or dsp(node)


def dsp(node: Node) -> Kernel:
    """The same from the high words of long multiply-accumulates; plain code for other shifts than 16 to 47 and sums beyond 2^46."""
    scaling = _operands(node)
    offset_peak = peak(scaling.bias) + (1 << scaling.k >> 1)
    fits = scaling.x.bound * peak(scaling.mult) + offset_peak < 2 ** (63 - _UP)
    if fits and scaling.x.shape[0] % 2 == 0 and _UP <= scaling.k < 32 + _UP:
        return _by_high_words(scaling)
    return scalar(node)


def _by_high_words(scaling: _Operands) -> Kernel:
    """floor((x 2^16 mult + (bias + 2^(k - 1)) 2^16) / 2^32) is the sum's high word, which k - 16 shifts on.

    The constants of two elements lie together: an address less to keep.
    """
    x, k, bits = scaling.x, scaling.k, scaling.bits
    bias = (scaling.bias + (1 << k >> 1)) << _UP
    constants = np.concatenate([scaling.mult.reshape(-1, 2), bias.astype("<i8").view("<i4").reshape(-1, 4)], axis=1)
    n = x.shape[0]

    def scaled(value: Any, factor: Any, low: Any, high: Any) -> Any:
        product = T.cast(T.shift_left(value, T.int32(_UP)), "int64") * T.cast(factor, "int64")
        return ssat(high_word(joined(low, high) + product) >> T.int32(k - _UP), bits)

    @T.prim_func(s_tir=True)
    def kernel(x: T.Buffer((n // 2, 2), "int16"), constants: T.Buffer((n // 2, 6), "int32"), y: T.Buffer((n // 2, 2), f"int{bits}")):
        xs = T.alloc_buffer((2,), "int32")
        cs = T.alloc_buffer((6,), "int32")
        word = T.alloc_scalar("int32")
        for i in range(n // 2):
            for h in T.unroll(2):
                xs[h] = T.cast(x[i, h], "int32")
            for j in T.unroll(6):
                cs[j] = constants[i, j]
            for h in T.unroll(2):
                xs[h] = fence(xs[h])  # eight loads in one run
            word = symmetric_pair(scaled(xs[0], cs[0], cs[2], cs[3]), scaled(xs[1], cs[1], cs[4], cs[5]), bits)
            for h in T.unroll(2):
                y[i, h] = T.cast(word >> (16 * h), f"int{bits}")

    return Kernel(with_fences(kernel), (x.name, constants, scaling.y.name), (scaling.y,), flags=FLAGS)
