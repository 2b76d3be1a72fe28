"""Matrix times vector with one multiplication for two terms, for cores whose multiplication takes longer than two additions.

Winograd's inner product (IEEE Trans. Comput. C-17, 1968): the sum of x_k w_k over a pair of columns is

    (x_0 + w_1) (x_1 + w_0) - x_0 x_1 - w_0 w_1

where x_0 x_1 is the same for all rows and w_0 w_1 a constant. Words wrap around, and the whole sum does not leave int32.
"""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.fence import fence, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node, divisor
from firmware_sim.compiler.kernels.plain import RV32, with_plain
from firmware_sim.compiler.kernels.products import Product, block_starts, read_product
from firmware_sim.compiler.kernels.requantise import lifted

_ROWS = 8
_BODY = 4  # pairs of columns in the loop's body, at most


def paired_product(node: Node, dtype: str) -> Kernel | None:
    """sat16(round_shift((x W + b) * mult, k)) for x of ``dtype``; None for an odd number of columns or a sum that leaves int32."""
    product = read_product(node, dtype)
    if product.weight.shape[1] % 2 or product.bound >= 2**31:
        return None
    return _kernel(node, product)


def _weights(weight: NDArray, starts: NDArray, rows: int) -> NDArray[np.int8]:
    """(block, pair of columns, row, column)."""
    blocks = weight[np.add.outer(starts, np.arange(rows))]
    return np.ascontiguousarray(blocks.reshape(*blocks.shape[:2], -1, 2).transpose(0, 2, 1, 3))


def _constants(product: Product, mult: NDArray, starts: NDArray, rows: int) -> NDArray[np.int32]:
    """(block, 2, row): where the sums begin, and the multipliers."""
    index = np.add.outer(starts, np.arange(rows))
    pairs = product.weight.astype(np.int64).reshape(len(product.weight), -1, 2)
    begins = product.bias.astype(np.int64) - (pairs[..., 0] * pairs[..., 1]).sum(axis=1)
    return np.stack([begins[index].astype(np.uint64).astype(np.uint32).view(np.int32), mult[index]], axis=1)


def _kernel(node: Node, product: Product) -> Kernel:
    x, dtype, bound = product.x, product.x.dtype, product.bound
    n_out, n_in = product.weight.shape
    rows = min(_ROWS, n_out)
    starts = block_starts(n_out, rows)
    weight = _weights(product.weight, starts, rows)
    k, (mult,) = lifted(product.k, product.mult)
    constants = _constants(product, mult, starts, rows)
    blocks, pairs, last = len(starts), n_in // 2, n_out - rows
    batch = divisor(pairs, _BODY)

    def word(value: Any) -> Any:
        return T.reinterpret("uint32", T.cast(value, "int32"))

    def fenced(value: Any) -> Any:
        return T.reinterpret("uint32", fence(T.reinterpret("int32", value)))

    def term(xs: Any, weight: Any, block: Any, pair: Any, r: int) -> Any:
        return (xs[0] + word(weight[block, pair, r, 1])) * (xs[1] + word(weight[block, pair, r, 0]))

    def finished(acc: Any, mult: Any) -> Any:
        return T.cast(RV32.requantised16(Exact(T.reinterpret("int32", acc), bound), mult, k), "int16")

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((pairs, 2), dtype),
        weight: T.Buffer(weight.shape, "int8"),
        constants: T.Buffer(constants.shape, "int32"),
        y: T.Buffer((n_out,), "int16"),
    ):
        acc = T.alloc_buffer((rows,), "uint32")
        xs = T.alloc_buffer((2,), "uint32")
        of_x = T.alloc_scalar("uint32")
        of_x = T.uint32(0)
        for i in range(pairs):
            of_x = fenced(of_x + word(x[i, 0]) * word(x[i, 1]))
        for block in range(blocks):
            for r in T.unroll(rows):
                acc[r] = T.reinterpret("uint32", constants[block, 0, r]) - of_x
            for i in range(pairs // batch):
                for b in T.unroll(batch):
                    for j in T.unroll(2):
                        xs[j] = word(x[i * batch + b, j])
                    for r in T.unroll(rows):
                        acc[r] = fenced(acc[r] + term(xs, weight, block, i * batch + b, r))
            for r in T.unroll(rows):
                y[T.min(block * rows, last) + r] = finished(acc[r], constants[block, 1, r])

    y = node.output(0, "int16", (n_out,), 32767)
    return Kernel(with_plain(with_fences(kernel)), (x.name, weight, constants, y.name), (y,), macs=n_in * n_out)
