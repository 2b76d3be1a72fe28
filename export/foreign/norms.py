"""LayerNorm and RMSNorm, as operators of their own and as what exporters make of them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from export.foreign.expression import Expression, X, apply, composed, constant
from export.foreign.tape import Blocked, Ids, Tape, Vector
from export.foreign.views import views

MOST_ROWS = 64  # that one node normalises, each by itself


def layer_norm(tape: Tape, name: str, x: Ids, weight: ArrayLike, bias: ArrayLike, eps: float) -> Ids:
    """Rows of x, (..., n), by themselves; weight and bias (n,)."""
    return _rows(tape, name, "layer_norm", x, weight, bias, eps)


def rms_norm(tape: Tape, name: str, x: Ids, weight: ArrayLike, eps: float) -> Ids:
    """The same without a mean."""
    return _rows(tape, name, "rms_norm", x, weight, 0.0, eps)


def normalised(tape: Tape, name: str, op: str, a: Ids, b: Ids) -> Ids | None:
    """What a product or quotient is where b, or a, is the spread of the other one's rows; None where it is not.

    Exporters write a norm as x / sqrt(mean(x^2) + eps), with x - mean(x) in place of x where it is LayerNorm.
    """
    if op == "Mul":
        found = _by_spread(tape, name, a, b, _INVERSE_ROOTS)
        return _by_spread(tape, name, b, a, _INVERSE_ROOTS) if found is None else found
    return _by_spread(tape, name, a, b, (_ROOT,)) if op == "Div" else None


_ROOT = apply("Sqrt", X)
_INVERSE_ROOTS = (
    apply("Reciprocal", _ROOT),
    apply("Div", constant(1.0), _ROOT),
    apply("Pow", X, constant(-0.5)),
)
_SQUARES = (apply("Pow", X, constant(2.0)), apply("Mul", X, X))


def _by_spread(tape: Tape, name: str, x: Ids, spread: Ids, forms: tuple[Expression, ...]) -> Ids | None:
    rows, spreads = x.reshape(-1, x.shape[-1]), spread.reshape(-1, spread.shape[-1])
    if rows.shape[1] < 2 or len(rows) > MOST_ROWS or (spreads != spreads[:, :1]).any():
        return None
    found = [_eps_of(tape, row, int(by[0]), forms) for row, by in zip(rows, spreads, strict=True)]
    if any(eps is None for eps in found):
        return None
    made = []
    for row, eps in zip(rows, found, strict=True):
        whole = _centred(tape, row)
        size, kind = len(row), "rms_norm" if whole is None else "layer_norm"
        about = {"weight": np.ones(size), "bias": np.zeros(size), "eps": eps}
        made.append(tape.add(kind, size, name, row if whole is None else whole, **about).ids)
    return np.stack(made).reshape(x.shape)


def _eps_of(tape: Tape, row: Ids, by: int, forms: tuple[Expression, ...]) -> float | None:
    """eps where element ``by`` is one of ``forms`` of the mean square of a row, plus eps."""
    root = tape.owner(by)
    if root.kind != "pointwise":
        return None
    mean = tape.owner(int(root.operands[0][by - root.first]))
    eps = _added(root.about["expression"], forms)
    if eps is None or mean.kind != "linear" or not _is_mean(mean, int(root.operands[0][by - root.first]) - mean.first):
        return None
    parts = tape.parts(mean.operands[0])
    if len(parts) != 1 or parts[0][0].kind != "pointwise":
        return None
    squares, at = parts[0][0], mean.operands[0] - parts[0][0].first
    if len(tape.parts(row)) != 1 or len(at) != len(row):
        return None
    for source, expression in views(tape, row):
        equal = any(squares.about["expression"].equals(composed(form, expression)) for form in _SQUARES)
        if equal and np.array_equal(squares.operands[0][at], source):
            return eps
    return None


def _added(found: Expression, forms: tuple[Expression, ...]) -> float | None:
    """What is added to X before a form of it; 0 where nothing is."""
    for form in forms:
        if found.equals(form):
            return 0.0
    leaves = [leaf.constant for leaf in found.leaves()]
    for form in forms:
        for value in leaves:
            if value is not None and not value.ndim and found.equals(composed(form, apply("Add", X, constant(value)))):
                return float(value)
    return None


def _is_mean(vector: Vector, column: int) -> bool:
    weight: NDArray[np.float64] = vector.about["weight"][:, column]
    return bool(np.allclose(weight, 1 / len(weight), rtol=1e-5) and vector.about["bias"][column] == 0)


def _centred(tape: Tape, row: Ids) -> Ids | None:
    """x, where a row is x - mean(x)."""
    parts = tape.parts(row)
    if len(parts) != 1 or parts[0][0].kind != "add":
        return None
    difference, at = parts[0][0], row - parts[0][0].first
    for whole, negative in (difference.operands, difference.operands[::-1]):
        x, minus = whole[at], negative[at]
        owner = tape.owner(int(minus[0]))
        if (minus != minus[0]).any() or owner.kind != "affine":
            continue
        place = int(minus[0]) - owner.first
        mean = tape.owner(int(owner.operands[0][place]))
        if (owner.about["gain"][place], owner.about["offset"][place]) != (-1.0, 0.0) or mean.kind != "linear":
            continue
        column = int(owner.operands[0][place]) - mean.first
        if _is_mean(mean, column) and np.array_equal(np.sort(mean.operands[0]), np.sort(x)):
            return np.asarray(x)
    return None


def _rows(tape: Tape, name: str, kind: str, x: Ids, weight: ArrayLike, bias: ArrayLike, eps: float) -> Ids:
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) > MOST_ROWS:
        raise Blocked(f"it normalises {len(rows)} rows", f"export a step that normalises at most {MOST_ROWS}")
    if (x < 0).any():
        raise Blocked("some of its elements are constants", "normalise what changes alone")
    size = rows.shape[1]
    about = {"weight": np.broadcast_to(weight, (size,)).astype(float), "bias": np.broadcast_to(bias, (size,)).astype(float), "eps": eps}
    return np.stack([tape.add(kind, size, name, row, **about).ids for row in rows]).reshape(x.shape)
