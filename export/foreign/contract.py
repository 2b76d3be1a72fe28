"""Which tensors of a graph are its input, its output and its states."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from realm_edge.errors import UserError

# (begins, ends) of a state's name going in, and coming out
_PATTERNS = (
    (("state.", ""), ("next.", "")),
    (("state_in.", ""), ("state_out.", "")),
    (("past_", ""), ("present_", "")),
    (("", "_in"), ("", "_out")),
    (("", "0"), ("", "n")),
    (("", "_0"), ("", "_n")),
)


@dataclass(frozen=True)
class Names:
    """What the user says of a graph's tensors; None, or nothing, where the names in the file say it."""

    input: str | None = None
    output: str | None = None
    states: tuple[tuple[str, str], ...] = ()  # (going in, coming out)


@dataclass(frozen=True)
class Contract:
    """One input, one output, and pairs of states."""

    input: str
    output: str
    states: tuple[tuple[str, str], ...]


def contract_of(model: onnx.ModelProto, names: Names, where: str) -> Contract:
    """Find them.

    Args:
        where: of the file, for messages.

    Raises:
        UserError: a name that was given is none of the graph's, or what is left is not one input and one output.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [tensor.name for tensor in model.graph.input if tensor.name not in constants]
    outputs = [tensor.name for tensor in model.graph.output]
    for kind, given, found in (
        ("input", [names.input, *(into for into, _ in names.states)], inputs),
        ("output", [names.output, *(out for _, out in names.states)], outputs),
    ):
        for name in given:
            if name is not None and name not in found:
                raise UserError(f"{where}: it has no {kind} '{name}': it has {_listed(found)}")
    states = names.states or tuple(_pairs(inputs, outputs))
    left_in = [name for name in inputs if name not in {into for into, _ in states}]
    left_out = [name for name in outputs if name not in {out for _, out in states}]
    remedy = "name states as state.X and next.X, or give --state IN:OUT for each"
    # A recurrent layer's output may be its hidden state itself.
    output = names.output or (left_out[0] if len(left_out) == 1 else None)
    taken = names.input or (left_in[0] if len(left_in) == 1 else None)
    if taken is None or len(left_in) > 1:
        raise UserError(f"{where}: inputs {_listed(left_in)} are no states, where one is to be the data: {remedy}, and --input NAME")
    if output is None:
        what = f"outputs {_listed(left_out)} are no states, where one is to be" if left_out else "all outputs are states, one has to be"
        raise UserError(f"{where}: {what} the result: {remedy}, and --output NAME")
    return Contract(taken, output, states)


def _pairs(inputs: Sequence[str], outputs: Sequence[str]) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for (before, after), (starts, ends) in _PATTERNS:
        for name in inputs:
            if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
                middle = name[len(before) : len(name) - len(after)]
                other = f"{starts}{middle}{ends}"
                if name not in found and other in outputs and other not in found.values():
                    found[name] = other
    return list(found.items())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
