"""Reads a graph of somebody else: bounded before a library sees it, functions inlined, open sizes set to one."""

from pathlib import Path

import onnx
import onnx.checker
import onnx.inliner
from onnx import numpy_helper

from export.limits import MOST_BYTES, check_limits
from realm_edge.errors import UserError
from realm_edge.files import read_bytes

OLDEST_OPSET = 13  # from which on Clip, Squeeze and ReduceSum are what they are today


def read_foreign(path: Path) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The graph, and what was done to it.

    Raises:
        UserError: missing, no ONNX, too large for a step, of an opset that is not known, or with branches, loops or data elsewhere.
    """
    try:
        content = read_bytes(path, MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"{path}: larger than {MOST_BYTES:,} bytes: export a smaller graph")
        model = onnx.load_model_from_string(content)
        notes = _sized(model)
        check_limits(model, path)  # first: the checker has no bounds
        _check_opset(model, path)
        onnx.checker.check_model(model)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
            check_limits(model, path)
        for tensor in model.graph.initializer:
            numpy_helper.to_array(tensor)  # see that it can be read
    except (UserError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: export it") from error
    except Exception as error:  # protobuf and checker raise unrelated types on damaged files
        raise UserError(f"{path}: not a readable ONNX graph ({' '.join(str(error).split()):.120}): export it again") from error
    return model, notes


def _sized(model: onnx.ModelProto) -> tuple[str, ...]:
    """Sizes that the file leaves open are 1: a step is of one moment of one recording."""
    notes = []
    for tensor in (*model.graph.input, *model.graph.output):
        opened = [each for each in tensor.type.tensor_type.shape.dim if not each.HasField("dim_value")]
        for each in opened:
            notes.append(f"size '{each.dim_param or '?'}' of '{tensor.name}' is taken as 1")
            each.dim_value = 1
    return tuple(notes)


def _check_opset(model: onnx.ModelProto, path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and not OLDEST_OPSET <= entry.version <= newest:
            raise UserError(f"{path}: it is of opset {entry.version}: export it with opset {OLDEST_OPSET} to {newest}")


def opset_of(model: onnx.ModelProto) -> int:
    """Of the standard operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=OLDEST_OPSET)
