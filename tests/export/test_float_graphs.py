"""Rungs 1 and 2 of the ladder: float step graphs in onnxruntime against torch and scipy, states included."""

import numpy as np
import onnx
import pytest
import torch

from export.decoder_graph import decoder_graph
from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from export.stepgraph import GraphBuilder, Stepper, load_model, metadata, save_model
from realm_edge.errors import UserError
from realm_edge.frontend import design, design_spike, lfp_features, spike_counts
from realm_edge.models.student import Student
from realm_edge.settings import LfpSettings, ModelSettings, Settings, SpikeSettings


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    model = Student(ModelSettings(d_model=16, n_layer=2, d_state=8, headdim=8), 12, 2).eval()
    model.feature_mean.normal_()
    model.target_std.fill_(3.0)
    return model


def test_decoder_equals_torch_step(student):
    model = decoder_graph(student, 50.0, ("vx", "vy"), "mm/s", {})
    stepper, state = Stepper(model), student.initial_state(1)
    for row in torch.randn(60, 12):
        out, state = student.step(row[None], state)
        got = stepper.step({"features": row.numpy()})["decoded"]
        np.testing.assert_allclose(got, out[0].detach().numpy(), atol=1e-5)
        for i, block in enumerate(state):
            np.testing.assert_allclose(stepper.state[f"state.block{i}.h"], block.ssm[0].detach().numpy(), atol=1e-5)
            np.testing.assert_allclose(stepper.state[f"state.block{i}.conv"], block.conv[0, :, 1:].T.detach().numpy(), atol=1e-5)
    assert metadata(model)["io"]["decoded"]["scale"] == [3.0, 3.0]


@pytest.mark.parametrize(("channels", "lfp"), [(1, LfpSettings(power_bins=1)), (6, LfpSettings(zscore_bins=4))])
def test_lfp_frontend_equals_scipy(channels, lfp):
    settings = Settings(lfp=lfp)
    good = np.ones(channels, bool)
    good[2:3] = False
    frontend = design(settings, good)
    samples = np.random.default_rng(0).normal(0, 400, (400, channels)).astype(np.int16)
    stepper = Stepper(lfp_frontend_graph(frontend, {}))
    ticks = [stepper.step({"sample": row}) for row in samples]
    features = np.array([t["features"] for t in ticks if t["valid"][0]])
    np.testing.assert_allclose(features, lfp_features(frontend, samples), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zscore_bins", [0, 4])
def test_spike_frontend_equals_scipy(zscore_bins):
    frontend = design_spike(Settings(spike=SpikeSettings(zscore_bins=zscore_bins)), np.full(4, -250, np.int32))
    samples = np.random.default_rng(0).normal(0, 100, (6000, 4)).astype(np.int16)
    stepper = Stepper(spike_frontend_graph(frontend, {}))
    ticks = [stepper.step({"sample": row}) for row in samples]
    counts = np.array([t["features"] for t in ticks if t["valid"][0]])
    assert np.abs(counts).sum() > 5
    np.testing.assert_allclose(counts, spike_counts(frontend, [samples]), rtol=1e-6, atol=1e-6)


def test_saved_graph_is_reproducible_and_loads(student, tmp_path):
    for name in ("a.onnx", "b.onnx"):
        save_model(decoder_graph(student, 50.0, ("vx", "vy"), "mm/s", {"train": "x"}), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert metadata(load_model(tmp_path / "a.onnx"))["made_from"] == {"train": "x"}


def test_bad_files_are_user_errors(student, tmp_path):
    with pytest.raises(UserError, match=r"missing\.onnx: no such file"):
        load_model(tmp_path / "missing.onnx")
    whole = decoder_graph(student, 50.0, ("vx", "vy"), "mm/s", {}).SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.onnx: not a readable ONNX step graph"):
        load_model(tmp_path / "cut.onnx")
    foreign = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (float[1] x) => (float[1] y) { y = Relu(x) }')
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match="not a step graph"):
        load_model(tmp_path / "foreign.onnx")


def test_constant_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit int8"):
        GraphBuilder("g", ()).constant("w", [300], np.int8)
