"""Reads an int8 step graph for compilation. The file is untrusted: everything that is relied on is checked here or by the kernels."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from export.stepgraph import load_model, metadata
from firmware_sim.compiler.kernels.interface import Value, full_range
from realm_edge.errors import UserError

STATE_IN, STATE_OUT = "state.", "next."
_REMEDY = "export the graph again"


@dataclass(frozen=True)
class GraphNode:
    """One node; ``where`` names file, node and operator."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int]
    where: str


@dataclass(frozen=True)
class StepGraph:
    """A checked step graph.

    Attributes:
        inputs, outputs: data tensors, without the states.
        states: state inputs; the output ``next.x`` is the next value of the input ``state.x``.
        io: what the metadata say about each data tensor (unit, scale, offset).
        warm_up_bins: of a decoder, bins after a reset that it was not calibrated on; None where the metadata do not say.
    """

    source: Path
    sha256: str
    rate_hz: float
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    states: tuple[Value, ...]
    constants: dict[str, NDArray]
    nodes: tuple[GraphNode, ...]
    io: dict[str, dict[str, Any]]
    warm_up_bins: int | None


def read_graph(path: Path) -> StepGraph:
    """Read ``path``.

    Raises:
        UserError: not a step graph, data outside the file, an unknown size, or states that do not pair.
    """
    model = load_model(path)
    graph = model.graph
    tensors = [_tensor(path, info) for info in (*graph.input, *graph.output)]
    inputs, outputs = tensors[: len(graph.input)], tensors[len(graph.input) :]
    states = tuple(t for t in inputs if t.name.startswith(STATE_IN))
    _check_pairs(path, states, [t for t in outputs if t.name.startswith(STATE_OUT)])
    about = metadata(model)
    rate_hz = about.get("rate_hz")
    if not isinstance(rate_hz, int | float) or not rate_hz > 0:
        raise UserError(f"{path}: metadata 'rate_hz' is {rate_hz!r}, not a positive number; {_REMEDY}")
    return StepGraph(
        source=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        rate_hz=float(rate_hz),
        inputs=tuple(t for t in inputs if not t.name.startswith(STATE_IN)),
        outputs=tuple(t for t in outputs if not t.name.startswith(STATE_OUT)),
        states=states,
        constants={i.name: _constant(path, i) for i in graph.initializer},
        nodes=tuple(_node(path, n) for n in graph.node),
        io=about["io"],
        warm_up_bins=about.get("warm_up_bins"),
    )


def next_name(state: str) -> str:
    """The output that carries the next value of a state input."""
    return STATE_OUT + state.removeprefix(STATE_IN)


def _tensor(path: Path, info: onnx.ValueInfoProto) -> Value:
    kind = info.type.tensor_type
    shape = tuple(d.dim_value for d in kind.shape.dim)
    if kind.elem_type not in (TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64):
        raise UserError(f"{path}: tensor '{info.name}' is not of a signed integer type; compile an int8 graph ('realm-edge quantize')")
    if any(d < 1 for d in shape):
        raise UserError(f"{path}: tensor '{info.name}' has no fixed size ({list(shape)}); {_REMEDY}")
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return Value(info.name, dtype, shape, full_range(dtype))


def _check_pairs(path: Path, states: tuple[Value, ...], following: list[Value]) -> None:
    want = {next_name(s.name): (s.dtype, s.shape) for s in states}
    have = {t.name: (t.dtype, t.shape) for t in following}
    for name in sorted(want.keys() | have.keys()):
        if want.get(name) != have.get(name):
            raise UserError(f"{path}: state '{name}' is {have.get(name)} going out and {want.get(name)} coming in; {_REMEDY}")


def _constant(path: Path, tensor: TensorProto) -> NDArray:
    if tensor.data_location == TensorProto.EXTERNAL:
        raise UserError(f"{path}: constant '{tensor.name}' lies in another file; save the graph as one file")
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:  # the last of a type that onnx does not know
        raise UserError(f"{path}: constant '{tensor.name}' is damaged ({error}); {_REMEDY}") from error
    if not np.issubdtype(array.dtype, np.signedinteger) or not array.size:
        raise UserError(f"{path}: constant '{tensor.name}' is {array.dtype}{list(array.shape)}, not signed integers; {_REMEDY}")
    return array


def _node(path: Path, node: onnx.NodeProto) -> GraphNode:
    where = f"{path}: node '{node.name}' ({node.op_type})"
    for a in node.attribute:
        if a.type != AttributeProto.INT:
            raise UserError(f"{where}: attribute '{a.name}' is not an integer; {_REMEDY}")
    attributes = {a.name: a.i for a in node.attribute}
    return GraphNode(node.name or node.op_type, node.op_type, node.domain, tuple(node.input), tuple(node.output), attributes, where)
