"""Every baseline is causal, learns a lagged linear task, and counts its parameters and multiply-accumulates as by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from realm_edge.baselines import autoencoded, kalman, recurrent, scratch, transformer
from realm_edge.baselines.cost import macs_per_step, parameters, width_for
from realm_edge.baselines.recurrent import Recurrent
from realm_edge.baselines.sequence import SequenceDecoder, train
from realm_edge.baselines.transformer import Transformer
from realm_edge.errors import UserError
from realm_edge.metrics import accuracy
from realm_edge.models import looking_back
from realm_edge.models.student import Student, decode
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Silent
from realm_edge.session import Session
from realm_edge.settings import FitSettings, ModelSettings, PretrainSettings
from realm_edge.training.loop import History, Phase
from realm_edge.training.segments import MIN_BATCHES, Series, standardise

WINDOW, TRAIN, VALIDATION, BINS = 50, 900, 1100, 1500
FIT = FitSettings(epochs=25, lr=1e-2, batch=4, average=0.8, dropout=0.1)
LONGER = FIT.model_copy(update={"epochs": 40})  # a transformer of this size learns late, when depends on its seed
MODEL = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=8)
PHASE = Phase("test", 0)


def session() -> Session:
    """A smooth two-dimensional behaviour and five features that follow it with noise, one of them three bins late."""
    rng = np.random.default_rng(0)
    behaviour = np.zeros((BINS, 2), np.float32)
    for k in range(1, BINS):
        behaviour[k] = 0.9 * behaviour[k - 1] + rng.standard_normal(2)
    features = behaviour @ rng.standard_normal((2, 5)).astype(np.float32) + 0.5 * rng.standard_normal((BINS, 5)).astype(np.float32)
    features[3:, 4] = behaviour[:-3, 0]
    return Session(
        name="s", heldout=True, synthetic=True, targets=10 * behaviour + 4, target_names=("x", "y"), target_unit="mm/s", train_end=TRAIN,
        validation_end=VALIDATION, lfp=None, good_channels=np.ones(5, bool), features=features, counts=None, spike_source="none",
        spike_threshold=None, broadband=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def series() -> Series:
    one = session()
    return standardise(one, one.features, 0.02)


def trained(model: SequenceDecoder, settings: FitSettings, series: Series) -> tuple[SequenceDecoder, History]:
    return model, train(model, settings, [series], WINDOW, PHASE, Silent())


FITS = {
    "kalman": lambda series: kalman.fit(series),
    "gru": lambda series: trained(recurrent.build("gru", 400, 5, 2, PHASE), FIT, series)[0],
    "lstm": lambda series: trained(recurrent.build("lstm", 400, 5, 2, PHASE), FIT, series)[0],
    "transformer": lambda series: trained(transformer.build(400, 1, 10, 5, 2, PHASE), LONGER, series)[0],
    "scratch": lambda series: scratch.fit(MODEL, FIT, [series], series.inputs.shape[1], WINDOW, PHASE, Silent())[0],
}


def predicted(model, series: Series) -> np.ndarray:
    if isinstance(model, Student):
        raw = series.inputs / torch.where(series.input_inv_std > 0, series.input_inv_std, 1.0) + series.input_mean
        return decode(model, raw).numpy()
    return model.predict(series)


@pytest.mark.parametrize("name", FITS)
def test_learns_a_lagged_linear_task_and_is_causal(name: str, series: Series) -> None:
    model = FITS[name](series)
    out = predicted(model, series)
    assert out.shape == (BINS, 2) and out.dtype == np.float32
    assert min(accuracy(session().targets[VALIDATION:], out[VALIDATION:]).r2) > 0.6  # predicting the mean gives 0; target units

    changed = replace(series, inputs=series.inputs.clone())
    changed.inputs[1200:] = -2.0
    again = predicted(model, changed)
    np.testing.assert_allclose(again[:1200], out[:1200], atol=1e-4)
    assert np.abs(again[1200:] - out[1200:]).max() > 1.0


@pytest.mark.parametrize("name", FITS)
def test_nothing_of_the_test_part_is_read_in_fitting(name: str, series: Series) -> None:
    spoiled = replace(series, inputs=series.inputs.clone(), targets=series.targets.clone())
    spoiled.inputs[VALIDATION:], spoiled.targets[VALIDATION:] = torch.nan, torch.inf
    short = {"epochs": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "FIT", FIT.model_copy(update=short))
        clean, other = FITS[name](series), FITS[name](spoiled)
    np.testing.assert_array_equal(predicted(clean, series), predicted(other, series))


def test_decoding_in_blocks_equals_decoding_at_once(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    for model in (Recurrent("gru", 6, 5, 2), Recurrent("lstm", 6, 5, 2), Transformer(8, 2, 10, 5, 2)):
        monkeypatch.setattr("realm_edge.baselines.sequence.BLOCK_BINS", BINS)
        whole = model.predict(series)
        for bins in (7, 400):  # less and more than the transformer's two layers reach back
            monkeypatch.setattr("realm_edge.baselines.sequence.BLOCK_BINS", bins)
            np.testing.assert_allclose(model.predict(series), whole, atol=1e-4)


def test_the_transformer_sees_its_context_and_no_more(series: Series) -> None:
    torch.manual_seed(0)
    model = Transformer(8, 2, 10, 5, 2).eval()
    reach = 2 * (10 - 1)
    base = model.predict(series)
    changed = replace(series, inputs=series.inputs.clone())
    changed.inputs[500] += 3.0
    moved = np.abs(model.predict(changed) - base).max(axis=1) > 1e-4
    assert np.flatnonzero(moved).min() == 500 and 500 + 9 < np.flatnonzero(moved).max() <= 500 + reach


def test_sizes_by_hand() -> None:
    gru, lstm = Recurrent("gru", 3, 5, 2), Recurrent("lstm", 3, 5, 2)
    assert (parameters(gru), gru.macs_per_step()) == (3 * 3 * (5 + 3) + 2 * 3 * 3 + 3 * 2 + 2, 3 * 3 * (5 + 3) + 3 * 2)
    assert (parameters(lstm), lstm.macs_per_step()) == (4 * 3 * (5 + 3) + 2 * 4 * 3 + 3 * 2 + 2, 4 * 3 * (5 + 3) + 3 * 2)
    assert recurrent.count("gru", 3, 5, 2) == parameters(gru) and recurrent.count("lstm", 3, 5, 2) == parameters(lstm)

    wide = Transformer(width=4, layers=2, context=10, n_inputs=5, dims=2)
    weights = 5 * 4 + 2 * (4 * 4 * 4 + 2 * 4 * 8) + 4 * 2  # tokenizer, per layer q k v out and the two of 8 hidden units, read-out
    others = 4 + 2 * (4 * 4 + 8 + 4 + 4 * 4) + 2 * 4 + 2  # biases and norms
    assert parameters(wide) == weights + others == transformer.count(4, 2, 5, 2)
    assert wide.macs_per_step() == weights + 2 * (2 * 10 * 4)  # scores and weighted sums over ten bins, two layers

    student = Student(ModelSettings(d_model=4, n_layer=2, d_state=3, headdim=2, d_conv=4), n_features=5, dims=2)
    inner, conv = 8, 8 + 2 * 3
    block = 4 * (inner + conv + 4) + conv * 4 + 3 * 4 * 2 * 3 + inner * 4  # in_proj, taps, states of 4 heads, out_proj
    assert macs_per_step(student) == 5 * 4 + 2 * block + 4 * 2

    by_channel = ModelSettings(d_model=4, n_layer=2, d_state=3, headdim=2, tokenizer="channel")
    student = Student(by_channel, n_features=6, dims=2, kinds=2)
    assert macs_per_step(student) == 3 * (8 * 2 * 3 + 5) + 3 * 8 * 4 + 2 * block + 4 * 2  # convolution and attention of three channels

    filtered = kalman.Kalman(transition=np.eye(2), gain=np.zeros((2, 5)), offset=np.zeros(2))
    assert (filtered.parameters, filtered.macs_per_step()) == (4 + 10 + 2, 4 + 10)


def test_widths_come_close_to_the_wanted_size(series: Series) -> None:
    assert width_for(100, lambda width: width * width) == 10
    assert width_for(100, lambda width: width * width, multiple=4) == 8
    assert width_for(1, lambda width: 10 * width, multiple=4) == 4
    short = FIT.model_copy(update={"epochs": 1})
    for wanted in (400, 800):
        for kind in ("gru", "lstm"):
            model, history = trained(recurrent.build(kind, wanted, 5, 2, PHASE), short, series)
            assert abs(parameters(model) / wanted - 1) < 0.15
            assert history.steps == (5,) and history.steps_to_best == 5  # 18 windows, or 17, in batches of 4


def test_the_kalman_filter_equals_the_textbook_recursion(series: Series) -> None:
    fitted = kalman.fit(series)
    inputs = series.inputs[: series.train_end].double().numpy()
    rng = np.random.default_rng(1)
    a, c = np.array([[0.9, 0.1], [0.0, 0.8]]), rng.standard_normal((5, 2))
    w, q = np.diag([0.2, 0.3]), np.diag(rng.uniform(0.5, 2.0, 5))
    p = np.eye(2)
    for _ in range(200):  # predict and update until the covariance stands still
        predicted_p = a @ p @ a.T + w
        gain = predicted_p @ c.T @ np.linalg.inv(c @ predicted_p @ c.T + q)
        p = (np.eye(2) - gain @ c) @ predicted_p
    np.testing.assert_allclose(kalman._steady_gain(a, c, w, q), gain, atol=1e-10)
    assert np.abs(np.linalg.eigvals(fitted.transition)).max() < 1  # the filter forgets
    assert fitted.gain.shape == (2, inputs.shape[1])


def test_the_kalman_filter_finds_how_behaviour_moves_and_what_is_observed_of_it() -> None:
    """A slow rotation, which turns the other way when time runs backwards, and inputs with means of their own."""
    rng, angle = np.random.default_rng(2), 0.2
    rotation = 0.98 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x = np.zeros((4000, 2))
    for k in range(1, len(x)):
        x[k] = rotation @ x[k - 1] + 0.2 * rng.standard_normal(2)
    observed = np.array([[2.0, 0.5], [-1.0, 0.25], [0.1, 3.0]])
    quiet = x @ observed.T + [5.0, -4.0, 1.0] + 1e-2 * rng.standard_normal((4000, 3))
    statistics = torch.zeros(3), torch.ones(3), torch.tensor([40.0, -7.0]), torch.tensor([3.0, 11.0])

    def fitted(inputs: np.ndarray) -> tuple[kalman.Kalman, np.ndarray]:
        one = Series("s", torch.from_numpy(inputs).float(), torch.from_numpy(x).float(), 3000, 3500, *statistics)
        model = kalman.fit(one)
        return model, model.predict(one)

    blind, _ = fitted(rng.standard_normal((4000, 3)))  # nothing is observed: only the movement is left
    np.testing.assert_allclose(blind.transition, rotation, atol=0.05)
    _, answers = fitted(quiet)  # all is observed
    np.testing.assert_allclose(answers[100:], (x * [3.0, 11.0] + [40.0, -7.0])[100:], atol=1.0)


def test_gaps_in_the_behaviour_are_left_out(series: Series) -> None:
    gaps = replace(series, targets=series.targets.clone())
    gaps.targets[100:300] = torch.nan
    out = kalman.fit(gaps).predict(gaps)
    assert min(accuracy(session().targets[VALIDATION:], out[VALIDATION:]).r2) > 0.6
    gaps.targets[3:TRAIN] = torch.nan
    with pytest.raises(UserError, match="only 2 bins of known behaviour"):
        kalman.fit(gaps)


def test_kalman_transitions_and_states_stay_within_segments(series: Series) -> None:
    """Two halves of one recording, whose behaviour jumps between them: fitted and filtered apart, each as if the other were not there."""
    half = TRAIN // 2
    starts = (0, half, half + 1, VALIDATION)
    fitted = kalman.fit(replace(series, starts=np.array(starts)))
    x = series.targets[:TRAIN].double().numpy()
    inside = np.setdiff1d(np.arange(TRAIN - 1), [half - 1, half])  # a segment of one bin has no transition at all
    before, after = x[inside], x[inside + 1]
    a = np.linalg.solve(before.T @ before + np.eye(2), before.T @ after).T
    # transition = (I - K C) A holds for that A alone.
    np.testing.assert_allclose(fitted.transition, (np.eye(2) - fitted.gain @ observation(series)) @ a, atol=1e-8)
    assert not np.allclose(fitted.transition, kalman.fit(series).transition, atol=1e-8)

    together = fitted.predict(replace(series, starts=np.array(starts)))
    alone = [
        fitted.predict(replace(series, inputs=series.inputs[first:stop])) for first, stop in zip(starts, (*starts[1:], BINS), strict=True)
    ]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert not np.array_equal(together, fitted.predict(series))


def observation(series: Series) -> np.ndarray:
    """C of the Kalman filter: ridge of the inputs on the behaviour, with an intercept."""
    x, z = series.targets[:TRAIN].double().numpy(), series.inputs[:TRAIN].double().numpy()
    x, z = x - x.mean(axis=0), z - z.mean(axis=0)
    return np.linalg.solve(x.T @ x + np.eye(2), x.T @ z).T


def test_training_stops_at_the_last_label(series: Series) -> None:
    few = replace(series, targets=series.targets.clone())
    few.targets[100:TRAIN] = torch.nan
    one_by_one = FIT.model_copy(update={"batch": 1})
    model, history = trained(recurrent.build("gru", 400, 5, 2, PHASE), one_by_one, few)
    assert max(history.steps) <= MIN_BATCHES + 1  # passes of one or two windows of 50 bins; the whole part would give eight or more
    assert np.isfinite(model.predict(few)).all()
    few.targets[30:TRAIN] = torch.nan  # fewer labels than a window
    _, history = trained(recurrent.build("gru", 400, 5, 2, PHASE), one_by_one, few)
    assert set(history.steps) == {MIN_BATCHES}


TEACHER = PretrainSettings(epochs=1, lr=1e-3, block_bins=(5, 10))


def test_the_teachers_read_out_sees_the_future_and_blocks_do_not_show(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = looking_back.ReadOut(Teacher(MODEL, [5]), 2).eval()
    assert not any("predictor" in name or "mask_token" in name for name, _ in module.named_parameters())
    whole = looking_back.over_session(module, series.inputs, (0,), 200)
    assert whole.shape == (BINS, 2)
    changed = series.inputs.clone()
    changed[1200:] = -2.0
    again = looking_back.over_session(module, changed, (0,), 200)
    assert (again[1190:1200] - whole[1190:1200]).abs().max() > 1e-3
    monkeypatch.setattr("realm_edge.models.looking_back.BLOCK_BINS", 300)
    torch.testing.assert_close(looking_back.over_session(module, series.inputs, (0,), 1000), whole, atol=1e-3, rtol=0)


def test_autoencoding_trains_the_student_and_hides_masked_bins(series: Series) -> None:
    torch.manual_seed(0)
    module = autoencoded.MaskedStudent(Student(MODEL, 5, 2)).eval()
    inputs, masked = series.inputs[None, :100], torch.zeros(1, 100, dtype=torch.bool)
    masked[0, 40:60] = True
    base, changed = module.reconstruct(inputs, masked), inputs.clone()
    changed[0, 40:60] += 3.0
    torch.testing.assert_close(module.reconstruct(changed, masked), base)
    student, history = autoencoded.fit(MODEL, TEACHER.model_copy(update={"epochs": 8}), [series], WINDOW, PHASE, Silent())
    assert isinstance(student, Student) and history.validation_loss[-1] < 0.95 * history.validation_loss[0]
