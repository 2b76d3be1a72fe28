"""Graphs of other people become step graphs that compute the same: in onnxruntime, or onnx's own evaluator, step by step."""

import importlib.util
import json
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.foreign.contract import Names
from export.foreign.lower import lowered
from export.stepgraph import Stepper, load_model, metadata
from realm_edge.errors import UserError
from tests import foreign_graphs as graphs
from tests.foreign_graphs import INPUTS, UNITS

ONE_STATE = {"s0": [UNITS]}
CASES = {
    "GRU of torch": (graphs.gru, {"GruStep": 1, "Linear": 3}, ONE_STATE),
    "two GRU layers": (partial(graphs.gru, layers=2), {"GruStep": 2, "Linear": 5}, {"s0.0": [UNITS], "s0.1": [UNITS]}),
    "GRU beside a layer": (graphs.residual, {"GruStep": 1, "Add": 1, "Affine": 2}, {"h": [UNITS]}),
    "LSTM of torch": (graphs.lstm, {"LstmStep": 1, "Linear": 3}, {"s0": [UNITS], "s1": [UNITS]}),
    "two LSTM layers": (
        partial(graphs.lstm, layers=2),
        {"LstmStep": 2, "Linear": 5},
        {f"s{state}.{layer}": [UNITS] for state in range(2) for layer in range(2)},
    ),
    "two RNN layers": (graphs.rnn, {"Linear": 5, "Table": 2, "Store": 1}, {"s0": [2 * UNITS]}),
    "GRU that resets first": (partial(graphs.layer, op="GRU", gates=3), {"Mul": 2, "Table": 4, "Store": 1}, ONE_STATE),
    "GRU as torch resets": (partial(graphs.layer, op="GRU", gates=3, linear_before_reset=1), {"GruStep": 1}, ONE_STATE),
    "LSTM with other activations": (
        partial(graphs.layer, op="LSTM", gates=4, activations=["HardSigmoid", "Softsign", "Tanh"]),
        {"Mul": 3, "Table": 5, "Store": 2},
        {"s0": [UNITS], "s1": [UNITS]},
    ),
    "GRU cell written out": (partial(graphs.of_module, graphs.Cell, state=(1, UNITS)), {"LayerNorm": 1, "Mul": 2, "Store": 1}, ONE_STATE),
    "convolution of all channels": (
        partial(graphs.of_module, graphs.Window, 1, state=(1, INPUTS, 3)),
        {"Linear": 3, "Store": 1},
        {"s0": [3 * INPUTS]},
    ),
    "convolution by channel": (
        partial(graphs.of_module, graphs.Window, INPUTS, state=(1, INPUTS, 3)),
        {"Conv": 1, "Table": 1, "Linear": 1},
        {"s0": [3, INPUTS]},
    ),
    "norms in arithmetic": (partial(graphs.of_module, graphs.Norms, state=None), {"RmsNorm": 1, "LayerNorm": 1}, {}),
    "leaky means": (partial(graphs.of_module, graphs.Leaky, state=(1, INPUTS)), {"Store": 1, "Linear": 1}, {"s0": [INPUTS]}),
    "Mamba-2": (
        graphs.mamba2,
        {"Conv": 1, "LayerNorm": 1, "RmsNorm": 1, "LinearAttentionStep": 1, "Mul": 2},
        {"conv": [3, 56], "h": [3, 8, 16]},
    ),
    "linear attention": (partial(graphs.linear_attention, by_key=False), {"LinearAttentionStep": 1}, {"s": [2, 3, 4]}),
    "linear attention by key": (partial(graphs.linear_attention, by_key=True), {"LinearAttentionStep": 1}, {"s": [2, 3, 4]}),
    "quantised by others": (graphs.quantised_by_others, {"Linear": 1}, {}),
    "functions": (graphs.functions, {"Linear": 2}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_it_becomes_computes_the_same(name, tmp_path):
    """And is what it should be: operators that the implant has, states in the shapes that these have."""
    make, becomes, states = CASES[name]
    found = lowered(make(path=tmp_path / "a.onnx"), Names(), 100.0, tmp_path / "b.onnx")
    assert found["blockers"] == []
    assert becomes.items() <= found["becomes"].items()
    about = metadata(load_model(tmp_path / "b.onnx"))
    assert {state["in"].removeprefix("state."): state["shape"] for state in about["states"]} == states
    assert about["rate_hz"] == 100.0 and about["kind"] == "decoder"
    if name == "quantised by others":
        assert found["error"] > 1e-3 and any("left out" in note for note in found["notes"])
    else:
        assert found["error"] < 3e-6


def test_a_layer_that_nothing_reads_is_left_out_and_gains_are_folded(tmp_path):
    w = graphs.Written()
    w.node("MatMul", ["x", w.weight("w", INPUTS, UNITS)], "a")
    w.node("Split", ["a", w.constant("sizes", [2, 6])], "b", "unused", axis=1)
    w.node("Mul", [w.node("Add", ["b", w.constant("one", [1.0, -1.0])], "c"), w.constant("two", 2.0)], "y")
    path = w.save(tmp_path / "a.onnx", {"x": (1, INPUTS)}, {"y": (1, 2)})
    assert lowered(path, Names(), 50.0, tmp_path / "b.onnx")["becomes"] == {"Affine": 1, "Identity": 1, "Linear": 1}
    [weight] = [numpy_helper.to_array(i) for i in load_model(tmp_path / "b.onnx").graph.initializer if i.dims == [INPUTS, 2]]
    np.testing.assert_allclose(weight, 2 * w.weights["w"][:, :2], rtol=1e-6)


def test_states_may_have_any_names(tmp_path):
    torch_names = graphs.lstm(tmp_path / "a.onnx")
    model = onnx.load(torch_names)
    for tensor in (*model.graph.input, *model.graph.output, *model.graph.node):
        for names in [tensor.input, tensor.output] if isinstance(tensor, onnx.NodeProto) else []:
            names[:] = [each.replace("s0_", "foo ").replace("s1_", "bar ") for each in names]
        tensor.name = tensor.name.replace("s0_", "foo ").replace("s1_", "bar ")
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(UserError, match=r"inputs 'x', 'foo in', 'bar in' are no states, .* give --state IN:OUT for each"):
        lowered(tmp_path / "b.onnx", Names(), 50.0, None)
    pairs = (("foo in", "foo out"), ("bar in", "bar out"))
    assert lowered(tmp_path / "b.onnx", Names(states=pairs), 50.0, None)["error"] < 1e-6
    with pytest.raises(UserError, match="it has no output 'nope': it has 'y', 'foo out', 'bar out'"):
        lowered(tmp_path / "b.onnx", Names(states=(("foo in", "nope"),)), 50.0, None)
    swapped = (("foo in", "bar out"), ("bar in", "foo out"))  # a cell as hidden value
    assert "not what the state is next" in lowered(tmp_path / "b.onnx", Names(states=swapped), 50.0, None)["blockers"][0]["why"]


def test_a_state_can_be_the_result(tmp_path):
    """As where the head is not part of the graph."""
    path = graphs.gru(tmp_path / "a.onnx")
    found = lowered(path, Names(output="s0_out"), 50.0, tmp_path / "b.onnx")
    assert found["becomes"]["GruStep"] == 1 and found["error"] < 1e-6
    stepper = Stepper(load_model(tmp_path / "b.onnx"))
    result = stepper.step({"features": np.ones(INPUTS, np.float32)})["decoded"]
    np.testing.assert_array_equal(result, stepper.state["state.s0"])


def test_open_sizes_are_one(tmp_path):
    model = onnx.load(graphs.gru(tmp_path / "a.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "batch"
    onnx.save(model, tmp_path / "b.onnx")
    assert "size 'batch' of 'x' is taken as 1" in lowered(tmp_path / "b.onnx", Names(), 50.0, None)["notes"]


@pytest.mark.skipif(
    importlib.util.find_spec("onnxscript") is None, reason="torch's newer exporter needs onnxscript: pip install onnxscript"
)
@pytest.mark.parametrize("make", [graphs.gru, graphs.lstm])
def test_torchs_newer_exporter(make, tmp_path):
    found = lowered(make(tmp_path / "a.onnx", dynamo=True), Names(), 50.0, None)
    assert found["blockers"] == [] and found["error"] < 1e-6


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("tensorflow", "tf2onnx")),
    reason="Keras exports by way of tf2onnx: pip install tensorflow-cpu tf2onnx",
)
def test_an_lstm_of_keras(tmp_path):
    found = lowered(graphs.keras_lstm(tmp_path / "a.onnx"), Names(), 50.0, None)
    assert found["blockers"] == [] and found["error"] < 1e-6
    assert {state["into"]: state["out"] for state in found["states"]} == {"h_in": "h_out", "c_in": "c_out"}


def one_node(path, op, **attributes):
    w = graphs.Written()
    w.node(op, ["x"], "y", **attributes)
    return w.save(path, {"x": (1, INPUTS)}, {"y": (1, INPUTS)})


def infinite(model):
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight.flat[0] = np.inf
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, model.graph.initializer[0].name))


