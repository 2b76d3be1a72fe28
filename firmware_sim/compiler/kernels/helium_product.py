"""Matrix times vector on Helium: 16 products of int8 in one instruction, or 8 of int16 with int8.

Four rows share the loads of x. A block of four rows has its weights in the order in which they are read. Where the columns do not fill
the last vector, it begins earlier, and the weights of what was multiplied before are zero.
"""

# mypy: disable-error-code="valid-type, index, assignment"
# (annotations inside kernels are TVMScript types)

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm.script import tirx as T

from firmware_sim.compiler.kernels.fence import pin, with_fences
from firmware_sim.compiler.kernels.helium import VECTOR_BYTES, halves, narrowed, raised, run, symmetric16, vmladava, vmulh, words
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.products import Product, block_starts, read_product
from firmware_sim.compiler.kernels.requantise import LEAST_SHIFT, lifted

ROWS = 4  # as many sums as a vector has words
_KEPT = 8  # vectors of x that a block has no loop for: all rows share most of them in registers
_MOST_SHIFT = 62  # of the products of two int32


def vector_product(node: Node, dtype: str) -> Kernel | None:
    """sat16(round_shift((x W + b) * mult, k)) for x of ``dtype``; None where x is shorter than a vector or a sum leaves 32 bits."""
    product = read_product(node, dtype)
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    k, (mult,) = lifted(product.k, product.mult)
    up = max(0, LEAST_SHIFT - k)
    if product.weight.shape[1] < lanes or product.bound << up >= 2**31 or k > _MOST_SHIFT:
        return None
    return _kernel(node, product, lanes, mult, k, up)


def _starts(n_out: int) -> NDArray[np.int64]:
    return block_starts(n_out, ROWS) if n_out >= ROWS else np.zeros(1, np.int64)


def _weights(weight: NDArray, lanes: int) -> NDArray[np.int8]:
    """Of (out, in): (block, vector of x, row, lane)."""
    n_out, n_in = weight.shape
    firsts = [*range(0, n_in - lanes + 1, lanes), *([n_in - lanes] if n_in % lanes else [])]
    columns = np.add.outer(firsts, np.arange(lanes))
    padded = np.zeros((max(n_out, ROWS), n_in), np.int8)
    padded[:n_out] = weight
    rows = padded[np.add.outer(_starts(n_out), np.arange(ROWS))][:, :, columns]  # (block, row, vector, lane)
    if n_in % lanes:
        rows[:, :, -1, : lanes - n_in % lanes] = 0
    return np.ascontiguousarray(rows.transpose(0, 2, 1, 3))


def _kernel(node: Node, product: Product, lanes: int, mult: NDArray, k: int, up: int) -> Kernel:
    x, dtype = product.x, product.x.dtype
    n_out, n_in = product.weight.shape
    weights = _weights(product.weight, lanes)
    blocks, vectors = weights.shape[:2]
    index = np.add.outer(_starts(n_out), np.arange(ROWS)) % n_out  # rows that are not there compute what is not stored
    constants = np.stack([product.bias[index], mult[index]], axis=1).astype(np.int32)
    whole, last = n_in // lanes, max(0, n_out - ROWS)
    body = whole if vectors <= _KEPT else 1
    rounds = 1 if body == whole else pin(T.int32(whole))  # LLVM would unroll them and run out of registers

    def first_row(block: Any) -> Any:
        return block * ROWS if n_out % ROWS == 0 else T.min(block * ROWS, last)

    def multiplied(acc: Any, x: Any, weight: Any, block: Any, i: Any, first: Any, r: int) -> Any:
        row = weight[run(((block * vectors + i) * ROWS + r) * lanes, lanes)]
        return vmladava(acc, x[run(first, lanes)], T.cast(row, f"{dtype}x{lanes}"))

    def requantised(acc: Any, mult: Any) -> Any:
        """By lane of int32; the upper half of each means nothing."""
        high = vmulh(raised(acc, up), mult)
        return words(symmetric16(narrowed(halves(high), high, k + up - 32, top=False)))

    @T.prim_func(s_tir=True)
    def kernel(
        x: T.Buffer((n_in,), dtype),
        weight: T.Buffer((weights.size,), "int8"),
        constants: T.Buffer((blocks * 2 * ROWS,), "int32"),
        y: T.Buffer((n_out,), "int16"),
    ):
        acc = T.alloc_buffer((ROWS,), "int32")
        sums = T.alloc_buffer((ROWS,), "int32")
        for block in range(blocks):
            for r in T.unroll(ROWS):
                acc[r] = constants[block * 2 * ROWS + r]
            for i in range(rounds):
                for j in T.unroll(body):
                    for r in T.unroll(ROWS):
                        acc[r] = multiplied(acc[r], x, weight, block, i * body + j, (i * body + j) * lanes, r)
            if n_in % lanes > 0:
                for r in T.unroll(ROWS):
                    acc[r] = multiplied(acc[r], x, weight, block, vectors - 1, n_in - lanes, r)
            for r in T.unroll(ROWS):
                sums[r] = pin(acc[r])
            sums[run(0, ROWS)] = requantised(sums[run(0, ROWS)], constants[run((block * 2 + 1) * ROWS, ROWS)])
            if n_out >= ROWS:
                y[run(first_row(block), ROWS)] = T.cast(sums[run(0, ROWS)], f"int16x{ROWS}")
            else:
                for r in T.unroll(n_out):
                    y[r] = T.cast(sums[r], "int16")

    y = node.output(0, "int16", (n_out,), 32767)
    return Kernel(with_fences(kernel), (x.name, weights.reshape(-1), constants.reshape(-1), y.name), (y,), macs=n_in * n_out)
