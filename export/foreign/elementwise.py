"""What is computed element by element: functions of one tensor become one table, sums and products of two tensors operations of two."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.foreign.expression import MOST_OPERATORS, MOST_ROWS, Expression, X, affine, apply, composed, constant
from export.foreign.norms import normalised
from export.foreign.tape import Blocked, Ids, Tape, Traced, distinct
from export.foreign.views import own, views

# Of one tensor; they are the same in every opset from the oldest that is read to that of the step graphs.
_UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity
    LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh
    ThresholdedRelu
"""
UNARY = frozenset(_UNARY.split())
BINARY = frozenset(("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu"))
_TAKING = frozenset(("linear", "layer_norm", "rms_norm"))  # makers that take a gain and an offset in


def unary(tape: Tape, name: str, op: str, x: Ids, **attributes: Any) -> Ids:
    """A function of each element."""
    if op == "Swish":
        gated = unary(tape, name, "Sigmoid", binary(tape, name, "Mul", x, attributes.get("alpha", 1.0)))
        return binary(tape, name, "Mul", x, gated)
    if op == "Neg":
        return _affine(tape, name, x, np.full(x.shape, -1.0), np.zeros(x.shape))
    return _of_each(tape, name, x, lambda part, _: _function(tape, name, part, apply(op, X, **attributes)))


def binary(tape: Tape, name: str, op: str, a: Any, b: Any) -> Ids:
    """An operator of two operands, of which one may be a constant (an array).

    Raises:
        Blocked: two that both change, of which nothing but sums and products are taken.
    """
    if not isinstance(a, np.ndarray) or a.dtype != np.int64:
        return _with_constant(tape, name, op, b, np.asarray(a, np.float64), first=True)
    if not isinstance(b, np.ndarray) or b.dtype != np.int64:
        return _with_constant(tape, name, op, a, np.asarray(b, np.float64), first=False)
    a, b = np.broadcast_arrays(a, b)
    _see_no_constants(a, b)
    fused = _of_one_source(tape, name, op, a, b)
    if fused is not None:
        return fused
    if op == "Sub":
        return binary(tape, name, "Add", a, unary(tape, name, "Neg", b))
    found = normalised(tape, name, op, a, b)
    if found is not None:
        return found
    if op not in ("Add", "Mul"):
        raise Blocked(f"'{op}' of two tensors that both change from step to step", "only sums, differences and products of two are taken")
    firsts, places = distinct(np.stack([a.ravel(), b.ravel()], axis=1))
    made = tape.add("add" if op == "Add" else "mul", len(firsts), name, a.ravel()[firsts], b.ravel()[firsts])
    return (made.first + places).reshape(a.shape)


def operands(tape: Tape, values: tuple[Any, ...]) -> Iterator[Any]:
    """Traced tensors as numbers of elements, constants as they are."""
    for value in values:
        yield value.ids if isinstance(value, Traced) else np.asarray(value, np.float64)


def _with_constant(tape: Tape, name: str, op: str, x: Ids, value: NDArray[np.float64], first: bool) -> Ids:
    x, value = np.broadcast_arrays(x, value)
    if not np.isfinite(value).all() and op not in ("Min", "Max"):
        raise Blocked("a constant of it is not finite", "export finite weights")
    one, none = np.ones(x.shape), np.zeros(x.shape)
    if op == "Add":
        return _affine(tape, name, x, one, value)
    if op == "Sub":
        return _affine(tape, name, x, -one, value) if first else _affine(tape, name, x, one, -value)
    if op == "Mul":
        return _affine(tape, name, x, value, none)
    if op == "Div" and not first:
        if (value == 0).any():
            raise Blocked("it divides by a constant that is 0", "export other constants")
        return _affine(tape, name, x, 1 / value, none)
    if op == "Pow" and not first and (value == 1).all():
        return x

    def made(part: Ids, values: NDArray[np.float64]) -> Ids:
        held = constant(values)
        return _function(tape, name, part, apply(op, held, X) if first else apply(op, X, held))

    return _of_each(tape, name, x, made, value)


