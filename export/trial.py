"""Tries a step graph out in the process apart: onnxruntime may end by a signal, or not at all, with one that somebody has edited."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from export.stepgraph import Stepper, load_model, metadata
from realm_edge.apart import apart
from realm_edge.errors import UserError

_STEPS = 3
_DATA = {"frontend": (["sample"], ["features", "valid"]), "decoder": (["features"], ["decoded"])}  # inputs and outputs, but for states


def load_tried(path: Path, kind: str) -> onnx.ModelProto:
    """As :func:`export.stepgraph.load_model`, for a graph that will be run.

    Args:
        kind: "frontend" or "decoder".

    Raises:
        UserError: as there; it is of another kind, has no rate, or onnxruntime cannot run it, takes too long or too much memory.
    """
    apart("export.trial:run", path, files=(path,))
    model = load_model(path)
    about = metadata(model)
    states = {name for state in about["states"] for name in (state["in"], state["out"])}
    found = tuple([tensor.name for tensor in side if tensor.name not in states] for side in (model.graph.input, model.graph.output))
    if found != _DATA[kind] or about.get("rate_hz") is None:
        raise UserError(f"{path}: no step graph of a {kind}, with its rate: it maps {found[0]} to {found[1]}: export it again")
    return model


def run(path: Path) -> None:
    """A few steps over random numbers; returns nothing, which is JSON.

    Raises:
        UserError: onnxruntime cannot run it.
    """
    model, rng = load_model(path), np.random.default_rng(0)
    try:
        stepper = Stepper(model)
        inputs = [tensor for tensor in model.graph.input if tensor.name not in stepper.state]
        for _ in range(_STEPS):
            stepper.step({tensor.name: _drawn(tensor, rng) for tensor in inputs})
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's have no class in common
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: onnxruntime cannot run it ({reason:.200}): export it again") from error


def _drawn(tensor: onnx.ValueInfoProto, rng: np.random.Generator) -> np.ndarray:
    kind = tensor.type.tensor_type
    sizes = [dimension.dim_value for dimension in kind.shape.dim]
    return np.asarray(rng.integers(-100, 100, sizes)).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
