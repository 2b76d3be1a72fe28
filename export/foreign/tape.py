"""What was traced of a graph: vectors, each made by one operation of elements of those before it.

Every element of every vector has a number of its own. A traced tensor is an array of such numbers, in the tensor's shape; a number below
zero is a constant, whose value the tape holds.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from realm_edge.errors import UserError

Ids = NDArray[np.int64]
MOST_VECTORS = 2000  # a step's kernels, at most


class Blocked(Exception):
    """A node cannot be had on the implant: why, and what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why}: {remedy}")
        self.why, self.remedy = why, remedy


@dataclass(frozen=True)
class Traced:
    """A tensor whose values change from step to step."""

    ids: Ids


@dataclass(eq=False)
class Vector:
    """``size`` elements from number ``first`` on, made by an operation of ``kind`` of elements ``operands``, for node ``name``."""

    kind: str
    size: int
    first: int
    name: str
    operands: tuple[Ids, ...]
    about: dict[str, Any]

    @property
    def ids(self) -> Ids:
        return np.arange(self.first, self.first + self.size)


@dataclass
class Tape:
    """Vectors in the order in which they were made."""

    vectors: list[Vector] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    _firsts: list[int] = field(default_factory=list)
    _next: int = 0

    def add(self, kind: str, size: int, name: str, *operands: Ids, **about: Any) -> Vector:
        """Append a vector.

        Raises:
            UserError: there are too many.
        """
        if len(self.vectors) >= MOST_VECTORS:
            raise UserError(f"node '{name}': the graph becomes more than {MOST_VECTORS:,} operations: export a smaller step")
        vector = Vector(kind, size, self._next, name, operands, about)
        self.vectors.append(vector)
        self._firsts.append(vector.first)
        self._next += size
        return vector

    @property
    def elements(self) -> int:
        """Numbers that were given."""
        return self._next

    def owner(self, element: int) -> Vector:
        """The vector that an element is of; not of constants."""
        return self.vectors[bisect_right(self._firsts, element) - 1]

    def parts(self, ids: Ids) -> list[tuple[Vector, NDArray[np.int64]]]:
        """Flat ``ids`` by vector: each with the places in ``ids`` that are of it, vectors in the order of the tape."""
        at = np.searchsorted(np.asarray(self._firsts), ids, side="right") - 1
        return [(self.vectors[int(k)], np.flatnonzero(at == k)) for k in np.unique(at)]

    def constant_ids(self, values: ArrayLike) -> Ids:
        """Numbers of constants, in the shape of ``values``."""
        array = np.asarray(values, np.float64)
        unique, places = np.unique(array, return_inverse=True)
        first = len(self.constants)
        self.constants += unique.tolist()
        return -1 - (first + places.reshape(array.shape).astype(np.int64))

    def constant_values(self, ids: Ids) -> NDArray[np.float64]:
        """The values of elements that are constants."""
        return np.asarray(self.constants, np.float64)[-1 - ids]


def distinct(keys: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of ``keys`` (n, k) that are not like one before them, and for each row which of those it is like."""
    _, firsts, places = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return firsts[order], rank[places.ravel()]
