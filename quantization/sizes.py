"""Bytes of an integer step graph, tensor by tensor."""

import math
from typing import Any

import numpy as np
import onnx

from export.stepgraph import metadata


def sizes(model: onnx.ModelProto) -> dict[str, Any]:
    """{"weights", "tables", "constants", "states": {tensor: bytes}, "bytes": their sums}.

    Weights are int8, one byte a parameter; constants are what is left: multipliers, biases and shifts, wider than what they stand for.
    The firmware writes shifts and sizes into its code: how many bytes of constants its flash holds is in a bundle's ``metadata.json``.
    """
    listed: dict[str, dict[str, int]] = {"weights": {}, "tables": {}, "constants": {}, "states": {}}
    for tensor in model.graph.initializer:
        kind = "tables" if tensor.name.endswith(".table") else "constants"
        listed["weights" if tensor.data_type == onnx.TensorProto.INT8 else kind][tensor.name] = len(tensor.raw_data)
    for state in metadata(model)["states"]:
        listed["states"][state["in"]] = math.prod(state["shape"]) * np.dtype(state["dtype"]).itemsize
    return {**listed, "bytes": {kind: sum(tensors.values()) for kind, tensors in listed.items()}}
