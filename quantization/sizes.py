"""Bytes of an integer step graph, tensor by tensor."""

import math

import numpy as np
import onnx

from export.stepgraph import metadata
from quantization.summaries import Sizes


def sizes(model: onnx.ModelProto) -> Sizes:
    """What each tensor takes."""
    listed: dict[str, dict[str, int]] = {"weights": {}, "tables": {}, "constants": {}, "states": {}}
    for tensor in model.graph.initializer:
        kind = "tables" if tensor.name.endswith(".table") else "constants"
        listed["weights" if tensor.data_type == onnx.TensorProto.INT8 else kind][tensor.name] = len(tensor.raw_data)
    for state in metadata(model)["states"]:
        listed["states"][state["in"]] = math.prod(state["shape"]) * np.dtype(state["dtype"]).itemsize
    return Sizes(**listed, bytes={kind: sum(tensors.values()) for kind, tensors in listed.items()})
