"""A step graph that somebody has edited: its size is bounded before a library sees it, and it is tried out where it can do no harm."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.limits import MOST_CALLED, MOST_NODES
from export.stepgraph import DOMAIN, OPSET, GraphBuilder, Stepper, load_model, metadata
from export.trial import load_tried
from realm_edge.errors import UserError

OPSETS = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]


@pytest.fixture
def model():
    graph = GraphBuilder("decoder", ())
    x = graph.input("features", np.int16, (3,), scale=[0.5, 1.0, 2.0], offset=0.0)
    state = graph.state("block.sum", np.int16, (3,))
    graph.node("Add", [x, state[0]], [state[1]], "sum", domain="")
    graph.node("Add", [x, graph.constant("one", np.ones(3), np.int16)], ["decoded"], "one more", domain="")
    graph.output("decoded", np.int16, (3,), scale=1.0, offset=0.0)
    return graph.build(kind="decoder", rate_hz=50.0)


def function(name, *body):
    return helper.make_function(DOMAIN, name, ["x"], ["y"], list(body), OPSETS)


def call(name, x, y):
    return helper.make_node(name, [x], [y], domain=DOMAIN)


def many_nodes(model):
    model.graph.node.extend(helper.make_node("Identity", ["features"], [f"i{index}"]) for index in range(MOST_NODES))


def many_functions(model):
    model.functions.extend(function(f"F{index}", helper.make_node("Identity", ["x"], ["y"])) for index in range(MOST_NODES + 1))


def doubling(model):
    """Thirty functions, of which each calls the next twice."""
    model.functions.extend(function(f"F{index}", call(f"F{index + 1}", "x", "a"), call(f"F{index + 1}", "a", "y")) for index in range(30))
    model.functions.append(function("F30", helper.make_node("Identity", ["x"], ["y"])))
    model.graph.node.append(call("F0", "features", "spare"))


def recursion(model):
    model.functions.extend((function("F", call("G", "x", "y")), function("G", call("F", "x", "y"))))


def branch(model):
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["features"], ["spare"], then_branch=inner, else_branch=inner))


def no_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1


def overflowing(model):
    model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 2**62


def elsewhere(tensor):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")


def external(model):
    elsewhere(model.graph.initializer[0])


def external_in_a_function(model):
    value = numpy_helper.from_array(np.ones(3, np.int16), "hidden")
    elsewhere(value)
    model.functions.append(function("F", helper.make_node("Constant", [], ["y"], value=value)))


def external_in_a_sparse_one(model):
    kept = helper.make_sparse_tensor(numpy_helper.from_array(np.ones(1, np.int16), "kept"), numpy_helper.from_array(np.zeros(1, int)), [3])
    elsewhere(kept.values)
    model.graph.sparse_initializer.append(kept)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (many_nodes, f"1,002 nodes, where a step graph has at most {MOST_NODES:,}"),
        (many_functions, f"1,001 functions, where a step graph has at most {MOST_NODES:,}"),
        (doubling, f"its functions call one another 1.07e+09 times, at most {MOST_CALLED:,}"),
        (recursion, "a function of it calls itself"),
        (branch, "node '' (If) holds a graph of its own"),
        (no_size, "tensor 'features' has no fixed size"),
        (overflowing, "tensor 'features' has no fixed size"),
        (external, "constant 'one' lies in another file"),
        (external_in_a_function, "constant 'hidden' lies in another file"),
        (external_in_a_sparse_one, "constant 'kept' lies in another file"),
    ],
)
def test_what_no_step_graph_has_is_refused_before_anything_reads_it(model, tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(np.ones(3, np.int16).tobytes())
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: pytest.fail("the checker has seen it"))
    change(model)
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}: ") and said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_told_at_once(tmp_path, make):
    make(tmp_path / "a.onnx")
    with pytest.raises(UserError, match=r"a.onnx: not a readable ONNX step graph"):
        load_model(tmp_path / "a.onnx")


def unknown_io(about):
    del about["io"]["decoded"]


def short_scale(about):
    about["io"]["features"]["scale"] = [1.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (unknown_io, "metadata 'io' say nothing of tensor 'decoded'"),
        (short_scale, "metadata 'io.features.scale' has 1 entries for 3 elements"),
    ],
)
def test_metadata_say_something_of_each_data_tensor(model, tmp_path, change, said):
    about = metadata(model)
    change(about)
    helper.set_model_props(model, {key: json.dumps(value) for key, value in about.items()})
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=f"a.onnx: {said}: export it again"):
        load_model(tmp_path / "a.onnx")


def test_a_graph_that_runs_is_given_as_it_is(model, tmp_path):
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    tried = load_tried(tmp_path / "a.onnx", "decoder")
    assert tried == model
    assert Stepper(tried).step({"features": np.arange(3, dtype=np.int16)})["decoded"].tolist() == [1, 2, 3]
    with pytest.raises(UserError, match=r"a.onnx: no step graph of a frontend, with its rate: it maps \['features'\] to \['decoded'\]"):
        load_tried(tmp_path / "a.onnx", "frontend")


def test_what_onnxruntime_cannot_run_costs_a_line(model, tmp_path):
    model.graph.node[0].input[1] = "one"
    model.graph.node[0].op_type = "Erf"  # of one input
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"a.onnx: (onnxruntime cannot run it|not a readable ONNX step graph)"):
        load_tried(tmp_path / "a.onnx", "decoder")
    model.graph.node[0].op_type = "MatMul"
    model.graph.node[0].input[1] = "wide"
    model.graph.initializer.append(numpy_helper.from_array(np.ones((7, 3), np.int16), "wide"))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"a.onnx: onnxruntime cannot run it"):
        load_tried(tmp_path / "a.onnx", "decoder")


def test_a_step_that_takes_all_memory_ends_in_the_process_apart(model, tmp_path):
    """A node makes 24 GiB of three numbers."""
    last = model.graph.node.pop()
    last.input[1] = "most"
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**31, 1, 3], np.int64), "shape"))
    bomb = (
        helper.make_node("Cast", ["features"], ["exact"], "a", to=TensorProto.FLOAT),
        helper.make_node("Expand", ["exact", "shape"], ["vast"], "b"),
        helper.make_node("ReduceMax", ["vast"], ["one of them"], "c", keepdims=0),
        helper.make_node("Cast", ["one of them"], ["most"], "d", to=TensorProto.INT16),
    )
    model.graph.node.extend((*bomb, last))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"a.onnx: (onnxruntime cannot run it .*Expand node|reading it takes more than 4 GiB)"):
        load_tried(tmp_path / "a.onnx", "decoder")
