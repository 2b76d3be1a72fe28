"""What filters do with 32-bit words, as a family of instruction sets does it best."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from firmware_sim.compiler.kernels import fence

WORD_BITS = 32


@dataclass(frozen=True)
class Words:
    """Each is a function of TIR expressions.

    Attributes:
        product: of two int32, an int64.
        word, pair: an int32, an int64 that LLVM is to form as it stands there, without merging it into what uses it.
        run: an int32 that was loaded last of several: the loads stay together.
        stepped: clip(step v, -limit, limit - 1) of an int32 v; it takes v, step and limit.
        finished: the function with what the others need.
    """

    product: Callable[[Any, Any], Any]
    word: Callable[[Any], Any]
    pair: Callable[[Any], Any]
    run: Callable[[Any], Any]
    stepped: Callable[[Any, int, int], Any]
    finished: Callable[[tirx.PrimFunc], tirx.PrimFunc]


def upper(value: Any) -> Any:
    """floor(value / 2^32) of an int64."""
    return T.cast(value >> T.int64(WORD_BITS), "int32")


def unsigned(word: Any) -> Any:
    """The int64 in [0, 2^32) with the bits of an int32."""
    return T.cast(T.reinterpret("uint32", word), "int64")


def full_product(a: Any, b: Any) -> Any:
    """The int64 product of two int32."""
    return T.cast(a, "int64") * T.cast(b, "int64")


def _of_halves(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """A product of two int32 by four products of 32 bits, for cores without one of 64: no partial sum leaves int32.

    Returns:
        The upper word; a word whose lower half is the upper one of the lower word; a uint32 whose lower half is the lower one.
    """
    lower = [T.bitwise_and(v, T.int32(0xFFFF)) for v in (a, b)]
    higher = [T.shift_right(v, T.int32(16)) for v in (a, b)]
    low = T.reinterpret("uint32", lower[0]) * T.reinterpret("uint32", lower[1])
    first = higher[0] * lower[1] + T.reinterpret("int32", T.shift_right(low, T.uint32(16)))
    second = lower[0] * higher[1] + T.bitwise_and(first, T.int32(0xFFFF))
    return higher[0] * higher[1] + T.shift_right(first, T.int32(16)) + T.shift_right(second, T.int32(16)), second, low


def product_of_halves(a: Any, b: Any) -> Any:
    """The int64 product of two int32, for cores without one of 64 bits."""
    high, second, low = _of_halves(a, b)
    rest = T.bitwise_or(T.shift_left(T.reinterpret("uint32", second), T.uint32(16)), T.bitwise_and(low, T.uint32(0xFFFF)))
    return T.shift_left(T.cast(high, "int64"), T.int64(WORD_BITS)) + T.cast(rest, "int64")


def upper_of_halves(a: Any, b: Any) -> Any:
    """floor(a * b / 2^32) of two int32, for the same cores."""
    return _of_halves(a, b)[0]


def sum_of_halves(a: Any, m: Any, b: Any, d: Any) -> Any:
    """floor((a m + b d) / 2^16) of an int32 a, an m in [0, 2^16), an int16 b and an int32 d, all of type int32, for the same cores.

    |a m + b d| has to be less than 2^47 - 2^34.
    """
    low = T.reinterpret("uint32", T.bitwise_and(a, T.int32(0xFFFF))) * T.reinterpret("uint32", m)
    other = b * T.bitwise_and(d, T.int32(0xFFFF))
    carried = (T.bitwise_and(T.reinterpret("int32", low), T.int32(0xFFFF)) + T.bitwise_and(other, T.int32(0xFFFF))) >> T.int32(16)
    low = T.reinterpret("int32", T.shift_right(low, T.uint32(16))) + (other >> T.int32(16)) + carried
    return (a >> T.int32(16)) * m + b * (d >> T.int32(16)) + low


def _clipped(value: Any, step: int, limit: int) -> Any:
    return T.max(T.min(value * T.int32(step), T.int32(limit - 1)), T.int32(-limit))


def _saturated(value: Any, step: int, limit: int) -> Any:
    """One instruction, SSAT with a shift, where the range is that of a signed number."""
    if step & (step - 1) or limit & (limit - 1):
        return _clipped(value, step, limit)
    shifted = T.shift_left(value, T.int32(step.bit_length() - 1))
    return T.call_llvm_pure_intrin("int32", "llvm.arm.ssat", shifted, T.int32(limit.bit_length()))


def _same(value: Any) -> Any:
    return value


SCALAR = Words(full_product, _same, _same, _same, _clipped, _same)
DSP = Words(full_product, fence.pin, fence.pin64, fence.fence, _saturated, fence.with_fences)
THUMB1 = replace(SCALAR, product=product_of_halves)
FAMILIES = {"scalar": SCALAR, "rv32": SCALAR, "thumb1": THUMB1, "dsp": DSP, "dual": DSP, "helium": DSP}
