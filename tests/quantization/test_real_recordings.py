"""Rung 3 of the ladder over whole real recordings; the decoders are untrained: what is compared is arithmetic."""

import numpy as np
import onnx
import pytest
import torch

from export.decoder_graph import decoder_graph
from export.frontend_graph import lfp_frontend_graph
from export.stepgraph import metadata
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.drive import decoded_rows, feature_rows
from quantization.frontend import quantize_frontend
from quantization.inputs import input_scale, stored
from quantization.ladder import SideBySide, compare
from quantization.recorded import Recorded
from realm_edge import feature_table
from realm_edge.frontend import design
from realm_edge.models.student import Student
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.settings import Settings
from realm_edge.streams import LFP
from tests.real_recordings import recording as real_recording

WARM_UP, STEPS = 150, 10_000


def decoder_of(features: np.ndarray, scale: np.ndarray | float) -> onnx.ModelProto:
    """The int8 twin of an untrained student, calibrated on ``features``."""
    torch.manual_seed(0)
    student = Student(Settings().student, features.shape[1], 1, kinds=1).eval()
    settled = features[WARM_UP:]
    student.feature_mean.copy_(torch.from_numpy(settled.mean(axis=0)))
    student.feature_inv_std.copy_(torch.from_numpy(1 / np.maximum(settled.std(axis=0), 1e-6)))
    graph = decoder_graph(student, 50.0, ("speed",), "cm/s", {})
    return quantize_decoder(graph, observe(graph, features, WARM_UP), scale, {})


@pytest.mark.slow
def test_ten_thousand_steps_of_the_rodent_recording():
    """Front end and the decoder behind it, consecutive bins from the first."""
    settings = Settings()
    session = prepare(read_recording(real_recording("rodent_running_a.nwb"), Choices(("speed",)), settings), settings, heldout=True)
    graph = lfp_frontend_graph(design(settings, session.good_channels), {})
    training = LFP.inputs(session)[: session.train_end]
    frontend = quantize_frontend(graph, training[WARM_UP:], {})
    scale = np.asarray(metadata(frontend)["io"]["features"]["scale"])
    pair, behind = SideBySide(frontend), SideBySide(decoder_of(training[:2000], scale))
    samples = Recorded(LFP, session, settings, scale).samples(0, STEPS)
    decoded = list(decoded_rows(behind, feature_rows(pair, samples)))
    assert session.bins > STEPS == behind.ticks
    assert pair.ticks == STEPS * settings.lfp_samples_per_bin
    assert len(np.unique(decoded)) > 100


@pytest.mark.slow
def test_all_steps_of_the_human_recording():
    """It holds features: they enter at the decoder."""
    path = real_recording("human_grip_force_features.nwb")
    session, _ = feature_table.read(path, "features", "grip_force", Settings(), lambda bins: (2000, 2250))
    training = LFP.inputs(session)[:2000]
    scale = np.asarray(input_scale(LFP, Settings(), training))
    assert compare(decoder_of(training, scale), stored(LFP.inputs(session), scale)) == session.bins == 2810
