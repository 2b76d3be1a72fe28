"""States, cut into pieces: each is written by the one operator that updates it in its place, or stored at the end of a step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.foreign.tape import Blocked, Ids, Tape, Vector
from export.foreign.trace import Blocker, Trace


@dataclass(frozen=True, eq=False)
class Piece:
    """Part of a state.

    Attributes:
        vector: its elements, in the order of the operator that updates it.
        name: of the state, without what goes in and comes out.
        writer: that operator; None where the piece is stored.
        following: what is stored, where it is.
    """

    vector: Vector
    name: str
    writer: Vector | None
    following: Ids | None


def cut(found: Trace) -> tuple[list[Piece], NDArray[np.int64]]:
    """The pieces of all states, and by element the number that it has from now on.

    What cannot be updated is added to the trace's blockers.
    """
    tape = found.tape
    renamed = np.arange(tape.elements)
    following = np.full(tape.elements, np.iinfo(np.int64).min)
    for into, state in found.states.items():
        if into in found.following:
            following[state.ids] = found.following[into]
    memories = [(vector, place, held) for vector in tape.vectors for held, place in vector.about.get("memories", ())]
    pieces: list[Piece] = []
    for vector, place, held in memories:
        try:
            state = _state_of(tape, held, renamed)
            if not np.array_equal(following[held], _made(tape, vector, place, held)):
                raise Blocked("what it makes of its state is not what the state is next", "export its new state as the state's output")
            piece = tape.add("piece", len(held), state.name)
            renamed = np.concatenate([renamed, piece.ids])
            renamed[held] = piece.ids
            pieces.append(Piece(piece, state.name, vector, None))
        except Blocked as blocked:
            found.blockers.append(Blocker(vector.name, vector.kind, blocked.why, blocked.remedy))
    for into, state in found.states.items():
        rest = state.ids[renamed[state.ids] == state.ids]
        if len(rest) and into in found.following:
            piece = tape.add("piece", len(rest), into)
            renamed = np.concatenate([renamed, piece.ids])
            renamed[rest] = piece.ids
            pieces.append(Piece(piece, into, None, following[rest]))
    return pieces, renamed


def _state_of(tape: Tape, held: Ids, renamed: NDArray[np.int64]) -> Vector:
    if (held < 0).any() or len(np.unique(held)) != len(held):
        raise Blocked("its state is partly constant, or the same twice", "export it with a state of its own")
    owners = tape.parts(held)
    if len(owners) != 1 or owners[0][0].kind != "state":
        raise Blocked("its past is not one state of the graph", "export it with its state as input and output")
    if (renamed[held] != held).any():
        raise Blocked("another operator updates its state", "give each a state of its own")
    return owners[0][0]


def _made(tape: Tape, vector: Vector, place: int, held: Ids) -> Ids:
    """What an operator makes of the state that is its operand ``place``, element by element."""
    if vector.kind == "conv":
        newest = vector.operands[0]
        return np.concatenate([held[len(newest) :], newest])
    if vector.kind == "gru" or (vector.kind == "lstm" and place == 2):
        return vector.ids
    second = next(each for each in tape.vectors if each.kind == "second" and each.about["of"] is vector)
    return second.ids
