"""The residual stream."""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

from tvm.script import tirx as T

from firmware_sim.compiler.kernels.dsp import FLAGS, qadd16, symmetric, whole_words
from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.fence import fence, pin, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor

_WORDS = 2  # of each summand that the loop's body adds, at most: their loads are one run


def scalar(node: Node) -> Kernel:
    """sat16(a + b)."""
    a, b, y = _operands(node)
    n = a.shape[0]

    def added(left: Any, right: Any) -> Any:
        return (Exact(left, a.bound) + Exact(right, b.bound)).saturate(16)

    @T.prim_func(s_tir=True)
    def kernel(a: T.Buffer((n,), "int16"), b: T.Buffer((n,), "int16"), y: T.Buffer((n,), "int16")):
        for i in range(n):
            y[i] = added(a[i], b[i])

    return Kernel(kernel, (a.name, b.name, y.name), (y,))


def dsp(node: Node) -> Kernel:
    """The same by words of two."""
    a, b, y = _operands(node)
    if not whole_words(a, b):
        return scalar(node)
    n = a.shape[0]
    words = n // 2
    step = divisor(words, _WORDS)

    @T.prim_func(s_tir=True)
    def kernel(a: T.Buffer((words,), "int32"), b: T.Buffer((words,), "int32"), y: T.Buffer((n,), "int16")):
        left = T.alloc_buffer((step,), "int32")
        right = T.alloc_buffer((step,), "int32")
        for i in range(pin(T.int32(words // step))):
            for j in T.unroll(step):
                left[j] = a[i * step + j]
                right[j] = b[i * step + j]
            for j in T.unroll(step):
                right[j] = fence(right[j])
            for j in T.unroll(step):
                left[j] = symmetric(qadd16(left[j], right[j]))
                y[2 * (i * step + j)] = T.cast(left[j], "int16")
                y[2 * (i * step + j) + 1] = T.cast(left[j] >> 16, "int16")

    return Kernel(with_fences(kernel), (a.name, b.name, y.name), (y,), flags=FLAGS)


def _operands(node: Node) -> tuple[Value, Value, Value]:
    node.expect(2, 1)
    a = node.tensor(0, "int16", None)
    b = node.tensor(1, "int16", *a.shape)
    return a, b, node.output(0, "int16", a.shape, min(a.bound + b.bound, 32767))
