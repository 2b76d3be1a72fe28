"""The DSP extension of ARMv7E-M and of ARMv8-M as TIR expressions: one instruction each, through LLVM's intrinsics.

A word is an int32 that holds two int16, the first in its lower half, as memory does. Sums of products wrap around: their exactness is the
caller's business. What an instruction computes: Arm ARM, DDI 0403 (ARMv7-M), chapter A7.
"""

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.interface import Value

# Loads in pairs (LDRD, LDM) save no cycle against single ones in a run, and their addresses cost some.
FLAGS = {"cl-opt": ("-arm-load-store-opt:bool=false",)}
ONES = T.int32(0x00010001)  # both halves of a word


def whole_words(*values: Value) -> bool:
    """Whether vectors of int16 are read by words."""
    return all(value.alignment % 4 == 0 and value.nbytes % 4 == 0 for value in values)


def smlad(a: Any, b: Any, acc: Any) -> Any:
    """acc + a.low * b.low + a.high * b.high, in 32 bits."""
    return _call("int32", "smlad", a, b, acc)


def smlald(a: Any, b: Any, acc: Any) -> Any:
    """The same in 64 bits: ``acc`` is an int64."""
    return _call("int64", "smlald", a, b, acc)


def smulbb(a: Any, b: Any) -> Any:
    """a.low * b.low"""
    return _call("int32", "smulbb", a, b)


def smultb(a: Any, b: Any) -> Any:
    """a.high * b.low"""
    return _call("int32", "smultb", a, b)


def smlabb(a: Any, b: Any, acc: Any) -> Any:
    """acc + a.low * b.low"""
    return _call("int32", "smlabb", a, b, acc)


def smlabt(a: Any, b: Any, acc: Any) -> Any:
    """acc + a.low * b.high"""
    return _call("int32", "smlabt", a, b, acc)


def smlatb(a: Any, b: Any, acc: Any) -> Any:
    """acc + a.high * b.low"""
    return _call("int32", "smlatb", a, b, acc)


def smlatt(a: Any, b: Any, acc: Any) -> Any:
    """acc + a.high * b.high"""
    return _call("int32", "smlatt", a, b, acc)


def sxtb16(word: Any, right: Any = 0) -> Any:
    """The bytes 0 and 2 of a word, after it was turned ``right`` by so many bits, as two int16."""
    return _call("int32", "sxtb16", T.call_llvm_pure_intrin("int32", "llvm.fshr", word, word, right))


def uxtb16(word: Any) -> Any:
    """The bytes 0 and 2 of a word, none of them negative, as two int16."""
    return T.bitwise_and(word, T.int32(0x00FF00FF))


def ssat(value: Any, bits: int) -> Any:
    """An int32 in the range of so many bits, the least number included; a right shift of ``value`` becomes part of the instruction."""
    return _call("int32", "ssat", value, T.int32(bits))


def ssat16(value: Any) -> Any:
    """An int32 in the range of int16, -32768 included."""
    return ssat(value, 16)


def packed(low: Any, high: Any) -> Any:
    """Two int32 in the range of int16 as a word (PKHBT)."""
    return T.bitwise_or(T.bitwise_and(low, T.int32(0xFFFF)), T.shift_left(high, T.int32(16)))


def joined(low: Any, high: Any) -> Any:
    """Two int32 as the lower and upper half of an int64."""
    return T.bitwise_or(T.cast(T.reinterpret("uint32", low), "int64"), T.shift_left(T.cast(high, "int64"), T.int64(32)))


def symmetric(word: Any, ones: Any = ONES) -> Any:
    """Both halves with -32767 in place of -32768: the integers of the step graphs saturate symmetrically (QSUB16, SADD16).

    ``ones`` is :data:`ONES`, which the caller may keep in a register.
    """
    return _call("int32", "sadd16", _call("int32", "qsub16", word, ones), ones)


def symmetric_pair(low: Any, high: Any, bits: int) -> Any:
    """Two int32 in the range of int8 or int16 as a word, the least number replaced as above; of int8 the upper bytes are but signs."""
    if bits == 16:
        return symmetric(packed(low, high))
    ones = ONES * 0x101
    return _call("int32", "sadd8", _call("int32", "qsub8", packed(low, high), ones), ones)


def tops(low: Any, high: Any) -> Any:
    """The upper halves of two int32 as a word (PKHTB)."""
    upper = T.bitwise_and(high, T.int32(-0x10000))
    return T.bitwise_or(upper, T.bitwise_and(T.shift_right(low, T.int32(16)), T.int32(0xFFFF)))


def qdadd(a: Any, v: Any) -> Any:
    """a + 2 v, where both the double and the sum saturate to int32."""
    return _call("int32", "qadd", a, _call("int32", "qadd", v, v))


def sadd16(a: Any, b: Any) -> Any:
    """The sums of the halves, which wrap around."""
    return _call("int32", "sadd16", a, b)


def qadd16(a: Any, b: Any) -> Any:
    """The sums of the halves, each saturated to int16."""
    return _call("int32", "qadd16", a, b)


def wrapping_difference(a: Any, b: Any) -> Any:
    """a - b modulo 2^32: of int32, LLVM may take for granted that nothing wraps."""
    return T.reinterpret("int32", T.reinterpret("uint32", a) - T.reinterpret("uint32", b))


def high_word(value: Any) -> Any:
    """floor(value / 2^32) of an int64; of a product of two int32 one instruction (SMMUL)."""
    return T.cast(value >> T.int64(32), "int32")


def rounded16(high: Any, k: int, half: Any = None) -> Any:
    """round_shift(v, k) in the range of int16, from ``high`` = floor(v / 2^32): the bits below do not matter where 33 <= k <= 62.

    |v| is below 2^62. With 2^(k - 1) a multiple of 2^32, floor((v + 2^(k - 1)) / 2^k) = floor((high + 2^(k - 33)) / 2^(k - 32)).
    """
    return ssat16((high + (T.int32(1 << (k - 33)) if half is None else half)) >> T.int32(k - 32))


def _call(dtype: str, name: str, *operands: Any) -> Any:
    return T.call_llvm_pure_intrin(dtype, f"llvm.arm.{name}", *operands)
