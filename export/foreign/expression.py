"""Functions of one element as trees of ONNX operators, which become one table each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.stepgraph import DOMAIN, OPSET

MOST_OPERATORS = 40  # of one function
MOST_ROWS = 32  # elements that have a table of their own, 514 bytes each


@dataclass(frozen=True, eq=False)
class Expression:
    """``op`` of ``inputs``; "X" is the element, "C" a constant: () or one for each element, (n,)."""

    op: str
    inputs: tuple[Expression, ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()
    constant: NDArray[np.float32] | None = None

    @property
    def size(self) -> int:
        return 1 + sum(each.size for each in self.inputs)

    def leaves(self) -> Iterator[Expression]:
        """The constants, in order."""
        if self.op == "C":
            yield self
        for each in self.inputs:
            yield from each.leaves()

    def by_element(self) -> bool:
        """Whether elements have functions of their own."""
        return any(leaf.constant is not None and leaf.constant.ndim for leaf in self.leaves())

    def mapped(self, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Expression:
        """With other constants that differ by element."""
        if self.op == "C" and self.constant is not None and self.constant.ndim:
            return constant(change(self.constant))
        return Expression(self.op, tuple(each.mapped(change) for each in self.inputs), self.attributes, self.constant)

    def equals(self, other: Expression) -> bool:
        """Whether both are the same tree."""
        same = (self.op, self.attributes, len(self.inputs)) == (other.op, other.attributes, len(other.inputs))
        if not same or (self.constant is None) != (other.constant is None):
            return False
        if self.constant is not None and other.constant is not None and not np.array_equal(self.constant, other.constant):
            return False
        return all(one.equals(two) for one, two in zip(self.inputs, other.inputs, strict=True))


X = Expression("X")


def constant(value: Any) -> Expression:
    """A constant; one that is the same for all elements is a single number."""
    array = np.asarray(value, np.float32)
    if array.ndim and (array == array.flat[0]).all():
        array = array.reshape(-1)[0]
    return Expression("C", constant=np.asarray(array, np.float32))


def apply(op: str, *inputs: Expression, **attributes: Any) -> Expression:
    """An operator of expressions."""
    return Expression(op, inputs, tuple(sorted(attributes.items())))


def composed(outer: Expression, inner: Expression) -> Expression:
    """outer(inner(x))."""
    if outer.op == "X":
        return inner
    return Expression(outer.op, tuple(composed(each, inner) for each in outer.inputs), outer.attributes, outer.constant)


def affine(gain: NDArray[np.float64], offset: NDArray[np.float64], x: Expression = X) -> Expression:
    """x * gain + offset."""
    scaled = x if (gain == 1).all() else apply("Mul", x, constant(gain))
    return scaled if (offset == 0).all() else apply("Add", scaled, constant(offset))


def function_of(expression: Expression, name: str) -> tuple[onnx.FunctionProto, list[NDArray[np.float32]]]:
    """The ONNX function ``y = name(x, c0, c1, ...)``, and the values of the constants that differ by element.

    Those that do not are inside of it.
    """
    nodes: list[onnx.NodeProto] = []
    taken: list[NDArray[np.float32]] = []

    def written(each: Expression) -> str:
        if each.op == "X":
            return "x"
        result = f"t{len(nodes)}"
        if each.op == "C":
            assert each.constant is not None
            if each.constant.ndim:
                taken.append(each.constant)
                return f"c{len(taken) - 1}"
            nodes.append(helper.make_node("Constant", [], [result], value=numpy_helper.from_array(each.constant)))
            return result
        inputs = [written(one) for one in each.inputs]
        result = f"t{len(nodes)}"
        nodes.append(helper.make_node(each.op, inputs, [result], **dict(each.attributes)))
        return result

    last = written(expression)
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_function(DOMAIN, name, ["x", *(f"c{i}" for i in range(len(taken)))], ["y"], nodes, opsets), taken
