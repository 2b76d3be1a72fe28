"""Threshold crossings of a bin."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.interface import Kernel, Node, full_range


def scalar(node: Node) -> Kernel:
    """Counts downward threshold crossings; the counts are handed over at the bin's edge. All of the state is updated in place."""
    node.expect(7, 5)
    y = node.tensor(0, "int32", None, 1)
    n = y.shape[0]
    threshold = node.constant(1, "int32", n)
    phase, below = node.tensor(2, "int32", 1), node.tensor(3, "int8", n)
    count, held = node.tensor(4, "int16", n), node.tensor(5, "int16", n)
    ticks = node.scalar(6, 1)

    def one_more(count_value: Any) -> Any:
        return (Exact(count_value, full_range("int16")) + 1).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(
        y: T.Buffer((n,), "int32"),
        threshold: T.Buffer((n,), "int32"),
        phase: T.Buffer((1,), "int32"),
        below: T.Buffer((n,), "int8"),
        count: T.Buffer((n,), "int16"),
        held: T.Buffer((n,), "int16"),
        valid: T.Buffer((1,), "int32"),
    ):
        phase[0] = phase[0] + 1
        valid[0] = 0
        for i in range(n):
            if y[i] < threshold[i]:
                if below[i] == T.int8(0):
                    count[i] = one_more(count[i])
                below[i] = T.int8(1)
            else:  # nearly every sample: the count is not even read
                below[i] = T.int8(0)
        if phase[0] == ticks:
            for i in range(n):
                held[i] = count[i]
                count[i] = T.int16(0)
            phase[0] = 0
            valid[0] = 1

    outputs = (
        node.output(0, "int16", (n,), 32767),
        node.output(1, "int32", (1,), 1),
        node.output(2, "int32", (1,), ticks),
        node.output(3, "int8", (n,), 1),
        node.output(4, "int16", (n,), 32767),
    )
    states = dict(zip((outputs[i].name for i in (0, 2, 3, 4)), (held.name, phase.name, below.name, count.name), strict=True))
    pointers = (y.name, threshold, phase.name, below.name, count.name, held.name, outputs[1].name)
    return Kernel(kernel, pointers, outputs, states)
