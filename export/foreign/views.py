"""Elements of a vector as what they are functions of."""

from collections.abc import Iterator

from export.foreign.expression import Expression, X, affine
from export.foreign.tape import Ids, Tape, Vector


def views(tape: Tape, part: Ids) -> Iterator[tuple[Ids, Expression]]:
    """Elements of one vector as functions of what they are made of, then as themselves."""
    owner = tape.owner(int(part[0]))
    if owner.kind in ("pointwise", "affine"):
        yield owner.operands[0][part - owner.first], own(owner, part)
    yield part, X


def own(owner: Vector, part: Ids) -> Expression:
    """The function that made elements of a vector."""
    at = part - owner.first
    if owner.kind == "affine":
        return affine(owner.about["gain"][at], owner.about["offset"][at])
    found: Expression = owner.about["expression"]
    return found.mapped(lambda values: values[at])