def long(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 5


def both_ways(model):
    model.graph.node[0].attribute.add(name="direction", type=onnx.AttributeProto.STRING, s=b"reverse")


@pytest.mark.parametrize(
    ("make", "change", "said"),
    [
        (partial(graphs.layer, op="GRU", gates=3), both_ways, "its direction is 'reverse': export a step"),
        (partial(graphs.layer, op="GRU", gates=3), infinite, "its weights are not all finite: train and export it again"),
        (partial(graphs.layer, op="GRU", gates=3), long, "it takes a sequence of [5, 1, 6]: export a step"),
        (partial(graphs.layer, op="LSTM", gates=4, clip=3.0), None, "it clips what enters its gates: train it without"),
        (partial(graphs.linear_attention, by_key=False, update_rule="delta"), None, "its rule is 'delta': its state is corrected by"),
        (partial(graphs.linear_attention, by_key=False, update_rule="linear"), None, "its rule is 'linear': its state never fades"),
        (
            partial(one_node, op="Softmax"),
            None,
            "no operator of the implant computes it: write it with operators that docs/graphs.md lists",
        ),
        (partial(one_node, op="Cast", to=TensorProto.INT32), None, "it makes integers of what changes from step to step"),
    ],
)
def test_what_blocks_is_told_with_its_remedy(make, change, said, tmp_path):
    path = make(path=tmp_path / "a.onnx")
    if change is not None:
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())
    found = lowered(path, Names(), 50.0, tmp_path / "b.onnx")
    first = found["blockers"][0]
    assert f"{first['why']}: {first['remedy']}".startswith(said)
    assert found["becomes"] == {} and found["error"] is None and not (tmp_path / "b.onnx").exists()


