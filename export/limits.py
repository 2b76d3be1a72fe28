"""Bounds on a step graph that may come from anybody: the libraries that read one have none."""

from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from math import prod
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from realm_edge.errors import UserError

MOST_BYTES = 1 << 30  # of a file; no part's flash holds a hundredth of it
MOST_NODES = 1000  # of a graph, and functions in a file: the float decoder of preset realm, the largest, has 130 nodes
MOST_CALLED = 100_000  # nodes with those of functions, each time one is called, as onnxruntime expands them: 717 there
MOST_ELEMENTS = 1 << 24  # of one tensor: a hundred times what any part's RAM holds
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def check_limits(model: onnx.ModelProto, path: Path) -> None:
    """See that a step is small and ends: few nodes, each of which runs once, all constants in the file, and tensors of fixed size.

    Raises:
        UserError: it is not so.
    """
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    for what, count in (("nodes", len(model.graph.node)), ("functions", len(model.functions))):
        if count > MOST_NODES:
            raise UserError(f"{path}: {count:,} {what}, where a step graph has at most {MOST_NODES:,}: export a smaller one")
    nodes = [node for body in (model.graph.node, *bodies.values()) for node in body]
    for node in nodes:
        if any(attribute.type in _GRAPHS or attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise UserError(f"{path}: node '{node.name}' ({node.op_type}) holds a graph of its own: export a step without branch and loop")
    for held in _tensors(model.graph, nodes):
        if held.data_location == TensorProto.EXTERNAL or held.external_data:  # onnxruntime would read what it names
            raise UserError(f"{path}: constant '{held.name}' lies in another file: save the graph as one file")
    called = _called(model.graph.node, bodies, path)
    if called > MOST_CALLED:
        raise UserError(f"{path}: its functions call one another {called:.3g} times, at most {MOST_CALLED:,}: export a smaller graph")
    for tensor in (*model.graph.input, *model.graph.output):
        sizes = [dimension.dim_value for dimension in tensor.type.tensor_type.shape.dim]
        if not sizes or min(sizes) < 1 or prod(sizes) > MOST_ELEMENTS:
            raise UserError(
                f"{path}: tensor '{tensor.name}' has no fixed size of 1 to {MOST_ELEMENTS:,} elements ({sizes}): export it again"
            )


def _tensors(graph: GraphProto, nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    yield from graph.initializer
    attributes = [attribute for node in nodes for attribute in node.attribute]
    for attribute in attributes:
        yield from (attribute.t, *attribute.tensors)
    sparse = [
        *graph.sparse_initializer,
        *(each for attribute in attributes for each in (attribute.sparse_tensor, *attribute.sparse_tensors)),
    ]
    for each in sparse:
        yield from (each.values, each.indices)


def _called(nodes: Iterable[NodeProto], bodies: dict[tuple[str, str], Iterable[NodeProto]], path: Path) -> int:
    calls = {name: [(node.domain, node.op_type) for node in body] for name, body in bodies.items()}
    count: dict[tuple[str, str], int] = {}
    try:
        for name in TopologicalSorter(
            {name: {called for called in body if called in calls} for name, body in calls.items()}
        ).static_order():
            count[name] = sum(count.get(called, 1) for called in calls[name])
    except CycleError:
        raise UserError(f"{path}: a function of it calls itself: export it again") from None
    return sum(count.get((node.domain, node.op_type), 1) for node in nodes)
