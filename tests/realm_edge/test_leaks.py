"""Change what comes behind a part and nothing that was fitted on that part moves: thresholds, statistics, filters, read-outs, scores."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from realm_edge import preparation, wiener
from realm_edge.baselines import kalman
from realm_edge.cutting import split_ends
from realm_edge.evaluation import decoders, pretrained, stability
from realm_edge.evaluation.tasks import with_labels
from realm_edge.frontend import THRESHOLD_SECONDS
from realm_edge.metrics import accuracy, score_test_part
from realm_edge.preparation import prepare
from realm_edge.recording import Recording
from realm_edge.session import Session
from realm_edge.settings import SIX_BANDS, LfpSettings, Settings, SplitSettings
from realm_edge.synthetic import generate
from realm_edge.training.material import gather
from realm_edge.training.segments import Series, standardise

BINS, TRAIN, VALIDATION = 900, 600, 700
FITTED = ("input_mean", "input_inv_std", "target_mean", "target_std")


def session(**changes) -> Session:
    """Behaviour with a mean and a scale of its own, and features that follow it."""
    rng = np.random.default_rng(0)
    behaviour = np.zeros((BINS, 2))
    for k in range(1, BINS):
        behaviour[k] = 0.9 * behaviour[k - 1] + rng.standard_normal(2)
    features = behaviour @ rng.standard_normal((2, 5)) + 0.3 * rng.standard_normal((BINS, 5)) + [3, -1, 7, 2, 5]
    one = Session(
        name="s", heldout=True, synthetic=True, targets=(10 * behaviour + [40, -7]).astype(np.float32), target_names=("x", "y"),
        target_unit="mm/s", train_end=TRAIN, validation_end=VALIDATION, lfp=None, good_channels=np.ones(5, bool),
        features=features.astype(np.float32), counts=None, spike_source="none", spike_threshold=None, broadband=None,
    )  # fmt: skip
    return dataclasses.replace(one, **changes)


def spoiled(one: Session, first: int) -> Session:
    """Other features and behaviour from a bin on."""
    features, targets = one.features.copy(), one.targets.copy()
    features[first:] = 5 - 3 * features[first:]
    targets[first:] = 1000 - 2 * targets[first:]
    return dataclasses.replace(one, features=features, targets=targets)


def series(one: Session) -> Series:
    return standardise(one, one.features, 0.02)


# --- what is fitted on the training part: the validation part moves it as little as the test part ----------------------------------------


def test_standardising_and_what_is_fitted_in_one_go_see_the_training_part_alone():
    first, second = series(session()), series(spoiled(session(), TRAIN))
    for name in FITTED:
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    inputs, targets = ([getattr(each, name).numpy() for each in (first, second)] for name in ("inputs", "targets"))
    filters = [wiener.fit(x, y, TRAIN) for x, y in zip(inputs, targets, strict=True)]
    np.testing.assert_array_equal(filters[0].weights, filters[1].weights)
    np.testing.assert_array_equal(filters[0].intercept, filters[1].intercept)
    assert filters[0].held_out_loss == filters[1].held_out_loss
    fitted = [kalman.fit(each) for each in (first, second)]
    for name in ("transition", "gain", "offset"):
        np.testing.assert_array_equal(getattr(fitted[0], name), getattr(fitted[1], name), err_msg=name)


def test_other_sessions_are_standardised_by_themselves_and_the_whole_session_only_where_asked():
    decoded, other = session(), dataclasses.replace(spoiled(session(), 0), name="other", heldout=False)
    material = gather([other, decoded], decoded, "features", 0.02)
    for one, own in zip((material.decoded, *material.pretraining), (decoded, other), strict=True):
        late = own.features[49:TRAIN].astype(np.float64)  # with a second of history
        np.testing.assert_allclose(one.input_mean, late.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(1 / one.input_inv_std, late.std(axis=0), rtol=1e-5)
        np.testing.assert_allclose(one.target_mean, own.targets[:TRAIN].astype(np.float64).mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(one.target_std, own.targets[:TRAIN].astype(np.float64).std(axis=0), rtol=1e-5)
        assert (one.train_end, one.validation_end) == (TRAIN, VALIDATION)
    assert material.pretraining[0].name == "other" and material.inputs is decoded.features
    whole = gather([decoded], decoded, "features", 0.02, whole_session=True).decoded
    np.testing.assert_allclose(whole.input_mean, decoded.features[49:].astype(np.float64).mean(axis=0), rtol=1e-5)


class Looking(nn.Module):
    """In place of a teacher: what it makes of a bin depends on that bin alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.map = nn.Linear(5, 4)
        self.predictor, self.mask_token = nn.Linear(1, 1), nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs, lengths=None):
        return self.dropout(torch.tanh(self.map(inputs)) * 5 + 3)


def test_ridge_on_the_teacher_is_fitted_on_the_training_part_alone(monkeypatch):
    monkeypatch.setattr(pretrained, "facts", lambda history, settings: {})

    def decoded(one: Session) -> np.ndarray:
        teacher = Looking()
        monkeypatch.setattr(pretrained, "pretrained_teacher", lambda bench: (teacher, None))
        bench = SimpleNamespace(material=SimpleNamespace(decoded=series(one)), settings=SimpleNamespace(pretrain=None), window=50)
        outcome = pretrained.ridge_on_teacher(bench)
        assert outcome.parameters == 4 * 5 + 4 + (pretrained.RIDGE_FRAMES * 4 + 1) * 2 and not teacher.training
        return outcome.predicted

    plain, other = decoded(session()), decoded(spoiled(session(), TRAIN))
    np.testing.assert_array_equal(plain[:TRAIN], other[:TRAIN])
    assert min(accuracy(session().targets[VALIDATION:], plain[VALIDATION:]).r2) > 0.5  # target units


