"""What stands in one room: an operator's integer arithmetic, its ONNX function, how float nodes become it, and draws for its tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.functions import INT8, INT16

Arrays = tuple[NDArray, ...]
Draw = tuple[list[Any], dict[str, int]]  # inputs and constants in the order of the arithmetic's parameters, and attributes
Quantiser = Callable[[Any, Any], None]  # of a context of :mod:`quantization.context` and a node of the float graph


@dataclass(frozen=True)
class Operator:
    """One operator of the integer step graphs, as its module in :mod:`quantization.operators` defines it.

    Attributes:
        arithmetic: the reference, in numpy: what all others have to equal in every bit.
        onnx: the same as the text of an ONNX function of standard operators and of :mod:`quantization.helper_functions`. onnxruntime sums
            int64 in ReduceSum through double, exact below 2^53 only: where products are larger, MatMul sums them.
        draw: random inputs over their whole range, extremes among them.
        quantisers: by the operator of a float node, what puts its integer twin into the graph.
    """

    arithmetic: Callable[..., Arrays]
    onnx: str
    draw: Callable[[np.random.Generator], Draw]
    quantisers: Mapping[str, Quantiser] = field(default_factory=dict)


def draw_ints(rng: np.random.Generator, dtype: type, shape: tuple[int, ...], limit: int) -> NDArray:
    """Random integers in [-limit, limit], a third of them at the ends or around zero."""
    values = rng.integers(-limit, limit + 1, shape)
    edges = rng.choice([-limit, -1, 0, 1, limit], shape)
    return np.where(rng.random(shape) < 1 / 3, edges, values).astype(dtype)


def draw_power(rng: np.random.Generator, low: int, high: int) -> np.int64:
    """A power of two from 2^low to 2^high."""
    return np.int64(2 ** int(rng.integers(low, high + 1)))


def draw_result(rng: np.random.Generator) -> dict[str, int]:
    """The attribute of operators whose result is int8 or int16."""
    return {"to": int(rng.choice([INT8, INT16]))}
