"""A bank of second-order filter sections."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node, full_range
from quantization.operators.biquad import STEP, SUM_LIMIT, WORD_BITS


def scalar(node: Node) -> Kernel:
    """The sum of products in 64 bits; its upper word, saturated, is the output, its lower word the error that is fed back."""
    node.expect(5, 3)
    x = node.tensor(0, "int32", None, 1)
    n = x.shape[0]
    coef = node.constant(1, "int32", None, None)
    sections, order = len(coef), coef.shape[1] - 5
    if order not in (1, 2) or (coef[:, 5:] != coef[0, 5:]).any():
        raise node.refuse("its sections do not all feed back the same one or two errors")
    feedback = [int(f) for f in coef[0, 5:]]
    coef = np.ascontiguousarray(coef[:, :5])
    history = node.tensor(2, "int32", n, 2)
    state = node.tensor(3, "int32", n, sections, 2 + order)
    limit = node.scalar(4, 1)
    taps = np.abs(coef.astype(np.int64))
    bound = int((taps[:, :3].sum(axis=1) * x.bound + taps[:, 3:].sum(axis=1) * limit).max()) + (sum(map(abs, feedback)) << WORD_BITS)
    if limit > 2**30 or bound >= SUM_LIMIT:
        raise node.refuse(f"its sums may reach 2^{bound.bit_length() - 1}, beyond 2^{SUM_LIMIT.bit_length() - 1}")

    def error(state: Any, i: Any, s: Any) -> Any:
        """Sum of the fed-back errors, which are unsigned words."""
        total = T.int64(0)
        for row, factor in enumerate(feedback):
            total = total + T.cast(T.reinterpret("uint32", state[i, s, 2 + row]), "int64") * T.int64(factor)
        return total

    def product(coef: Any, value: Any) -> Any:
        return T.cast(coef, "int64") * T.cast(value, "int64")

    def output(acc: Any) -> Any:
        upper = Exact(T.cast(acc >> T.int64(WORD_BITS), "int32") * STEP, full_range("int32"))
        return T.max(T.min(upper.value, T.int32(limit - 1)), T.int32(-limit))

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n,), "int32"),
        coef: T.Buffer((sections, 5), "int32"),
        history: T.Buffer((n, 2), "int32"),
        state: T.Buffer((n, sections, 2 + order), "int32"),
        y: T.Buffer((n, sections), "int32"),
    ):
        acc = T.alloc_scalar("int64")
        for i in range(n):
            for s in range(sections):
                acc = error(state, i, s) + product(coef[s, 0], x[i]) + product(coef[s, 1], history[i, 0])
                acc = acc + product(coef[s, 2], history[i, 1])
                acc = acc + product(coef[s, 3], state[i, s, 0]) + product(coef[s, 4], state[i, s, 1])
                state[i, s, 1] = state[i, s, 0]
                state[i, s, 0] = output(acc)
                y[i, s] = state[i, s, 0]
                if order == 2:
                    state[i, s, 3] = state[i, s, 2]
                state[i, s, 2] = T.cast(acc, "int32")
            history[i, 1] = history[i, 0]
            history[i, 0] = x[i]

    y = node.output(0, "int32", (n, sections), limit)
    entered = node.output(1, "int32", history.shape, x.bound)
    after = node.output(2, "int32", state.shape, full_range("int32"))
    states = {entered.name: history.name, after.name: state.name}
    return Kernel(kernel, (x.name, coef, history.name, state.name, y.name), (y, entered, after), states)
