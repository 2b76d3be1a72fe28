"""Rung 3 of the ladder: a step graph in onnxruntime and in the integer reference, every bit of all outputs and states, tick by tick."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import Stepper, metadata, restarting
from quantization.reference import ReferenceStepper
from quantization.summaries import Difference
from realm_edge.errors import UserError
from realm_edge.segments import Starts

Arrays = dict[str, NDArray]


class Differs(UserError):
    """The first difference, in one line."""

    def __init__(self, found: Difference) -> None:
        self.difference = found
        where = f"'{found.tensor}', tick {found.tick}, element {list(found.element)}"
        values = f"onnxruntime has {found.onnxruntime}, the integer reference {found.reference}"
        during = f" on {found.during}" if found.during else ""
        super().__init__(f"{found.graph}: {where}{during}: {values}: please report it")


class SideBySide:
    """Like :class:`export.stepgraph.Stepper`, with the reference beside it and every bit compared at every tick."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.fast, self.reference = Stepper(model), ReferenceStepper(model)
        self.ticks = 0  # compared since the zero state
        self._graph = model.graph.name

    @property
    def state(self) -> Arrays:
        """The states after the last tick, the same in both."""
        return self.fast.state

    def reset(self) -> None:
        """Back to the initial state: zeros."""
        self.fast.reset()
        self.reference.reset()
        self.ticks = 0

    def step(self, inputs: Mapping[str, NDArray]) -> Arrays:
        """One tick; returns the data outputs and keeps the next states.

        Raises:
            Differs: a bit, type or shape of an output or state.
        """
        got, expected = self.fast.step(inputs), self.reference.step(inputs)
        for values, others in ((expected, got), (self.reference.state, self.fast.state)):
            for name, value in values.items():
                other = others[name]
                if value.dtype != other.dtype or value.shape != other.shape or value.tobytes() != other.tobytes():
                    raise Differs(self._difference(name, other, value))
        self.ticks += 1
        return got

    def _difference(self, name: str, fast: NDArray, reference: NDArray) -> Difference:
        if fast.dtype != reference.dtype or fast.shape != reference.shape:
            ours, theirs = (f"{value.dtype}{list(value.shape)}" for value in (fast, reference))
            return Difference(self._graph, name, self.ticks, (), ours, theirs, None)
        element = tuple(int(k) for k in np.argwhere(fast != reference)[0])
        return Difference(self._graph, name, self.ticks, element, int(fast[element]), int(reference[element]), None)


def compare(model: onnx.ModelProto, rows: Iterable[NDArray], starts: Starts = (0,)) -> int:
    """Step an int8 step graph over rows of its data input, at ``starts`` from the zero state; returns the number of ticks compared.

    Raises:
        Differs: onnxruntime and the reference are not the same to the bit.
    """
    pair = SideBySide(model)
    states = {state["in"] for state in metadata(model)["states"]}
    [name] = [each.name for each in model.graph.input if each.name not in states]
    ticks = 0
    for row in restarting(pair, rows, starts):
        pair.step({name: row})
        ticks += 1
    return ticks
