"""Second-order sections: they run on every sample."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact, width
from firmware_sim.compiler.kernels.interface import Kernel, Node


def scalar(node: Node) -> Kernel:
    """A bank of direct-form I sections with the rounding errors fed back; the state is updated in place.

    Taps that are zero in every section (b1 of a band-pass) cost nothing. The others are loaded, not immediates: LLVM does not see
    that an immediate is a sign-extended 32-bit number and would multiply in 64 bits. A sum of products that is too wide for 32 bits is
    taken apart where that makes it fit (:func:`_sums`).
    """
    node.expect(5, 2)
    x = node.tensor(0, "int32", 1, None)
    n = x.shape[1]
    coef = node.constant(1, "int32", None, None)
    sections, order = len(coef), coef.shape[1] - 5
    if order not in (1, 2) or (coef[:, 5:] != coef[0, 5:]).any():
        raise node.refuse("its sections do not all feed back the same one or two errors")
    coef, feedback = coef[:, :5], [int(f) for f in coef[0, 5:]]
    state = node.tensor(2, "int32", sections, 4 + order, n)
    k, limit = node.shift(3), node.scalar(4, 0)
    if k > 31 or limit >= 2**31:
        raise node.refuse(f"two_k = 2^{k} or limit = {limit} leaves int32")
    sums = _sums(coef, k, x.bound, limit, sum(map(abs, feedback)) << k)
    coef, j = sums.coef, sums.dropped
    taps = np.flatnonzero(coef[:, :6].any(axis=0)).tolist()
    low_type, acc_type = width(sums.low), width(sums.total)

    def weighted(values: Sequence[Any], weights: Sequence[int], dtype: str) -> Any:
        terms = (tirx.const(w, dtype) * T.cast(v, dtype) for v, w in zip(values, weights, strict=True) if w)
        return sum(terms, start=tirx.const(0, dtype))

    def lowest(coef: Any, state: Any, s: Any, i: Any) -> Any:
        low = weighted([state[s, 4 + row, i] for row in range(order)], feedback, low_type)
        return low + T.cast(coef[s, 6], low_type) * T.cast(state[s, 2, i], low_type) if j else low

    def accumulated(low: Any, x: Any, coef: Any, state: Any, s: Any, i: Any) -> Any:
        values = (x[i], *(state[s, row, i] for row in range(4)), state[s, 3, i] - state[s, 2, i])
        acc = T.cast(low >> tirx.const(j, low_type), acc_type) if j else T.cast(low, acc_type)
        for tap in taps:
            acc = acc + T.cast(coef[s, tap], acc_type) * T.cast(values[tap], acc_type)
        return acc

    def error(acc: Any, low: Any) -> Any:
        upper = T.cast(acc & tirx.const((1 << k - j) - 1, acc_type), "int32")
        return (upper << j) | T.cast(low & tirx.const((1 << j) - 1, low_type), "int32") if j else upper

    def output(acc: Any, x: Any, state: Any, s: Any, i: Any) -> Any:
        values = (x[i], *(state[s, row, i] for row in range(4)))
        past = weighted(values, sums.whole, "int32")
        return (Exact(acc, sums.total).floor_shift(k - j) + Exact(past, sums.past)).clip(limit).to("int32")

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int32"),
        coef: T.Buffer((sections, 7), "int32"),
        state: T.Buffer((sections, 4 + order, n), "int32"),
        y: T.Buffer((sections, n), "int32"),
    ):
        for s in range(sections):
            for i in range(n):
                low: T.let = lowest(coef, state, s, i)
                acc: T.let = accumulated(low, x, coef, state, s, i)
                out: T.let = output(acc, x, state, s, i)
                state[s, 1, i] = state[s, 0, i]
                state[s, 0, i] = x[i]
                state[s, 3, i] = state[s, 2, i]
                state[s, 2, i] = out
                if order == 2:
                    state[s, 5, i] = state[s, 4, i]
                state[s, 4, i] = error(acc, low)
                y[s, i] = out

    y = node.output(0, "int32", (sections, n), limit)
    after = node.output(1, "int32", state.shape, max(x.bound, limit, 2**k - 1))
    return Kernel(kernel, (x.name, coef, state.name, y.name), (y, after), {after.name: state.name})


@dataclass(frozen=True)
class _Sums:
    """How the products of a bank of sections are added: floor(acc / 2^k) is floor((low >> dropped + taps) / 2^(k - dropped)) + whole.

    Attributes:
        whole: multiples of 2^k in the coefficients of x, x1, x2, y1, y2, which pass the shift unchanged and need no accumulator.
        coef: (sections, 7) int32: of these five, of y2 - y1, and of y1 in ``low``, to which the fed-back errors belong.
        dropped: bits of ``low`` that no tap reaches.
        low, total, past: largest absolute values of the low sum, of all that is shifted, and of the whole multiples.
    """

    whole: list[int]
    coef: NDArray[np.int32]
    dropped: int
    low: int
    total: int
    past: int


def _sums(coef: NDArray, k: int, x: int, limit: int, errors: int) -> _Sums:
    """The first way that 32 bits hold: as it stands; without whole multiples; these and with the difference of outputs; or in 64 bits.

    r1 y1 + r2 y2 = (r1 + r2) y1 + r2 (y2 - y1). Poles near 1 leave a small r1 + r2, and where r2 is a multiple of 2^j the second
    product does not reach the j lowest bits (:mod:`quantization.operators.biquad` rounds it so).

    Args:
        coef: (sections, 5), times 2^k.
        x, limit, errors: largest absolute values of inputs, outputs and fed-back errors.
    """
    exact = coef.astype(object)  # products of two int32 and their sums

    def added(taps: NDArray) -> int:
        return int(max(row[:3].sum() * x + row[3:].sum() * limit for row in np.abs(taps)))

    whole = (exact + (1 << k) // 2) >> k
    rest = exact - (whole << k)
    past = added(whole)
    ways = [_Sums([0] * 5, _columns(exact), 0, errors, added(exact) + errors, 0)]
    if (whole == whole[0]).all():
        ways.append(_Sums(whole[0].tolist(), _columns(rest), 0, errors, added(rest) + errors, past))
        common = math.gcd(1 << k, *rest[:, 4].tolist())
        if common > 1 and not rest[:, :3].any():
            j, taps, fine = common.bit_length() - 1, rest * 0, rest[:, 3] + rest[:, 4]
            low = int(np.abs(fine).max()) * limit + errors
            total = (int(np.abs(rest[:, 4]).max()) >> j) * 2 * limit + (low >> j) + 1
            ways.append(_Sums(whole[0].tolist(), _columns(taps, rest[:, 4] >> j, fine), j, low, total, past))
    return next((way for way in ways if width(max(way.low, way.total, way.past)) == "int32"), ways[0])


def _columns(taps: NDArray, difference: NDArray | int = 0, fine: NDArray | int = 0) -> NDArray[np.int32]:
    columns = np.zeros((len(taps), 7), np.int32)
    columns[:, :5], columns[:, 5], columns[:, 6] = taps, difference, fine
    return columns
