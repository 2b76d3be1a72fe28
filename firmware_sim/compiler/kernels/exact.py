"""Integer expressions that carry a bound, so that every operation is done in the narrowest width that is exact."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx
from tvm.script import tirx as T


def width(bound: int) -> str:
    """The narrower of int32 and int64 that holds every value up to ``bound``: 32-bit cores compute in one of these.

    Raises:
        OverflowError: neither does.
    """
    if bound < 2**31:
        return "int32"
    if bound < 2**63:
        return "int64"
    raise OverflowError(f"values may reach 2^{bound.bit_length() - 1}, beyond 64 bits")


def peak(array: NDArray) -> int:
    """Largest absolute value of an integer array."""
    return max(int(array.max()), -int(array.min()))


def stored(array: NDArray) -> NDArray:
    """The same integers in the narrowest type from int16 on that holds them all: what flash and loads cost."""
    for dtype in (np.int16, np.int32):
        if np.array_equal(array.astype(dtype), array):
            return np.ascontiguousarray(array, dtype)
    return np.ascontiguousarray(array, np.int64)


@dataclass(frozen=True)
class Arithmetic:
    """How a core computes what it has no instruction for; each is a function of TIR expressions.

    Attributes:
        product: of two int32, an int64.
        clipped: min(max(v, -limit), limit) of an int32; it takes v and limit.
    """

    product: Callable[[Any, Any], Any]
    clipped: Callable[[Any, int], Any]


_arithmetic: ContextVar[Arithmetic | None] = ContextVar("arithmetic", default=None)


@contextmanager
def computed_by(arithmetic: Arithmetic) -> Iterator[None]:
    """Expressions that are formed inside the ``with`` are those of a core; otherwise they are TIR's own."""
    token = _arithmetic.set(arithmetic)
    try:
        yield
    finally:
        _arithmetic.reset(token)


@dataclass(frozen=True)
class Exact:
    """A TIR integer expression whose absolute value never exceeds ``bound``."""

    value: Any  # tvm.ir.Expr
    bound: int

    def __add__(self, other: Exact | int) -> Exact:
        return self._combine(other, operator.add, lambda a, b: a + b)

    def __sub__(self, other: Exact | int) -> Exact:
        return self._combine(other, operator.sub, lambda a, b: a + b)

    def __mul__(self, other: Exact | int) -> Exact:
        arithmetic = _arithmetic.get()
        if arithmetic and isinstance(other, Exact) and max(self.bound, other.bound) < 2**31 <= self.bound * other.bound:
            return Exact(arithmetic.product(self.to("int32"), other.to("int32")), self.bound * other.bound)
        return self._combine(other, operator.mul, lambda a, b: a * b)

    def _combine(self, other: Exact | int, function: Callable, bound: Callable[[int, int], int]) -> Exact:
        if isinstance(other, int):
            other = Exact(tirx.const(other, width(abs(other))), abs(other))
        result = bound(self.bound, other.bound)
        dtype = width(max(result, self.bound, other.bound))
        return Exact(function(self.to(dtype), other.to(dtype)), result)

    def to(self, dtype: str) -> Any:
        """The expression in another width."""
        return T.cast(self.value, dtype)

    def floor_shift(self, k: int) -> Exact:
        """floor(v / 2^k): an arithmetic shift."""
        dtype, bound = width(self.bound), (self.bound + (1 << k) - 1) >> k
        return Exact(T.cast(self.to(dtype) >> tirx.const(k, dtype), width(bound)), bound)

    def round_shift(self, k: int) -> Exact:
        """floor((v + floor(2^k / 2)) / 2^k)."""
        return (self + ((1 << k) >> 1)).floor_shift(k) if k else self

    def clip(self, limit: int) -> Exact:
        """min(max(v, -limit), limit)."""
        if self.bound <= limit:
            return self
        dtype, arithmetic = width(max(self.bound, limit)), _arithmetic.get()
        if arithmetic and dtype == "int32":
            return Exact(arithmetic.clipped(self.to(dtype), limit), limit)
        clipped = T.max(T.min(self.to(dtype), tirx.const(limit, dtype)), tirx.const(-limit, dtype))
        return Exact(T.cast(clipped, width(limit)), limit)

    def saturate(self, bits: int) -> Any:
        """The expression clipped to the symmetric range of ``bits``, in the type that is stored."""
        return self.clip((1 << (bits - 1)) - 1).to(f"int{bits}")


def interpolate(table: Any, bound: int, segment: Any, fraction: Any, bits: int) -> Exact:
    """round_shift(T[i] * (2^bits - f) + T[i + 1] * f, bits) for an int32 ``fraction`` in [0, 2^bits).

    ``bound`` is that of the table's entries; a weighted mean does not exceed it.
    """
    f = Exact(fraction, 1 << bits)
    left, right = Exact(table[segment], bound), Exact(table[segment + 1], bound)
    mean = left * Exact((1 << bits) - fraction, 1 << bits) + right * f
    return Exact(mean.round_shift(bits).value, bound)


def floor_log2(v: Any) -> Any:
    """Position of the highest set bit of a positive int64, as int32."""
    return 63 - T.clz(v)


def mantissa(v: Any, p: Any) -> Any:
    """floor(2^14 v / 2^p) - 2^14 in [0, 2^14), as int32, of an int64 ``v`` below 2^48 with p = floor(log2 v)."""
    return T.cast((v << T.int64(14)) >> T.cast(p, "int64"), "int32") - (1 << 14)
