"""Matrix times vector on ARMv6-M, which loads unsigned bytes by an offset, but signed ones by a second register only.

With w + 128 and x + h in place of w and x (h is half of what their type spans), both without a sign,

    sum of w x = sum of (w + 128) (x + h) - h sum of (w + 128) - 128 sum of (x + h) + 128 h n

where the second sum is a constant of the row and the third one is the same for all rows. Words wrap around; the whole sum stays in int32.
"""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.fence import fence, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor, full_range
from firmware_sim.compiler.kernels.plain import THUMB1, with_plain
from firmware_sim.compiler.kernels.products import ROWS, Product, block_starts, read_product
from firmware_sim.compiler.kernels.requantise import lifted

_BODY = 8  # columns in the loop's body, at most: 32 weights, as far as an offset of 5 bits reaches


def unsigned_product(node: Node, dtype: str) -> Kernel | None:
    """sat16(round_shift((x W + b) * mult, k)) for x of ``dtype``; None where a sum leaves int32."""
    product = read_product(node, dtype)
    return None if product.bound >= 2**31 else _kernel(node, product)


def _constants(product: Product, raised: NDArray[np.uint8], half: int, mult: NDArray, starts: NDArray, rows: int) -> NDArray[np.int32]:
    """(block, 2, row): where the sums begin, and the multipliers."""
    index = np.add.outer(starts, np.arange(rows))
    begins = product.bias.astype(np.int64) - half * raised.sum(axis=1, dtype=np.int64) + 128 * half * raised.shape[1]
    return np.stack([begins[index].astype(np.uint64).astype(np.uint32).view(np.int32), mult[index]], axis=1)


def _kernel(node: Node, product: Product) -> Kernel:
    x, bound = product.x, product.bound
    dtype, half = x.dtype, full_range(x.dtype)
    n_out, n_in = product.weight.shape
    rows = min(ROWS, n_out)
    starts = block_starts(n_out, rows)
    raised = (product.weight.astype(np.int16) + 128).astype(np.uint8)
    weight = np.ascontiguousarray(raised[np.add.outer(starts, np.arange(rows))].transpose(0, 2, 1)).view(np.int8)  # (block, column, row)
    k, (mult,) = lifted(product.k, product.mult)
    constants = _constants(product, raised, half, mult, starts, rows)
    blocks, last = len(starts), n_out - rows
    batch = divisor(n_in, _BODY)

    def word(value: Any) -> Any:
        return T.cast(T.reinterpret(f"u{value.ty.dtype}", value), "uint32")

    def fenced(value: Any) -> Any:
        return T.reinterpret("uint32", fence(T.reinterpret("int32", value)))

    def finished(acc: Any, mult: Any) -> Any:
        return T.cast(THUMB1.requantised16(Exact(T.reinterpret("int32", acc), bound), mult, k), "int16")

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n_in,), dtype),
        weight: T.Buffer(weight.shape, "int8"),
        constants: T.Buffer(constants.shape, "int32"),
        y: T.Buffer((n_out,), "int16"),
        raised: T.Buffer((n_in,), dtype),
    ):
        acc = T.alloc_buffer((rows,), "uint32")
        value = T.alloc_scalar("uint32")
        of_x = T.alloc_scalar("uint32")
        of_x = T.uint32(0)
        for i in range(n_in):
            value = T.reinterpret("uint32", T.cast(x[i], "int32") + half)
            raised[i] = T.cast(T.reinterpret("int32", value), dtype)
            of_x = fenced(of_x + value)
        for block in range(blocks):
            for r in T.unroll(rows):
                acc[r] = T.reinterpret("uint32", constants[block, 0, r]) - of_x * T.uint32(128)
            for i in range(n_in // batch):
                for b in T.unroll(batch):
                    value = word(raised[i * batch + b])
                    for r in T.unroll(rows):
                        acc[r] = fenced(acc[r] + value * word(weight[block, i * batch + b, r]))
            for r in T.unroll(rows):
                y[T.min(block * rows, last) + r] = finished(acc[r], constants[block, 1, r])

    y = node.output(0, "int16", (n_out,), 32767)
    own = Value(f"{y.name}.raised", dtype, (n_in,), half)
    pointers: tuple[str | NDArray, ...] = (x.name, weight, constants, y.name, own.name)
    return Kernel(with_plain(with_fences(kernel)), pointers, (y,), macs=n_in * n_out, scratch=(own,))
