"""Front-end kernels that run on every sample: common average reference and second-order sections."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import tirx
from tvm.script import tirx as T

from export.tvm.kernels.exact import Exact, width
from export.tvm.kernels.interface import Kernel, Node


def q_common_average(node: Node) -> Kernel:
    """((x * guard) - round_shift(sum(x * good) * reciprocal, k)) * good; bad channels are few and known, so they cost only a store."""
    node.expect(5, 1)
    x = node.tensor(0, "int16", None)
    n = x.shape[0]
    good = node.constant(1, "int8", n)
    if not np.isin(good, (0, 1)).all():
        raise node.refuse("input 1 holds something other than 0 and 1")
    reciprocal, k, guard = node.scalar(2, 0), node.shift(3), node.scalar(4, 1)
    bad = [int(i) for i in np.flatnonzero(good == 0)]
    n_bad = len(bad)
    referenced = reciprocal > 0 and n_bad < n
    mean_bound = (Exact(T.int32(0), n * x.bound) * reciprocal).round_shift(k).bound if referenced else 0
    bound = x.bound * guard + mean_bound
    if bound >= 2**31:
        raise node.refuse(f"its result may reach 2^{bound.bit_length() - 1}, beyond int32", "use fewer guard bits")

    def average(total: Any) -> Any:
        return (Exact(total, n * x.bound) * reciprocal).round_shift(k).to("int32")

    @T.prim_func(s_tir=True)
    def kernel(x: T.Buffer((n,), "int16"), y: T.Buffer((n,), "int32")):
        mean = T.alloc_scalar("int32")
        mean = 0
        if referenced:
            for i in range(n):
                mean = mean + T.cast(x[i], "int32")
            if n_bad > 0:
                for j in T.unroll(n_bad):
                    mean = mean - T.cast(x[choose(bad, j)], "int32")
            mean = average(mean)
        for i in range(n):
            y[i] = T.cast(x[i], "int32") * guard - mean
        if n_bad > 0:
            for j in T.unroll(n_bad):
                y[choose(bad, j)] = 0

    y = node.output(0, "int32", (1, n), bound)
    return Kernel(kernel, (x.name, y.name), (y,))


def q_biquad(node: Node) -> Kernel:
    """A bank of direct-form I sections with the rounding errors fed back; the state is updated in place.

    Taps that are zero in every section (b1 of a band-pass) cost nothing. The others are loaded, not immediates: LLVM does not see
    that an immediate is a sign-extended 32-bit number and would multiply in 64 bits. A sum of products that is too wide for 32 bits is
    taken apart where that makes it fit: whole multiples of 2^k pass the shift by k unchanged and need neither product nor accumulator.
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
    errors = sum(map(abs, feedback)) << k

    def largest(taps: NDArray) -> int:
        return int(max(row[:3].sum() * x.bound + row[3:].sum() * limit for row in np.abs(taps.astype(object))))

    multiples = (coef.astype(np.int64) + (1 << k) // 2) >> k
    rest = (coef - (multiples << k)).astype(np.int32)
    fits = width(max(largest(rest) + errors, largest(multiples))) == "int32" and (multiples == multiples[0]).all()
    if fits and width(largest(coef) + errors) == "int64":
        coef = rest
    else:
        multiples[:] = 0
    bound = largest(coef) + errors
    acc_type = width(bound)
    taps = np.flatnonzero(coef.any(axis=0)).tolist()

    def weighted(values: Sequence[Any], weights: Sequence[int], dtype: str) -> Any:
        terms = (tirx.const(w, dtype) * T.cast(v, dtype) for v, w in zip(values, weights, strict=True) if w)
        return sum(terms, start=tirx.const(0, dtype))

    def accumulated(x: Any, coef: Any, state: Any, s: Any, i: Any) -> Any:
        values = (x[i], *(state[s, row, i] for row in range(4)))
        acc = T.cast(weighted([state[s, 4 + row, i] for row in range(order)], feedback, width(errors)), acc_type)
        for tap in taps:
            acc = acc + T.cast(coef[s, tap], acc_type) * T.cast(values[tap], acc_type)
        return acc

    def error(acc: Any) -> Any:
        return T.cast(acc & tirx.const((1 << k) - 1, acc_type), "int32")

    def output(acc: Any, x: Any, state: Any, s: Any, i: Any) -> Any:
        values = (x[i], *(state[s, row, i] for row in range(4)))
        past = weighted(values, [int(m) for m in multiples[0]], "int32")
        return (Exact(acc, bound).floor_shift(k) + Exact(past, largest(multiples))).clip(limit).to("int32")

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int32"),
        coef: T.Buffer((sections, 5), "int32"),
        state: T.Buffer((sections, 4 + order, n), "int32"),
        y: T.Buffer((sections, n), "int32"),
    ):
        for s in range(sections):
            for i in range(n):
                acc: T.let = accumulated(x, coef, state, s, i)
                out: T.let = output(acc, x, state, s, i)
                state[s, 1, i] = state[s, 0, i]
                state[s, 0, i] = x[i]
                state[s, 3, i] = state[s, 2, i]
                state[s, 2, i] = out
                if order == 2:
                    state[s, 5, i] = state[s, 4, i]
                state[s, 4, i] = error(acc)
                y[s, i] = out

    y = node.output(0, "int32", (sections, n), limit)
    after = node.output(1, "int32", state.shape, max(x.bound, limit, 2**k - 1))
    return Kernel(kernel, (x.name, np.ascontiguousarray(coef), state.name, y.name), (y, after), {after.name: state.name})


def choose(values: Sequence[int], index: Any) -> Any:
    """``values[index]`` for the index of an unrolled loop: folds to one immediate."""
    chosen = tirx.const(values[-1], "int32")
    for i in reversed(range(len(values) - 1)):
        chosen = T.Select(index == i, tirx.const(values[i], "int32"), chosen)
    return chosen