def test_the_wiener_and_the_kalman_arm_answer_in_target_units():
    bench = SimpleNamespace(material=SimpleNamespace(decoded=series(session())))
    for arm in (decoders._wiener, decoders._kalman):
        outcome = arm(bench)
        assert min(accuracy(session().targets[VALIDATION:], outcome.predicted[VALIDATION:]).r2) > 0.7
        other = arm(SimpleNamespace(material=SimpleNamespace(decoded=series(spoiled(session(), TRAIN)))))
        np.testing.assert_allclose(outcome.predicted[:TRAIN], other.predicted[:TRAIN], rtol=1e-5)


def test_a_read_out_is_refitted_on_the_bins_that_it_is_given():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((BINS, 4)).astype(np.float32)
    targets = (hidden @ rng.standard_normal((4, 2)) + 3 + 0.1 * rng.standard_normal((BINS, 2))).astype(np.float32)
    other = targets.copy()
    other[300:] *= -5
    np.testing.assert_array_equal(stability._refitted(hidden, targets, 300), stability._refitted(hidden, other, 300))
    assert not np.array_equal(stability._refitted(hidden, targets, 301), stability._refitted(hidden, other, 301))


# --- preparation ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("train", "bins"), [(0.3, 300), (0.72, THRESHOLD_SECONDS * 50)])
def test_the_spike_threshold_sees_the_start_of_the_training_part_alone(monkeypatch, train, bins):
    """In 20 s of recording: 6 s of them where the training part is shorter than the ten seconds that are wanted."""
    settings = Settings(lfp=SIX_BANDS, split=SplitSettings(train=train, validation=0.1), window_bins=50)
    settings = settings.model_copy(
        update={"synthetic": settings.synthetic.model_copy(update={"sessions": 2, "heldout_seconds": 20.0, "channels": 4, "units": 2})}
    )
    recording, broadband = generate(settings, 1)
    asked = []

    def block(session, settings, first, count):
        asked.append((first, count))
        return np.zeros((count, 4), np.int16)

    monkeypatch.setattr(preparation, "broadband_block", block)
    monkeypatch.setattr(preparation, "spike_threshold", lambda settings, samples: ("threshold of", len(samples)))
    monkeypatch.setattr(preparation, "design_spike", lambda settings, threshold: threshold)

    def counts(frontend, blocks, starts):
        return np.concatenate([np.full((len(block), 4), 7.0, np.float32) for block in blocks])

    monkeypatch.setattr(preparation, "spike_counts", counts)
    made = prepare(recording, settings, heldout=True, broadband=broadband)
    train_end = round(train * made.bins)
    assert (
        made.train_end == train_end
        and made.spike_threshold == ("threshold of", min(bins, train_end))
        and asked[0] == (0, min(bins, train_end))
    )
    assert asked[1:] == [(first, min(50, made.bins - first)) for first in range(0, made.bins, 50)] and made.counts.shape == (made.bins, 4)
    given = prepare(recording, settings, heldout=True, broadband=broadband, threshold="of the training day")
    assert given.spike_threshold == "of the training day"


def test_channels_are_judged_by_the_training_part_alone():
    rng = np.random.default_rng(0)
    lfp = rng.integers(-500, 500, (20_000, 3)).astype(np.int16)
    lfp[:, 1] = 17
    times = np.arange(1001) / 50
    settings = Settings(lfp=LfpSettings(rate_hz=1000, bands_hz=((40.0, 60.0),)), window_bins=50)

    def made(lfp: np.ndarray) -> Session:
        recording = Recording(
            name="one", behavior=np.sin(times)[:, None], behavior_times=times, behavior_names=("x",), behavior_unit="m", lfp=lfp,
            lfp_rate=1000.0,
        )  # fmt: skip
        return prepare(recording, settings, heldout=True)

    plain = made(lfp)
    train = plain.train_end * 20
    other = lfp.copy()
    other[train:, 1] = rng.integers(-500, 500, len(lfp) - train)
    assert made(other).good_channels.tolist() == plain.good_channels.tolist() == [True, False, True]
    other[train - 1, 1] = 18  # the last sample of the training part
    assert made(other).good_channels.tolist() == [True] * 3


# --- scores -----------------------------------------------------------------------------------------------------------------------------


def test_only_the_test_part_is_scored():
    one = session()
    predicted = one.targets + np.random.default_rng(1).normal(0, 3, one.targets.shape)
    plain = score_test_part(one, predicted, 0.02)
    assert plain.r2 == pytest.approx(np.mean(accuracy(one.targets[VALIDATION:], predicted[VALIDATION:]).r2)) and plain.bins == 200
    other, before = predicted.copy(), spoiled(one, 0)
    other[:VALIDATION] *= 9
    moved = dataclasses.replace(one, targets=np.concatenate([before.targets[:VALIDATION], one.targets[VALIDATION:]]))
    assert score_test_part(moved, other, 0.02) == plain
    other[VALIDATION] += 50
    assert score_test_part(moved, other, 0.02).r2 < plain.r2


def test_fewer_labels_are_those_of_the_training_parts_start():
    one = with_labels(session(), 0.25)
    known = np.isfinite(one.targets).all(axis=1)
    assert np.flatnonzero(~known).tolist() == list(range(150, TRAIN))
    assert np.isfinite(session().targets).all() and split_ends(1000, Settings(lfp=SIX_BANDS)) == (720, 800)