def test_all_that_blocks_is_listed_and_what_follows_from_it_is_not(tmp_path):
    w = graphs.Written()
    w.node("Softmax", ["x"], "a")
    w.node("Relu", ["a"], "b")
    w.node("MatMul", ["x", w.node("Transpose", ["x"], "turned")], "square")
    w.node("Add", ["b", "square"], "y")
    path = w.save(tmp_path / "a.onnx", {"x": (1, INPUTS)}, {"y": (1, INPUTS)})
    found = lowered(path, Names(), 50.0, None)
    assert [each["node"] for each in found["blockers"]] == ["a node", "square node"]
    assert "both change from step to step" in found["blockers"][1]["why"]


def elsewhere(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")


def branching(model):
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["spare"], then_branch=inner, else_branch=inner))


def old(model):
    model.opset_import[0].version = 9


def cyclic(model):
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (elsewhere, "lies in another file: save the graph as one file"),
        (branching, "holds a graph of its own: export a step without branch and loop"),
        (old, "it is of opset 9: export it with opset 13 to "),
        (cyclic, "not a readable ONNX graph"),
    ],
)
def test_what_is_no_step_is_refused_before_anything_runs(change, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(bytes(1000))
    model = onnx.load(graphs.functions(tmp_path / "a.onnx"))
    change(model)
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as error:
        lowered(tmp_path / "a.onnx", Names(), 50.0, None)
    assert said in str(error.value) and str(error.value).startswith(f"{tmp_path / 'a.onnx'}: ") and "\n" not in str(error.value)


def test_names_of_others_reach_no_c(tmp_path):
    """The step graph has names of its own, of letters, digits, points and underscores."""
    model = onnx.load(graphs.functions(tmp_path / "a.onnx"))
    for node in model.graph.node:
        node.name = "*/ #error \n" + "x" * 5000
    onnx.save(model, tmp_path / "a.onnx")
    lowered(tmp_path / "a.onnx", Names(), 50.0, tmp_path / "b.onnx")
    made = load_model(tmp_path / "b.onnx")
    names = [node.name for node in made.graph.node] + [name for node in made.graph.node for name in node.output]
    assert all(name.replace("_", "").replace(".", "").isalnum() and len(name) < 200 for name in names)
    assert json.loads({p.key: p.value for p in made.metadata_props}["made_from"])["onnx"]


def test_what_was_made_is_held_against_the_files_own_graph(tmp_path, monkeypatch):
    path = graphs.gru(tmp_path / "gru.onnx")
    assert lowered(path, Names(), 50.0, None)["error"] < 1e-5
    for wrong, said in (("off", r"differs by .* of its largest output: please report it"), ("nan", "differs by inf")):

        class Wrong(Stepper):
            def step(self, given, wrong=wrong):
                return {"decoded": super().step(given)["decoded"] * (0.9 if wrong == "off" else np.nan)}

        monkeypatch.setattr("export.foreign.lower.Stepper", Wrong)
        with pytest.raises(UserError, match=said):
            lowered(path, Names(), 50.0, None)

    def broken(model):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("export.foreign.lower.Stepper", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):  # a bug is no reason not to compare
        lowered(path, Names(), 50.0, None)
