"""Step graphs: ONNX models that map (inputs, states) to (outputs, next states) for one tick, and how to run them.

States are named ``state.<block>.<what>`` going in and ``next.<block>.<what>`` coming out and start at zero. The metadata
property ``states`` pairs them; ``io`` gives scale, offset and unit of every data tensor (value = stored * scale + offset).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnx
import onnx.checker
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.limits import MOST_BYTES, check_limits
from export.metadata import FORMAT, PACKAGES, checked
from realm_edge.documents import header
from realm_edge.errors import UserError
from realm_edge.files import read_bytes, write_bytes
from realm_edge.segments import Starts

DOMAIN = "realm.edge"
OPSET = 21  # what the oldest onnxruntime of pyproject.toml reads; tests/quantization/test_opsets.py: the same bits at the newest
IR_VERSION = 10
_ELEMENT = helper.np_dtype_to_tensor_dtype
Arrays = dict[str, NDArray]
Row = TypeVar("Row")


@dataclass
class GraphBuilder:
    """Collects nodes in order; every name that a node returns is the name to pass on."""

    name: str
    functions: tuple[onnx.FunctionProto, ...]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    constants: Arrays = field(default_factory=dict)
    states: list[dict[str, Any]] = field(default_factory=list)
    io: dict[str, dict[str, Any]] = field(default_factory=dict)

    def input(self, name: str, dtype: type, shape: tuple[int, ...], **io: Any) -> str:
        """Declare a data input; ``io`` is what a stranger needs to feed it (unit, scale, offset)."""
        self.inputs.append(helper.make_tensor_value_info(name, _ELEMENT(np.dtype(dtype)), shape))
        self.io[name] = io
        return name

    def output(self, name: str, dtype: type, shape: tuple[int, ...], **io: Any) -> None:
        """Declare a data output that some node writes."""
        self.outputs.append(helper.make_tensor_value_info(name, _ELEMENT(np.dtype(dtype)), shape))
        self.io[name] = io

    def state(self, name: str, dtype: type, shape: tuple[int, ...], **about: Any) -> tuple[str, str]:
        """Declare a state; returns its names going in and coming out."""
        into, out = f"state.{name}", f"next.{name}"
        self.inputs.append(helper.make_tensor_value_info(into, _ELEMENT(np.dtype(dtype)), shape))
        self.outputs.append(helper.make_tensor_value_info(out, _ELEMENT(np.dtype(dtype)), shape))
        self.states.append({"in": into, "out": out, "dtype": np.dtype(dtype).name, "shape": list(shape), **about})
        return into, out

    def constant(self, name: str, value: Any, dtype: type) -> str:
        """Store an initialiser.

        Raises:
            ValueError: a value that the integer type cannot hold (numpy would wrap it round silently).
        """
        exact = np.asarray(value)
        stored: NDArray = exact.astype(dtype)
        if np.issubdtype(dtype, np.integer) and not np.array_equal(stored, exact):
            raise ValueError(f"{self.name}: constant '{name}' does not fit {np.dtype(dtype).name}")
        self.constants[name] = stored
        return name

    def node(self, op: str, inputs: Iterable[str], outputs: Iterable[str], name: str = "", domain: str = DOMAIN, **attributes: Any) -> None:
        """Append a node."""
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name=name or op, domain=domain, **attributes))

    def build(self, **metadata: Any) -> onnx.ModelProto:
        """The checked model; ``metadata`` values are stored as JSON beside ``states`` and ``io``."""
        graph = helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        )
        model = helper.make_model(
            graph,
            functions=_used(self.nodes, self.functions),
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
            ir_version=IR_VERSION,
            producer_name="realm-edge",
        )
        properties = {**header(FORMAT, PACKAGES), "states": self.states, "io": self.io, **metadata}
        helper.set_model_props(model, {key: json.dumps(value, sort_keys=True) for key, value in properties.items()})
        onnx.checker.check_model(model, full_check=True)
        return model


def _used(nodes: Iterable[onnx.NodeProto], functions: tuple[onnx.FunctionProto, ...]) -> list[onnx.FunctionProto]:
    """The functions that ``nodes`` call, directly or through others, in definition order."""
    by_name = {f.name: f for f in functions}
    wanted: set[str] = set()
    pending = [n.op_type for n in nodes if n.domain == DOMAIN]
    while pending:
        op = pending.pop()
        if op not in wanted:
            wanted.add(op)
            pending += [n.op_type for n in by_name[op].node if n.domain == DOMAIN]
    return [f for f in functions if f.name in wanted]


def metadata(model: onnx.ModelProto) -> dict[str, Any]:
    """The metadata properties, parsed."""
    return {p.key: json.loads(p.value) for p in model.metadata_props}


def save_model(model: onnx.ModelProto, path: Path) -> None:
    """Write the model atomically; equal models give equal bytes."""
    write_bytes(path, model.SerializeToString(deterministic=True))


def load_model(path: Path) -> onnx.ModelProto:
    """Read and check a step graph.

    Raises:
        UserError: missing, truncated, not ONNX, not one of this project's step graphs, or too large for one.
    """
    try:
        content = read_bytes(path, MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"{path}: larger than {MOST_BYTES:,} bytes: export a smaller graph")
        model = onnx.load_model_from_string(content)
        check_limits(model, path)  # first: the checker has no bounds
        onnx.checker.check_model(model)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: export it") from error
    except Exception as error:  # protobuf, checker and JSON raise unrelated types on damaged files
        raise UserError(f"{path}: not a readable ONNX step graph ({' '.join(str(error).split()):.120}); export it again") from error
    checked(model, path)
    return model


class Stepper:
    """A step graph in onnxruntime with its states carried from tick to tick."""

    def __init__(self, model: onnx.ModelProto, extra_outputs: Iterable[str] = ()) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # one small vector per tick: threads only wait
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        self._states = metadata(model)["states"]
        state_outputs = {s["out"] for s in self._states}
        self.output_names = [o.name for o in model.graph.output if o.name not in state_outputs] + list(extra_outputs)
        self._fetch = self.output_names + [s["out"] for s in self._states]
        self.state: Arrays = {}
        self.reset()

    def reset(self) -> None:
        """Back to the initial state: zeros."""
        self.state = {s["in"]: np.zeros(s["shape"], s["dtype"]) for s in self._states}

    def step(self, inputs: Mapping[str, NDArray]) -> Arrays:
        """One tick; returns the data outputs and keeps the next states."""
        results = self._session.run(self._fetch, {**inputs, **self.state})
        n = len(self.output_names)
        self.state = {s["in"]: value for s, value in zip(self._states, results[n:], strict=True)}
        return dict(zip(self.output_names, results[:n], strict=True))


class Resets(Protocol):
    """What carries the states of a step graph."""

    def reset(self) -> None:
        """Back to the initial state."""


def restarting(stepper: Resets, rows: Iterable[Row], starts: Starts) -> Iterator[Row]:
    """The rows that ``stepper`` is to step over; it goes back to its initial state before those where a segment starts."""
    firsts = {int(start) for start in starts}
    for index, row in enumerate(rows):
        if index in firsts:
            stepper.reset()
        yield row


def with_outputs(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy whose inner tensors ``names`` are outputs as well, for calibration and debugging."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {o.name for o in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
    return copy
