"""What sums of products with int8 weights have in common."""

import numpy as np
from numpy.typing import NDArray

ROWS = 4  # output channels that share one load of x: as many accumulators as 13 registers hold


def sum_bound(weight: NDArray, x_bound: int, bias: NDArray) -> int:
    """Largest absolute accumulator of any output: weight is (out, terms)."""
    return int(np.max(np.sum(np.abs(weight.astype(np.int64)), axis=1) * x_bound + np.abs(bias.astype(np.int64))))
