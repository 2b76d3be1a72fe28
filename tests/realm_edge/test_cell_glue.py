"""What a cell of a comparison trains on, scores and writes down, with a made-up decoder: nothing is trained."""

from dataclasses import replace

import numpy as np
import pytest

from realm_edge.documents import jsonable
from realm_edge.evaluation import cells
from realm_edge.evaluation import decoders as arms
from realm_edge.evaluation.bench import Bench, Outcome
from realm_edge.evaluation.cells import Cell, Conditions
from realm_edge.evaluation.tasks import Chain, Task, shifted
from realm_edge.metrics import accuracy
from realm_edge.settings import Settings
from realm_edge.sources import Recordings
from realm_edge.training.history import History
from tests.made_up import BINS, TRAIN, VALIDATION, session

SETTINGS = Settings(window_bins=26)
HISTORY = History((3.0, 2.0, 1.0), (0.5, 0.25, 0.75), (2, 3, 4), (0.5, 0.25, 1.0), True)
PRETRAINING = {"distil": {"epochs": 9, "steps": 8, "seconds": 7.0, "stopped_early": True}}


@pytest.fixture
def compute(tmp_path, monkeypatch):
    """A cell's result, and the bench that its decoder was given."""

    def computed(
        chance: bool = False, inputs: str = "features", labels: float = 0.5, whole_session: bool = False, history=HISTORY, starts=(0,)
    ):
        benches: list[Bench] = []
        decoded = session(starts=np.array(starts))
        others = session("day1", heldout=False), session("day2", heldout=False, target_names=("other", "axes"))
        task = Task(decoded, others, 0.2, 26, Chain("made up", lambda *args: decoded, whole_session))

        def fit(bench: Bench) -> Outcome:
            benches.append(bench)
            predicted = decoded.targets + np.linspace(0, 3, BINS)[:, None].astype(np.float32)
            return Outcome(predicted, 55, 66, 7.5, PRETRAINING, history)

        monkeypatch.setitem(arms.ALL, "gru", replace(arms.ALL["gru"], fit=fit, chance=chance, inputs=inputs))
        conditions = Conditions(SETTINGS, Recordings(), "the command", tmp_path, tmp_path / "pretrained")
        return jsonable(Cell(conditions, task, "gru", labels, 3).compute()), benches[0], decoded

    return computed


def test_a_cell_hides_labels_of_the_training_part_and_scores_the_test_part(compute):
    found, bench, decoded = compute()
    targets = bench.material.decoded.targets.numpy()
    assert np.flatnonzero(np.isnan(targets).any(axis=1)).tolist() == list(range(TRAIN // 2, TRAIN))
    assert [one.name for one in bench.material.pretraining] == ["day1"] and bench.material.left_out == ("day2",)
    assert (bench.window, bench.seed, bench.partial.name) == (26, 3, "pretrained")
    test = slice(VALIDATION, BINS)
    predicted = decoded.targets + np.linspace(0, 3, BINS)[:, None]
    assert found["r2"] == pytest.approx(np.mean(accuracy(decoded.targets[test], predicted[test]).r2), rel=1e-5)
    assert found["bins"] == BINS - VALIDATION
    squares = np.array(found["blocks"])[..., 3].sum(axis=0)
    np.testing.assert_allclose(squares, np.sum((predicted - decoded.targets)[test] ** 2, axis=0), rtol=1e-4)
    assert np.array(found["blocks"])[:, 0, 0].sum() == BINS - VALIDATION


def test_a_cell_writes_down_what_it_was_and_what_it_took(compute):
    found, _, _ = compute(starts=(0, 40))
    assert {key: found[key] for key in ("command", "session", "synthetic", "decoder", "seed", "labels", "segments")} == {
        **{"command": "the command", "session": "day3", "synthetic": False, "decoder": "gru", "seed": 3, "labels": 0.5, "segments": 2},
    }
    assert (found["parameters"], found["macs_per_step"], found["training_seconds"]) == (55, 66, 7.5)
    assert found["pretraining"] == PRETRAINING and found["machine"] == {"device": "cpu", "precision": "32"}
    assert (found["steps_to_best"], found["validation_loss"]) == (5, [0.5, 0.25, 0.75])
    assert (found["steps_by_epoch"], found["seconds_by_epoch"]) == ([2, 3, 4], [0.5, 0.25, 1.0])
    assert found["stopped_early"] is True  # of 60 epochs
    without, _, _ = compute(history=None)
    assert without["steps_to_best"] is without["validation_loss"] is without["stopped_early"] is None


def test_an_arm_sees_its_own_inputs_and_the_whole_session_only_where_the_chain_says_so(compute):
    _, counts, decoded = compute(inputs="counts")
    np.testing.assert_array_equal(counts.material.inputs, decoded.counts)
    _, features, _ = compute()
    np.testing.assert_array_equal(features.material.inputs, decoded.features)
    late = decoded.features[4:].astype(np.float64)  # with a second of history
    np.testing.assert_allclose(features.material.decoded.input_mean, late[: TRAIN - 4].mean(axis=0), rtol=1e-4)
    _, whole, _ = compute(whole_session=True)
    np.testing.assert_allclose(whole.material.decoded.input_mean, late.mean(axis=0), rtol=1e-4)


def test_chance_is_the_behaviour_turned_round(compute, monkeypatch):
    monkeypatch.setattr(cells, "shifted", lambda session, bin_s, seed: shifted(session, 1.0, seed))  # ten bins are enough
    found, bench, decoded = compute(chance=True, labels=1.0)
    turned = shifted(decoded, 1.0, 3).targets
    known = turned[:TRAIN].astype(np.float64)
    np.testing.assert_allclose(bench.material.decoded.targets[:TRAIN], (known - known.mean(0)) / known.std(0), atol=1e-4)
    predicted = decoded.targets + np.linspace(0, 3, BINS)[:, None]
    assert found["r2"] == pytest.approx(np.mean(accuracy(turned[VALIDATION:], predicted[VALIDATION:]).r2), rel=1e-4) and found["r2"] < 0
