"""Functions of one element as ONNX functions of a step graph's own: whatever a graph computes element by element of one tensor.

A node that calls one has the tensor first, then constants that differ by element, ``(n,)`` each. In integers it becomes a table.
"""

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.functions import FLOAT
from export.stepgraph import DOMAIN, IR_VERSION, OPSET

PREFIX = "Pointwise"  # of the names of these functions


def is_pointwise(node: onnx.NodeProto) -> bool:
    """Whether a node calls one."""
    return node.domain == DOMAIN and node.op_type.startswith(PREFIX)


def points(function: onnx.FunctionProto, x: NDArray[np.float64], constants: Sequence[NDArray]) -> NDArray[np.float64]:
    """The function of x (points,), for each element of its constants: (points, n), or (points, 1) where it has none.

    Computed in float32, as onnxruntime runs the graph. Where it is no number, it has the value of the nearest point where it is one.
    """
    column = helper.make_tensor_value_info("x", FLOAT, (len(x), 1))
    result = helper.make_tensor_value_info("y", FLOAT, None)
    names = [f"c{i}" for i in range(len(constants))]
    node = helper.make_node(function.name, ["x", *names], ["y"], domain=DOMAIN)
    held = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in zip(names, constants, strict=True)]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    graph = helper.make_graph([node], "points", [column], [result], held)
    model = helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = np.array(session.run(["y"], {"x": x.astype(np.float32)[:, None]})[0], np.float64)
    for values in found.T:
        known = np.flatnonzero(~np.isnan(values))
        if len(known):
            at = np.arange(len(values))
            after = np.clip(np.searchsorted(known, at), 0, len(known) - 1)
            before = np.maximum(after - 1, 0)
            nearer = np.where(np.abs(known[before] - at) <= np.abs(known[after] - at), known[before], known[after])
            values[:] = values[nearer]
    return found
