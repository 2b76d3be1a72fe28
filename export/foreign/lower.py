"""Checks and lowers a file of somebody else, in the process apart: what it answers is JSON, what it makes is a file."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from export.foreign.contract import Contract, Names, contract_of
from export.foreign.emit import emit
from export.foreign.reading import read_foreign
from export.foreign.trace import trace
from export.stepgraph import Stepper, save_model
from realm_edge.errors import UserError
from realm_edge.files import sha256_file

COMPARED_STEPS = 50
MOST_ERROR = 1e-3  # of the largest output: float32 in another order, over many steps
RATE_HZ = 50.0  # of a graph that is looked at alone


def lowered(path: Path, names: Names, rate_hz: float, out: Path | None) -> dict[str, Any]:
    """What is in a graph, what blocks it, and what it becomes; where nothing blocks, that is written to ``out``.

    Args:
        path: of the graph.
        names: what the user says of its tensors.
        rate_hz: steps a second.
        out: receives the float step graph; None to look only.

    Returns:
        "input", "output" (name, shape), "states", "operators" (how often each is in the file), "becomes", "blockers", "notes" and "error":
        the largest difference of the float step graph from the file's own in onnxruntime, over the largest output; None where it was not
        compared.

    Raises:
        UserError: it cannot be read, or it is not clear which of its tensors are what.
    """
    model, notes = read_foreign(path)
    contract = contract_of(model, names, str(path))
    found = trace(model, contract)
    made = emit(found, rate_hz, {"onnx": sha256_file(path)})
    shapes = {tensor.name: _shape(tensor) for tensor in (*model.graph.input, *model.graph.output)}
    error, note = (None, "") if made is None else _compared(model, contract, made)
    if error is not None and error > MOST_ERROR and "QuantizeLinear" not in found.taken:
        raise UserError(f"{path}: what was made of it differs by {error:.2g} of its largest output: please report it, with the file")
    if made is not None and out is not None:
        save_model(made, out)
    return {
        "input": {"name": contract.input, "shape": shapes[contract.input]},
        "output": {"name": contract.output, "elements": None if found.output is None else len(found.output)},
        "states": [{"into": into, "out": out, "shape": shapes[into]} for into, out in contract.states],
        "operators": dict(sorted(found.taken.items())),
        "becomes": {} if made is None else dict(sorted(Counter(_plain(node.op_type) for node in made.graph.node).items())),
        "blockers": [vars(each) for each in found.blockers],
        "notes": [*notes, *found.notes, *([note] if note else [])],
        "error": error,
    }


def _plain(op: str) -> str:
    """All functions of one element are tables."""
    return "Table" if op.startswith("Pointwise") else op


def _shape(tensor: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in tensor.type.tensor_type.shape.dim]


def _compared(model: onnx.ModelProto, contract: Contract, made: onnx.ModelProto) -> tuple[float | None, str]:
    """The largest difference over the largest output, on random input; or None, and why it was not compared."""
    try:
        rows, expected = _run_here(model, contract)
    except MemoryError:
        raise
    except Exception as error:  # onnxruntime's have no class in common
        return None, f"not compared with the file's own graph, which does not run here ({' '.join(str(error).split()):.100})"
    if not np.isfinite(expected).all():
        return None, "not compared with the file's own graph: on random input its results are not finite"
    stepper = Stepper(made)  # what is wrong with ours is no reason not to compare
    got = np.stack([stepper.step({"features": row})["decoded"] for row in rows])
    worst = float(np.abs(got - expected).max())
    return (worst if np.isfinite(worst) else np.inf) / max(1e-9, float(np.abs(expected).max())), ""


def _run_here(model: onnx.ModelProto, contract: Contract) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Random input, (steps, n_inputs), and what the file's own graph makes of it, (steps, n_outputs)."""
    session, rng = _Session(model), np.random.default_rng(0)
    states = {into: session.zeros(into) for into, _ in contract.states}
    rows, outputs = [], []
    for _ in range(COMPARED_STEPS):
        row = session.zeros(contract.input)
        row += rng.normal(0, 1, row.shape).astype(row.dtype)
        results = session.run({contract.input: row, **states})
        states = {into: results[out] for into, out in contract.states}
        rows.append(row.ravel().astype(np.float32))
        outputs.append(np.asarray(results[contract.output], np.float64).ravel())
    return np.stack(rows), np.stack(outputs)


class _Session:
    """The file's own graph: in onnxruntime, or in the reference evaluator of onnx where that is too old for it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._inputs = {tensor.name: tensor for tensor in model.graph.input}
        self._outputs = [tensor.name for tensor in model.graph.output]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        try:
            self._session: Any = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception:
            self._session = ReferenceEvaluator(model)

    def zeros(self, name: str) -> NDArray[Any]:
        tensor = self._inputs[name]
        return np.zeros(_shape(tensor), helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type))

    def run(self, given: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(zip(self._outputs, self._session.run(self._outputs, given), strict=True))
