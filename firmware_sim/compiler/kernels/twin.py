"""Matrix times vector on RV32IM: two products of int8 in one multiplication.

A word of the stored weights holds w + 128 of four rows in one column, and (word & 0x00ff00ff) of two of them. Times x it is
(w1 + 128) x 2^16 + (w0 + 128) x; of two columns, with q = 0x00800080 (x0 + x1) - 0x8000,

    p = (word0 & 0x00ff00ff) x0 + (word1 & 0x00ff00ff) x1 - q = s1 2^16 + s0 + 0x8000

where s is what both columns add to a row. If no s leaves int16, p >> 16 is s1, and as words wrap around, the sum of p tells s0 as well.
Flash holds as many bytes as there are weights.
"""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.exact import Exact
from firmware_sim.compiler.kernels.fence import fence, with_fences
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value, divisor
from firmware_sim.compiler.kernels.plain import RV32, with_plain
from firmware_sim.compiler.kernels.products import Product, block_starts, read_product
from firmware_sim.compiler.kernels.requantise import lifted

_ROWS = 8
_BODY = 4  # pairs of columns in the loop's body, at most
_PAIR = 0x00FF00FF


def twin_product(node: Node) -> Kernel | None:
    """sat16(round_shift((x W + b) * mult, k)) for x of int8; None where columns or rows do not come out even, or a sum is too large."""
    product = read_product(node, "int8")
    n_out, n_in = product.weight.shape
    if n_in % 2 or n_out < 4 or product.bound >= 2**31 or _pair_bound(product) > 32767:
        return None
    return _kernel(node, product)


def _pair_bound(product: Product) -> int:
    """The largest absolute sum of two neighbouring columns' products."""
    return int(np.abs(product.weight.astype(np.int64)).reshape(len(product.weight), -1, 2).sum(axis=2).max()) * product.x.bound


def _words(weight: NDArray, starts: NDArray, rows: int) -> NDArray[np.int32]:
    """(block, column, rows / 4): the bytes of a word are the rows 0, 1, 2, 3 of four."""
    raised = (weight.astype(np.int64) + 128).astype(np.uint8)[np.add.outer(starts, np.arange(rows))]  # (block, row, column)
    return np.ascontiguousarray(raised.transpose(0, 2, 1)).view(np.int32)


def _constants(product: Product, mult: NDArray, starts: NDArray, rows: int) -> NDArray[np.int32]:
    """(block, words): where the sums begin, upper and lower of each pair of rows, and the multipliers in the order of the rows."""
    index = np.add.outer(starts, np.arange(rows)).reshape(len(starts), -1, 2, 2)  # (block, word, half, byte): of byte 0 and 2, 1 and 3
    bias = product.bias.astype(np.int64)[index]
    upper = bias[:, :, 1]
    lower = bias[:, :, 0] + (upper << 16) - 0x8000 * (product.weight.shape[1] // 2)
    begins = np.stack([upper, lower], axis=-1).reshape(len(starts), -1)
    order = index.transpose(0, 1, 3, 2).reshape(len(starts), -1)
    wrapped = begins.astype(np.uint64).astype(np.uint32).view(np.int32)
    return np.concatenate([wrapped, mult[order]], axis=1).astype(np.int32)


def _kernel(node: Node, product: Product) -> Kernel:
    x, bound = product.x, product.bound
    n_out, n_in = product.weight.shape
    rows = _ROWS if n_out >= _ROWS else 4
    starts = block_starts(n_out, rows)
    words = _words(product.weight, starts, rows)
    k, (mult,) = lifted(product.k, product.mult)
    constants = _constants(product, mult, starts, rows)
    blocks, quads, pairs, last = len(starts), rows // 4, n_in // 2, n_out - rows
    batch = divisor(pairs, _BODY)

    def u(value: Any) -> Any:
        return T.reinterpret("uint32", value)

    def multiplied(word: Any, half: int, x: Any) -> Any:
        return T.bitwise_and(T.shift_right(word, T.uint32(8 * half)), T.uint32(_PAIR)) * x

    def finished(acc: Any, mult: Any) -> Any:
        return T.cast(RV32.requantised16(Exact(acc, bound), mult, k), "int16")

    def lower_sum(low: Any, high: Any) -> Any:
        return T.reinterpret("int32", low - T.shift_left(u(high), T.uint32(16)))

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n_in,), "int8"),
        weight: T.Buffer((words.size,), "int32"),
        constants: T.Buffer(constants.shape, "int32"),
        y: T.Buffer((n_out,), "int16"),
        qs: T.Buffer((pairs,), "int32"),
    ):
        low = T.alloc_buffer((2 * quads,), "uint32")
        high = T.alloc_buffer((2 * quads,), "int32")
        ws = T.alloc_buffer((2,), "uint32")
        xs = T.alloc_buffer((2,), "uint32")
        q = T.alloc_scalar("uint32")
        p = T.alloc_scalar("uint32")
        for i in range(pairs):
            qs[i] = (T.cast(x[2 * i], "int32") + T.cast(x[2 * i + 1], "int32")) * 0x00800080 - 0x8000
        for block in range(blocks):
            first: T.let = T.min(block * rows, last)
            for r in T.unroll(2 * quads):
                high[r] = constants[block, 2 * r]
                low[r] = u(constants[block, 2 * r + 1])
            for i in range(pairs // batch):
                for b in T.unroll(batch):
                    for j in T.unroll(2):
                        xs[j] = u(T.cast(x[(i * batch + b) * 2 + j], "int32"))
                    q = u(qs[i * batch + b])
                    for h in T.unroll(quads):
                        for j in T.unroll(2):
                            ws[j] = u(weight[((block * pairs + i * batch + b) * 2 + j) * quads + h])
                        for s in T.unroll(2):
                            p = multiplied(ws[0], s, xs[0]) + multiplied(ws[1], s, xs[1]) - q
                            low[2 * h + s] = low[2 * h + s] + p
                            high[2 * h + s] = high[2 * h + s] + (T.reinterpret("int32", p) >> 16)
                        high[2 * h + 1] = fence(high[2 * h + 1])
            for h in T.unroll(quads):
                for s in T.unroll(2):
                    y[first + 4 * h + s] = finished(lower_sum(low[2 * h + s], high[2 * h + s]), constants[block, 4 * quads + 4 * h + 2 * s])
                    y[first + 4 * h + 2 + s] = finished(high[2 * h + s], constants[block, 4 * quads + 4 * h + 2 * s + 1])

    y = node.output(0, "int16", (n_out,), 32767)
    own = Value(f"{y.name}.qs", "int32", (pairs,), 2**31)
    pointers: tuple[str | NDArray, ...] = (x.name, words.reshape(-1), constants, y.name, own.name)
    return Kernel(with_plain(with_fences(kernel)), pointers, (y,), macs=n_in * n_out, scratch=(own,))