def _affine(tape: Tape, name: str, x: Ids, gain: NDArray[np.float64], offset: NDArray[np.float64]) -> Ids:
    """x * gain + offset, each of x's shape."""
    if (gain == 1).all() and (offset == 0).all():
        return x

    def made(part: Ids, values: NDArray[np.float64]) -> Ids:
        by, plus = values.T
        owner = tape.owner(int(part[0]))
        if owner.kind == "affine":
            at = part - owner.first
            inner_gain, inner_offset = owner.about["gain"][at], owner.about["offset"][at]
            return tape.add("affine", len(part), name, owner.operands[0][at], gain=inner_gain * by, offset=inner_offset * by + plus).ids
        if owner.kind == "pointwise" and (by == by[0]).all() and (plus == plus[0]).all():
            source, inner = own(owner, part)
            if (composed := affine(by, plus, inner)).size <= MOST_OPERATORS:
                return tape.add("pointwise", len(part), name, source, expression=composed).ids
        return tape.add("affine", len(part), name, part, gain=by, offset=plus).ids

    return _of_each(tape, name, x, made, np.stack([np.asarray(gain), np.asarray(offset)], axis=-1))


def _function(tape: Tape, name: str, part: Ids, function: Expression) -> Ids:
    """A function of elements of one vector; of what is a function itself, both become one table where they fit one.

    Constants that differ by element would need a table for each: a gain and offset of a linear layer rather become part of the layer.
    """
    source, inner = part, X
    owner = tape.owner(int(part[0]))
    if owner.kind in ("pointwise", "affine"):
        under, one = own(owner, part)
        maker = tape.owner(int(under[0]))
        if owner.kind == "affine" and maker.kind == "pointwise" and len(tape.parts(under)) == 1:
            deeper, two = own(maker, under)
            if _is_one_table(composed(function, composed(one, two)), len(part)):
                source, inner = deeper, composed(one, two)
        elif _is_one_table(composed(function, one), len(part)) and not (maker.kind in _TAKING and one.by_element()):
            source, inner = under, one
    if function.op == "Relu" and inner is X:
        return tape.add("relu", len(part), name, part).ids
    return tape.add("pointwise", len(part), name, source, expression=composed(function, inner)).ids


def _of_each(tape: Tape, name: str, x: Ids, make: Any, values: NDArray[np.float64] | None = None) -> Ids:
    """What ``make`` makes of the elements of each vector that x is of, each element once with each of its ``values`` (x's shape, ...)."""
    _see_no_constants(x)
    flat = x.ravel()
    result = np.empty(len(flat), np.int64)
    given = (
        np.zeros((len(flat), 1)) if values is None else np.broadcast_to(values, (*x.shape, *values.shape[x.ndim :])).reshape(len(flat), -1)
    )
    for _, at in tape.parts(flat):
        keys = np.concatenate([flat[at, None].astype(np.float64), given[at]], axis=1)
        firsts, places = distinct(keys)
        chosen = given[at][firsts]
        result[at] = make(flat[at][firsts], chosen[:, 0] if values is not None and values.ndim == x.ndim else chosen)[places]
    return result.reshape(x.shape)


def _of_one_source(tape: Tape, name: str, op: str, a: Ids, b: Ids) -> Ids | None:
    """One function, where both operands are functions of the same elements: x * sigmoid(x)."""
    if len(tape.parts(a.ravel())) != 1 or len(tape.parts(b.ravel())) != 1:
        return None
    firsts, places = distinct(np.stack([a.ravel(), b.ravel()], axis=1))
    left, right = a.ravel()[firsts], b.ravel()[firsts]
    for source, one in views(tape, left):
        for other_source, two in views(tape, right):
            if np.array_equal(source, other_source):
                both = apply(op, one, two)
                if op in ("Add", "Sub") and one is X and two is X:
                    return None  # x + x is a gain
                if _is_one_table(both, len(source)):
                    made = tape.add("pointwise", len(source), name, source, expression=both)
                    return (made.first + places).reshape(a.shape)
    return None


def _is_one_table(expression: Expression, elements: int) -> bool:
    return expression.size <= MOST_OPERATORS and (elements <= MOST_ROWS or not expression.by_element())


def _see_no_constants(*tensors: Ids) -> None:
    if any((ids < 0).any() for ids in tensors):
        raise Blocked("some of its elements are constants, others change", "keep what is padded or joined with constants to linear layers")
