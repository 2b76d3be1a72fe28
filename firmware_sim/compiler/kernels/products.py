"""What sums of products with int8 weights have in common."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_sim.compiler.kernels.interface import Node, Value

ROWS = 4  # output channels that share one load of x: as many accumulators as 13 registers hold


@dataclass(frozen=True)
class Product:
    """The checked operands of y = sat16(round_shift((x W + b) * mult, k)).

    Attributes:
        x: (in,).
        weight: (out, in) int8.
        bias, mult: (out,) int32.
        bound: largest absolute accumulator of any output.
    """

    x: Value
    weight: NDArray
    bias: NDArray
    mult: NDArray
    k: int
    bound: int


def read_product(node: Node, dtype: str) -> Product:
    """The operands of a matrix product of ``dtype`` with int8 weights.

    Raises:
        UserError: they do not fit each other.
    """
    node.expect(5, 1)
    x = node.tensor(0, dtype, None)
    weight = np.ascontiguousarray(node.constant(1, "int8", x.shape[0], None).T)
    bias, mult = node.constant(2, "int32", len(weight)), node.constant(3, "int32", len(weight))
    return Product(x, weight, bias, mult, node.shift(4), sum_bound(weight, x.bound, bias))


def sum_bound(weight: NDArray, x_bound: int, bias: NDArray) -> int:
    """Largest absolute accumulator of any output: weight is (out, terms)."""
    return int(np.max(np.sum(np.abs(weight.astype(np.int64)), axis=1) * x_bound + np.abs(bias.astype(np.int64))))


def block_starts(n_out: int, rows: int) -> NDArray[np.int64]:
    """The first row of each block of ``rows``: the last block begins earlier where they do not divide those of the matrix."""
    return np.minimum(np.arange(0, n_out, rows), n_out - rows)
