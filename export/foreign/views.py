"""Elements of a vector as what they are functions of."""

from collections.abc import Iterator

from export.foreign.expression import Expression, X, affine
from export.foreign.tape import Ids, Tape, Vector


def views(tape: Tape, part: Ids) -> Iterator[tuple[Ids, Expression]]:
    """Elements of one vector as functions of what they are made of, then as themselves."""
    owner = tape.owner(int(part[0]))
    if owner.kind in ("pointwise", "affine"):
        yield own(owner, part)
    yield part, X


def own(owner: Vector, part: Ids) -> tuple[Ids, Expression]:
    """What elements of a vector are made of, and by which function."""
    at = part - owner.first
    if owner.kind == "affine":
        return owner.operands[0][at], affine(owner.about["gain"][at], owner.about["offset"][at])
    found: Expression = owner.about["expression"]
    return owner.operands[0][at], found.mapped(lambda values: values[at])
