"""Step graphs are untrusted files: what cannot be compiled is refused with one line, and nothing half-written stays."""

import errno
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.stepgraph import save_model
from firmware_sim.compiler.bundle import compile_model, write_bundle
from firmware_sim.compiler.driver import header, source, weights, weights_header
from firmware_sim.compiler.graph import read_graph
from firmware_sim.compiler.kernels import SCALAR
from firmware_sim.compiler.lower import build_object
from firmware_sim.compiler.plan import DECODER, FRONTEND, make_plan
from realm_edge.errors import UserError
from tests.firmware_sim.compiled_graphs import CHANNELS, CONV, D_INNER, D_MODEL, DIMS, FEATURES, HEADS, decoder, gru_decoder, spike_frontend
from tests.firmware_sim.host import HOST


def edited(model: onnx.ModelProto, node: str, **fields: object) -> onnx.ModelProto:
    found = next(n for n in model.graph.node if n.name == node)
    for name, value in fields.items():
        setattr(found, name, value)
    return model


def second_reader(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node.append(helper.make_node("Identity", ["state.blocks.0.conv"], ["spare"], name="spy"))
    return model


def late_reader(model: onnx.ModelProto) -> onnx.ModelProto:
    """A kernel reads a state after it has been overwritten."""
    again = onnx.NodeProto()
    again.CopyFrom(next(n for n in model.graph.node if n.name == "before"))
    again.name, again.output[0] = "spy", "spare"
    model.graph.node.append(again)
    return model


def swapped_states(model: onnx.ModelProto) -> onnx.ModelProto:
    """Two blocks write each other's states."""
    names = {"next.blocks.0.h": "next.blocks.1.h", "next.blocks.1.h": "next.blocks.0.h"}
    for node in model.graph.node:
        for i, output in enumerate(node.output):
            node.output[i] = names.get(output, output)
    return model


def name_of_a_kernels_scratch(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node.append(helper.make_node("Identity", ["features"], ["blocks.0.projected.pairs"], name="spy"))
    return model


def external(model: onnx.ModelProto) -> onnx.ModelProto:
    tensor = next(i for i in model.graph.initializer if i.name == "head.0")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere")
    return model


def odd_split(model: onnx.ModelProto) -> onnx.ModelProto:
    tensor = next(i for i in model.graph.initializer if i.name == "blocks.0.sizes")
    tensor.CopyFrom(numpy_helper.from_array(np.array([D_INNER, CONV, HEADS + 1]), tensor.name))
    return model


def no_rate(model: onnx.ModelProto) -> onnx.ModelProto:
    next(p for p in model.metadata_props if p.key == "rate_hz").value = "0"
    return model


def float_features(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return model


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda m: edited(m, "blocks.0.residual", op_type="QMultiply"),
            "'blocks.0.residual' (QMultiply): the compiler has no kernel for it",
        ),
        (lambda m: edited(m, "blocks.0.residual", domain="", op_type="Add"), "the compiler has no kernel for it"),
        (second_reader, "'state.blocks.0.conv' cannot be updated in place (read by 'blocks.0.conv1d', 'spy')"),
        (swapped_states, "'state.blocks.0.h' cannot be updated in place"),
        (name_of_a_kernels_scratch, "its kernel needs the name 'blocks.0.projected.pairs', which the graph uses; rename that tensor"),
        (odd_split, "'blocks.0.split' (Split): only a vector can be split"),
        (no_rate, "'rate_hz' is 0"),
        (float_features, "'features' is not of a signed integer type"),
    ],
)
def test_graphs_that_cannot_be_compiled_are_refused(change, message, tmp_path):
    path = tmp_path / "decoder.onnx"
    model = change(decoder())
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as error:
        write_bundle(tmp_path / "bundle", "spike", "cortex-m4", None, path)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [path]  # no half of a bundle


def test_a_state_that_is_read_after_its_update_is_refused(tmp_path):
    save_model(late_reader(gru_decoder()), tmp_path / "decoder.onnx")
    with pytest.raises(UserError, match=r"'state.gru.h' cannot be updated in place \(read by 'before', 'step', 'spy'\): the last node"):
        make_plan(read_graph(tmp_path / "decoder.onnx"), DECODER, SCALAR)


def test_data_outside_the_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("elsewhere").write_bytes(bytes(D_MODEL * DIMS))
    Path("decoder.onnx").write_bytes(external(decoder()).SerializeToString())
    with pytest.raises(UserError, match=r"decoder.onnx: constant 'head.0' lies in another file"):
        compile_model(Path("decoder.onnx"), DECODER, HOST)


def test_names_cannot_leave_their_comment(tmp_path):
    model = edited(decoder(), "head", name='*/ #include "other.h" /*')
    save_model(model, tmp_path / "decoder.onnx")
    plan = make_plan(read_graph(tmp_path / "decoder.onnx"), DECODER, SCALAR)
    for write in (header, source, weights_header, weights):
        text = write(plan)
        assert "*/ #" not in text
    assert "/* _/ _include _other.h_ /_ */" in source(plan)


def test_unknown_target_and_mismatched_graphs(tmp_path):
    save_model(decoder(), tmp_path / "decoder.onnx")
    save_model(spike_frontend(), tmp_path / "spike.onnx")
    with pytest.raises(UserError, match="unknown target 'z80': the compiler knows cortex-m4, rv32imc"):
        write_bundle(tmp_path / "b", "lfp", "z80", None, tmp_path / "decoder.onnx")
    with pytest.raises(UserError, match=f"takes {FEATURES} features, .* makes {CHANNELS}"):
        write_bundle(tmp_path / "b", "lfp", "cortex-m4", tmp_path / "spike.onnx", tmp_path / "decoder.onnx")
    with pytest.raises(UserError, match="a frontend has sample"):
        compile_model(tmp_path / "decoder.onnx", FRONTEND, HOST)
    with pytest.raises(UserError, match="no such file"):
        compile_model(tmp_path / "none.onnx", DECODER, HOST)


def test_an_object_for_which_there_is_no_room_is_an_error_of_the_system(tmp_path):
    """LLVM would end the process."""
    save_model(decoder(), tmp_path / "decoder.onnx")
    call = make_plan(read_graph(tmp_path / "decoder.onnx"), DECODER, SCALAR).calls[0]
    with pytest.raises(OSError, match="/dev/full") as error:
        build_object(call.kernel, call.symbol, HOST, Path("/dev/full"))
    assert error.value.errno == errno.ENOSPC


def test_a_constant_of_a_type_that_nobody_knows_is_refused(tmp_path):
    model = decoder()
    model.graph.initializer[0].data_type = 99
    (tmp_path / "decoder.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"decoder.onnx: (constant .* is damaged|not a readable ONNX step graph)"):
        read_graph(tmp_path / "decoder.onnx")
