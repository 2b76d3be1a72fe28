"""Helium, the vector extension of ARMv8.1-M (MVE), as TIR expressions: one instruction each, through LLVM's intrinsics.

A vector has 128 bits: 16 lanes of int8, 8 of int16 or 4 of int32, the first lane at the lowest address. An even lane of int16 is the lower
half ("bottom") of a lane of int32, the odd one behind it the upper half ("top"). Integers only. What an instruction computes: Arm
DDI 0553 (ARMv8-M), chapter C2.
"""

from typing import Any

from tvm.script import tirx as T

VECTOR_BYTES = 16
_GREATEST = {8: 127, 16: 32767}  # by bits: the integers of the step graphs saturate symmetrically


def run(first: Any, lanes: int) -> Any:
    """The indices of neighbouring elements of a buffer: those of one load or store."""
    return T.ramp(first, 1, lanes)


def vmladava(acc: Any, a: Any, b: Any) -> Any:
    """acc + the sum of all lanes of a * b, in 32 bits; int8 or int16."""
    return T.call_llvm_pure_intrin("int32", "llvm.arm.mve.vmldava", T.int32(0), T.int32(0), T.int32(0), acc, a, b)


def vmulh(a: Any, b: Any) -> Any:
    """floor(a * b / 2^32) by lane of int32."""
    return T.call_llvm_pure_intrin("int32x4", "llvm.arm.mve.vmulh", a, b, T.int32(0))


def carry(a: Any, b: Any) -> Any:
    """1 where a + b of lanes of uint32 leaves 32 bits, 0 elsewhere, as int32: the highest bit of half the sum (VHADD)."""
    half = T.call_llvm_pure_intrin("uint32x4", "llvm.arm.mve.vhadd", a, b, T.int32(1))
    return T.reinterpret("int32x4", T.shift_right(half, T.broadcast(T.uint32(31), 4)))


def vqrdmladh(into: Any, a: Any, b: Any, exchanged: bool) -> Any:
    """``into``, of int16, with sat16(round_shift(a.even b.even + a.odd b.odd, 15)) in its even lanes.

    Or ``exchanged``, with sat16(round_shift(a.even b.odd + a.odd b.even, 15)) in its odd lanes.
    """
    return T.call_llvm_pure_intrin("int16x8", "llvm.arm.mve.vqdmlad", into, a, b, T.int32(exchanged), T.int32(1), T.int32(0))


def with_even(into: Any, values: Any) -> Any:
    """Lanes of int16: the even ones of ``into``; behind each of them the even one of ``values`` (VSLI)."""
    return _inserted("vsli", into, values)


def with_odd(into: Any, values: Any) -> Any:
    """Lanes of int16: the odd ones of ``into``; before each of them the odd one of ``values`` (VSRI)."""
    return _inserted("vsri", into, values)


def _inserted(name: str, into: Any, values: Any) -> Any:
    return halves(T.call_llvm_pure_intrin("int32x4", f"llvm.arm.mve.{name}", words(into), words(values), T.int32(16)))


def vmull(a: Any, b: Any, top: bool) -> Any:
    """a * b of the odd (``top``) or even lanes of int16, as lanes of int32."""
    return T.call_llvm_pure_intrin("int32x4", "llvm.arm.mve.vmull", a, b, T.int32(0), T.int32(top))


def narrowed(into: Any, values: Any, shift: int, top: bool, rounded: bool = True) -> Any:
    """``into``, of int16, with values / 2^shift, rounded or else floored, saturated, in its odd (``top``) or even lanes. 1 <= shift."""
    if shift > 16:  # the instruction shifts by 16 at most; what lies below the rest decides nothing
        values, shift = values >> T.broadcast(T.int32(shift - 16), 4), 16
    flags = (T.int32(flag) for flag in (1, rounded, 0, 0, top))
    return T.call_llvm_pure_intrin("int16x8", "llvm.arm.mve.vshrn", into, values, T.int32(shift), *flags)


def raised(values: Any, bits: int) -> Any:
    """values * 2^bits of lanes of int32."""
    return T.shift_left(values, T.broadcast(T.int32(bits), 4)) if bits else values


def symmetric16(values: Any) -> Any:
    """Lanes of int16 with -32767 in place of -32768."""
    return T.max(values, T.broadcast(T.int16(-_GREATEST[16]), 8))


def clamped(values: Any, bits: int) -> Any:
    """Lanes of int16 in the symmetric range of ``bits``, 8 or 16."""
    return (
        symmetric16(values)
        if bits == 16
        else T.max(T.min(values, T.broadcast(T.int16(_GREATEST[bits]), 8)), T.broadcast(T.int16(-_GREATEST[bits]), 8))
    )


def halves(words: Any) -> Any:
    """Lanes of int32 as twice as many of int16."""
    return T.reinterpret("int16x8", words)


def words(halves: Any) -> Any:
    """Lanes of int16 as half as many of int32."""
    return T.reinterpret("int32x4", halves)
