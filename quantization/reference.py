"""The integer reference: an int8 step graph interpreted with :mod:`quantization.operators`, without onnxruntime."""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.stepgraph import DOMAIN, metadata
from quantization.operators import OPERATORS
from realm_edge.errors import UserError

Arrays = dict[str, NDArray]


class ReferenceStepper:
    """Like :class:`export.stepgraph.Stepper`, in plain numpy."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._nodes = list(model.graph.node)
        self._constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self._states = metadata(model)["states"]
        after = {s["out"] for s in self._states}
        self.output_names = [o.name for o in model.graph.output if o.name not in after]
        self.state: Arrays = {}
        self.reset()

    def reset(self) -> None:
        """Back to the initial state: zeros."""
        self.state = {s["in"]: np.zeros(s["shape"], s["dtype"]) for s in self._states}

    def step(self, inputs: Mapping[str, NDArray]) -> Arrays:
        """One tick; returns the data outputs and keeps the next states."""
        values = {**self._constants, **inputs, **self.state}
        for node in self._nodes:
            arguments = [values[name] for name in node.input]
            values.update(zip(node.output, _apply(node, arguments), strict=True))
        self.state = {s["in"]: values[s["out"]] for s in self._states}
        return {name: values[name] for name in self.output_names}


def _apply(node: onnx.NodeProto, arguments: list[NDArray]) -> tuple[NDArray, ...]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.domain == DOMAIN and node.op_type in OPERATORS:
        return OPERATORS[node.op_type].arithmetic(*arguments, **attributes)
    if node.op_type == "Identity":
        return (arguments[0],)
    if node.op_type == "Split":
        return tuple(np.split(arguments[0], np.cumsum(arguments[1])[:-1]))
    raise UserError(f"node '{node.name}': operator '{node.op_type}' is not one of the integer step graphs")
