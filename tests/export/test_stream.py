"""A step graph is held against what it came from: what differs is told, by how much, whatever differs."""

import dataclasses

import numpy as np
import pytest
import torch

from export import stream
from export.decoder_graph import decoder_graph
from export.stepgraph import Stepper
from export.stream import decoder_error, frontend_of
from realm_edge.errors import UserError
from realm_edge.models.student import CLIP, Student
from realm_edge.progress import Silent
from realm_edge.session import Session
from realm_edge.settings import ModelSettings, Settings
from realm_edge.streams import LFP, SPIKE


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    return Student(ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=8), 5, 2).eval()


INPUTS = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)


@pytest.mark.parametrize("by", [0.5, -0.5])
def test_a_graph_that_differs_is_told_by_how_much(student, by, monkeypatch):
    sound = decoder_graph(student, 50.0, ("x", "y"), "mm", {})
    assert decoder_error(sound, student, INPUTS, Silent()) < 1e-5
    arrays = stream.state_arrays
    with monkeypatch.context() as patch:  # outputs are right, states are not
        patch.setattr(stream, "state_arrays", lambda state: {name: array + by for name, array in arrays(state).items()})
        assert decoder_error(sound, student, INPUTS, Silent()) > 0.05
    with torch.no_grad():
        student.head.bias += by  # all of torch's outputs move by as much
    largest = np.abs(outputs(sound) + by).max(axis=0)  # of each axis: what is small next to another one counts as well
    assert largest.min() < 0.95 * largest.max()
    assert decoder_error(sound, student, INPUTS, Silent()) == pytest.approx(abs(by) / largest.min(), rel=1e-3)


def outputs(model) -> np.ndarray:
    stepper = Stepper(model)
    return np.array([stepper.step({"features": row})["decoded"] for row in INPUTS])


@torch.no_grad()
def test_far_values_are_clipped_as_in_training(student):
    assert CLIP == 8.0
    model = decoder_graph(student, 50.0, ("x", "y"), "mm", {})
    for far in (7.5, 30.0, -7.5, -30.0):
        row = np.full(5, far, np.float32)
        out, _ = student.step(torch.from_numpy(row)[None], student.initial_state(1))
        np.testing.assert_allclose(Stepper(model).step({"features": row})["decoded"], out[0].numpy(), atol=1e-5)


def test_a_front_end_is_made_of_the_sessions_own_channels_and_thresholds():
    settings, rng = Settings(), np.random.default_rng(1)
    samples = rng.normal(0, 400, (200 * 20, 6)).astype(np.int16)
    one = Session(
        name="s", heldout=True, synthetic=True, targets=np.zeros((200, 1), np.float32), target_names=("x",), target_unit="m", train_end=100,
        validation_end=150, lfp=samples, good_channels=np.array([True, False, True, True, True, True]), features=None, counts=None,
        spike_source="none", spike_threshold=None, broadband=None,
    )  # fmt: skip
    model, error = frontend_of(LFP, one, settings, {"data": "x"})
    assert error < 1e-6
    all_good, _ = frontend_of(LFP, dataclasses.replace(one, good_channels=np.ones(6, bool)), settings, {"data": "x"})
    assert model.SerializeToString() != all_good.SerializeToString()
    with pytest.raises(UserError, match="broadband without spike thresholds"):
        frontend_of(SPIKE, one, settings, {})
