"""What the metadata of a step graph may not say."""

import json

import numpy as np
import pytest

from export.metadata import FORMAT, GraphMetadata
from export.stepgraph import GraphBuilder, load_model, metadata, save_model
from realm_edge.errors import UserError
from realm_edge.versions import versions_of


@pytest.fixture
def model():
    graph = GraphBuilder("decoder", ())
    x = graph.input("features", np.int16, (3,), unit="counts", scale=[0.5, 1.0, 2.0], offset=0.0)
    state = graph.state("block.sum", np.int16, (3,), scale=0.25)
    graph.node("Add", [x, state[0]], [state[1]], domain="")
    graph.node("Identity", [x], ["decoded"], domain="")
    graph.output("decoded", np.int16, (3,), names=["x", "y", "z"], unit="mm/s", scale=1.0, offset=[1.0, 2.0, 3.0])
    return graph.build(kind="decoder", rate_hz=50.0)


def edited(model, path, **properties):
    for entry in model.metadata_props:
        if entry.key in properties:
            entry.value = properties.pop(entry.key)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_graph_says_what_made_it_and_its_metadata_are_of_the_model(model, tmp_path):
    save_model(model, tmp_path / "a.onnx")
    about = metadata(load_model(tmp_path / "a.onnx"))
    assert about["format"] == FORMAT and about["made_by"] == versions_of(("numpy", "onnx"))
    found = GraphMetadata.model_validate(about)
    (state,) = found.states
    assert (state.into, state.out, state.shape, state.scale) == ("state.block.sum", "next.block.sum", [3], 0.25)
    assert found.io["decoded"].offset == [1.0, 2.0, 3.0] and found.rate_hz == 50.0


STATE = {"in": "state.block.sum", "out": "next.block.sum", "dtype": "int16", "shape": [3]}


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"format": '"realm-edge step graph/9"'}, "its metadata are of realm-edge step graph/9, not of 'realm-edge step graph/1'"),
        ({"states": json.dumps([{**STATE, "shape": [2**40]}])}, "metadata 'states.0.shape.0' is 1099511627776: Input should be less than"),
        (
            {"states": json.dumps([{**STATE, "shape": [4]}])},
            "state 'state.block.sum' is int16 [4] in its metadata, and int16 [3] in the graph",
        ),
        ({"states": json.dumps([{**STATE, "dtype": "int32"}])}, "is int32 [3] in its metadata, and int16 [3] in the graph"),
        (
            {"states": json.dumps([{**STATE, "in": "state.other"}])},
            "'state.other' is int16 [3] in its metadata, and not declared in the graph",
        ),
        ({"states": json.dumps([{**STATE, "dtype": "object"}])}, "metadata 'states.0.dtype' is object: Input should be 'int8'"),
        ({"states": "3"}, "metadata 'states' is 3: Input should be a valid list"),
        ({"io": '{"features": {"scale": 1e999}}'}, "metadata 'io.features.scale"),
        ({"rate_hz": "-1"}, "metadata 'rate_hz' is -1: Input should be greater than 0"),
        ({"rate_hz": "["}, "its metadata are not JSON"),
        ({"rate_hz": "[" * 100_000}, "its metadata are not JSON"),
    ],
)
def test_what_is_wrong_is_named(model, tmp_path, properties, said):
    path = edited(model, tmp_path / "a.onnx", **properties)
    with pytest.raises(UserError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value) and str(caught.value).endswith(": export it again")


def test_a_graph_of_an_earlier_version_is_named(model, tmp_path):
    for at, entry in enumerate(model.metadata_props):
        if entry.key == "format":
            del model.metadata_props[at]
            break
    with pytest.raises(UserError, match="its metadata are of an earlier version, not of 'realm-edge step graph/1': export it again"):
        load_model(edited(model, tmp_path / "a.onnx"))
