"""The fit loop on problems of a second: it learns, repeats itself, resumes, and never looks at the test part."""

import math
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from realm_edge.errors import UserError
from realm_edge.models.student import Student, decode
from realm_edge.progress import Silent
from realm_edge.session import Session
from realm_edge.settings import DistilSettings, FitSettings, ModelSettings, PretrainSettings
from realm_edge.training import loop
from realm_edge.training.distil import distil
from realm_edge.training.finetune import WARM_UP_WINDOWS, finetune
from realm_edge.training.loop import Phase, masked_mse
from realm_edge.training.machine import machine
from realm_edge.training.pretrain import pretrain
from realm_edge.training.segments import MIN_BATCHES, standardise, training_batches, validation_batches

MODEL = ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=8)
FIT = FitSettings(epochs=6, lr=1e-2, batch=4, average=0.8)
WINDOW = 50


def session(seed=0, bins=700):
    """Four features; the behaviour is a leaky sum of the first one, which a causal model can follow."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((bins, 4)).astype(np.float32) * [1, 10, 0.1, 1] + [0, 5, 0, 0]
    features[:, 3] = 7.0  # a dead feature
    behaviour = np.zeros((bins, 1), np.float32)
    for k in range(1, bins):
        behaviour[k] = 0.8 * behaviour[k - 1] + features[k, 0]
    return Session(
        name=f"s{seed}", heldout=seed == 0, synthetic=True, targets=100 * behaviour + 20, target_names=("x",), target_unit="mm/s",
        train_end=500, validation_end=600, lfp=None, good_channels=np.ones(4, bool), features=features.astype(np.float32), counts=None,
        spike_source="none", spike_threshold=None, broadband=None, provenance={},
    )  # fmt: skip


def series(seed=0):
    one = session(seed)
    return standardise(one, one.features, 0.02)


def tuned(settings=FIT, phase=None, of=None):
    torch.manual_seed(0)
    student = Student(MODEL, 4, 1)
    history = finetune(student, settings, of or [series()], WINDOW, phase or Phase("finetune", 0), Silent())
    return student, history


def assert_equal(first, second):
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor), name


class Interrupted(Silent):
    """Stops the fit, as Ctrl-C would, after some epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def track(self, items, description, total=None):
        for count, item in enumerate(items):
            if count == self.epochs:
                raise KeyboardInterrupt
            yield item


class AtStep(Silent):
    """Does something while the fit is at its n-th step."""

    def __init__(self, step, act):
        self.left, self.act, self.said = step, act, []

    def say(self, text):
        self.said.append(text)

    def note(self, text):
        self.left -= 1
        if self.left == 0:
            self.act()


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def crash():
    raise RuntimeError("power cut")


def fitted(kind, phase, progress=None):
    """A fine-tuning with dropout, or a pretraining with masks and augmentation: three steps per epoch, six epochs."""
    progress = progress or Silent()
    if kind == "pretrain":
        settings = PretrainSettings(epochs=6, lr=5e-3, batch=4, average=0.8, block_bins=(2, 6), dropout=0.3)
        return pretrain(MODEL, settings, [series()], WINDOW, phase, progress)
    torch.manual_seed(0)
    student = Student(MODEL, 4, 1)
    return student, finetune(student, replace_fit(dropout=0.3), [series()], WINDOW, phase, progress)


def test_standardise_uses_the_training_part_alone():
    one = session()
    got = standardise(one, one.features, 0.02)
    late = slice(49, 500)  # with a second of history
    torch.testing.assert_close(got.inputs[late, :3].mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(got.inputs[late, :3].std(0), torch.ones(3), rtol=0.05, atol=0)
    assert (got.inputs[:, 3] == 0).all() and got.input_inv_std[3] == 0
    spoiled = replace(one, targets=one.targets.copy())
    spoiled.targets[500:] = 1e6
    features = one.features.copy()
    features[500:] = 1e6
    again = standardise(spoiled, features, 0.02)
    for name in ("input_mean", "input_inv_std", "target_mean", "target_std"):
        assert torch.equal(getattr(again, name), getattr(got, name))
    assert torch.equal(again.inputs[:500], got.inputs[:500]) and again.inputs.abs().max() <= 8


def test_statistics_leave_out_what_filters_settle_in():
    one = replace(session(), starts=np.array([0, 200, 215, 420]))
    late = np.r_[49:200, 264:420, 469:500]
    features = one.features + 3e3 * ~np.isin(np.arange(700), late)[:, None]  # start-up, and what is no training part
    got = standardise(one, features, 0.02)
    np.testing.assert_allclose(got.input_mean, one.features[late].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(1 / got.input_inv_std[:3], one.features[late, :3].std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(got.target_mean, one.targets[:500].mean(axis=0), rtol=1e-5)  # behaviour has no start-up
    assert got.starts.tolist() == [0, 200, 215, 420]

    trials = standardise(replace(one, starts=np.arange(0, 700, 49)), one.features, 0.02)  # none lasts a second
    np.testing.assert_allclose(trials.input_mean, one.features[:500].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "unknown"), (3.0, "'x' is constant")])
def test_behaviour_that_cannot_be_learnt(value, message):
    one = session()
    targets = one.targets.copy()
    targets[:500] = value
    with pytest.raises(UserError, match=message):
        standardise(replace(one, targets=targets), one.features, 0.02)


def test_windows_come_from_their_own_parts():
    one = replace(series(), inputs=torch.arange(700.0)[:, None].expand(700, 4))  # each bin holds its number
    torch.manual_seed(0)
    seen = torch.cat([torch.cat([b.inputs[..., 0].flatten() for b in training_batches([one], WINDOW, 4)]) for _ in range(400)])
    assert seen.min() == 0 and seen.max() == 499 and len(seen.unique()) == 500
    (held,) = validation_batches([one], 30)
    assert held.inputs.shape == (4, 30, 4)
    assert held.inputs.min() == 500 and held.inputs.max() == 599 and len(held.inputs[..., 0].unique()) == 100


def test_masked_mse_ignores_nan_targets_and_their_gradients():
    predicted = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    loss = masked_mse(predicted, torch.tensor([0.0, torch.nan, 5.0]))
    assert loss == (1 + 4) / 2
    loss.backward()
    assert predicted.grad.tolist() == [1.0, 0.0, -2.0]
    assert masked_mse(predicted, torch.full((3,), torch.nan)) == 0


def test_finetuning_learns_and_exports_statistics():
    student, history = tuned(replace_fit(epochs=40))
    assert history.validation_loss[history.best_epoch] < 0.35 * history.validation_loss[0]
    one = session()
    decoded = decode(student, torch.from_numpy(one.features)).numpy()[600:]
    assert np.corrcoef(decoded[:, 0], one.targets[600:, 0])[0, 1] > 0.9
    assert abs(decoded.mean() - one.targets[600:].mean()) < 0.5 * one.targets.std()  # target units, not z-scores


def replace_fit(**changes):
    return FIT.model_copy(update=changes)


def test_equal_seeds_give_equal_weights_and_others_do_not():
    first, _ = tuned(replace_fit(dropout=0.3))
    torch.manual_seed(123)  # the caller's random numbers do not matter
    second, _ = tuned(replace_fit(dropout=0.3))
    assert_equal(first, second)
    other, _ = tuned(replace_fit(dropout=0.3), Phase("finetune", 1))
    assert not torch.equal(other.head.weight, first.head.weight)


@pytest.mark.parametrize("after", [1, 4])
def test_a_resumed_fit_equals_an_uninterrupted_one(tmp_path, after):
    settings = replace_fit(dropout=0.3)
    whole, expected = tuned(settings)
    phase = Phase("finetune", 0, tmp_path / "finetune.safetensors", "abc")
    torch.manual_seed(0)
    student = Student(MODEL, 4, 1)
    with pytest.raises(KeyboardInterrupt):
        finetune(student, settings, [series()], WINDOW, phase, Interrupted(after))
    resumed, history = tuned(settings, phase)
    assert_equal(whole, resumed)
    assert history.validation_loss == expected.validation_loss and history.train_loss == expected.train_loss
    again, repeated = tuned(settings, phase)  # a finished phase is not trained again
    assert_equal(whole, again)
    assert repeated == history


@pytest.mark.parametrize("kind", ["finetune", "pretrain"])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 17, 18])
def test_ctrl_c_at_any_step_changes_nothing(tmp_path, kind, step):
    whole, expected = fitted(kind, Phase(kind, 0))
    assert expected.steps == (3,) * 6
    phase = Phase(kind, 0, tmp_path / "partial.safetensors", "abc")
    with pytest.raises(KeyboardInterrupt):
        fitted(kind, phase, AtStep(step, ctrl_c))
    resumed, history = fitted(kind, phase)
    assert_equal(whole, resumed)
    assert (history.validation_loss, history.train_loss) == (expected.validation_loss, expected.train_loss)
    assert len(history.seconds_by_epoch) == history.epochs and history.seconds == math.fsum(history.seconds_by_epoch) > 0


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_crash_costs_what_came_after_the_last_save(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(loop, "SAVE_SECONDS", seconds)
    whole, _ = fitted("finetune", Phase("finetune", 0))
    phase = Phase("finetune", 0, tmp_path / "partial.safetensors", "abc")
    with pytest.raises(RuntimeError, match="power cut"):
        fitted("finetune", phase, AtStep(9, crash))
    again = AtStep(1000, crash)
    resumed, _ = fitted("finetune", phase, again)
    assert_equal(whole, resumed)
    assert 1000 - again.left == (10 if seconds == 0.0 else 12)  # of 18 steps: after the 8th, or after the second epoch


def test_a_damaged_partial_file_is_told_of_and_the_phase_starts_anew(tmp_path):
    whole, expected = fitted("finetune", Phase("finetune", 0))
    phase = Phase("finetune", 0, tmp_path / "partial.safetensors", "abc")
    with pytest.raises(KeyboardInterrupt):
        fitted("finetune", phase, AtStep(8, ctrl_c))
    content = bytearray(phase.partial.read_bytes())
    content[-100] ^= 1  # of a tensor
    phase.partial.write_bytes(content)
    again = AtStep(1000, crash)
    resumed, history = fitted("finetune", phase, again)
    assert_equal(whole, resumed)
    assert history.train_loss == expected.train_loss and 1000 - again.left == 18  # all steps
    assert again.said == [f"  warning: {phase.partial}: damaged, or of an earlier version: this phase of training starts anew"]


def test_curves_hold_every_step_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    phase = Phase("finetune", 0, tmp_path / "partial.safetensors", "abc", curves=tmp_path / "curves")
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves" / "events.of.an.earlier.training").write_bytes(b"")
    with pytest.raises(KeyboardInterrupt):
        fitted("finetune", phase, AtStep(8, ctrl_c))
    time.sleep(1.0 - time.time() % 1.0)  # TensorBoard orders files by name: the second, the process, a count as text
    _, history = fitted("finetune", phase)
    assert not (tmp_path / "curves" / "events.of.an.earlier.training").exists()
    seen = EventAccumulator(str(tmp_path / "curves")).Reload()
    losses = seen.Scalars("step/loss")
    assert [event.step for event in losses] == list(range(18))
    assert np.mean([event.value for event in losses[:3]]) == pytest.approx(history.train_loss[0], rel=1e-6)
    rates = [event.value for event in seen.Scalars("step/learning_rate")]
    assert max(rates) <= FIT.lr and rates[-1] < rates[3] and all(event.value > 0 for event in seen.Scalars("step/gradient_norm"))
    scores = [(event.step, event.value) for event in seen.Scalars("epoch/validation_loss")]
    assert scores == [(3 * index + 2, pytest.approx(score)) for index, score in enumerate(history.validation_loss)]


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_learns_as_float32_does(tmp_path, precision):
    _, exact = tuned(replace_fit(epochs=20))
    with machine("cpu", precision) as fabric:
        student, mixed = tuned(replace_fit(epochs=20), Phase("finetune", 0, fabric=fabric))
        assert student.head.weight.dtype == torch.float32
        assert mixed.validation_loss[-1] < 0.5 * mixed.validation_loss[0]
        late = slice(5, None)  # in float16 the first steps are skipped, until the loss is scaled to its range
        np.testing.assert_allclose(mixed.validation_loss[late], exact.validation_loss[late], rtol=0.1)
        assert mixed.validation_loss != exact.validation_loss

        phase = Phase("finetune", 0, tmp_path / "partial.safetensors", fabric=fabric)
        torch.manual_seed(0)
        resumed = Student(MODEL, 4, 1)
        with pytest.raises(KeyboardInterrupt):
            finetune(resumed, replace_fit(epochs=20), [series()], WINDOW, phase, AtStep(8, ctrl_c))
        assert_equal(student, tuned(replace_fit(epochs=20), phase)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_a_gpu_learns_as_the_cpu_does(precision):
    _, exact = tuned(replace_fit(epochs=20))
    with machine("cuda", precision) as fabric:
        student, history = tuned(replace_fit(epochs=20), Phase("finetune", 0, fabric=fabric))
    assert student.head.weight.device.type == "cpu"
    np.testing.assert_allclose(history.validation_loss, exact.validation_loss, rtol=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(UserError, match=r"--device cuda: 1 process\(es\) but 0 GPU\(s\)"), machine("cuda", "32"):
        pass


@pytest.mark.parametrize("leftover", ["other data", "half a file"])
def test_a_leftover_that_does_not_fit_is_ignored(tmp_path, leftover):
    whole, _ = tuned()
    partial = tmp_path / "finetune.safetensors"
    tuned(replace_fit(epochs=2, lr=0.1), Phase("finetune", 0, partial, "old"))
    if leftover == "half a file":
        partial.write_bytes(partial.read_bytes()[:5000])
    resumed, _ = tuned(FIT, Phase("finetune", 0, partial, "new" if leftover == "other data" else "old"))
    assert_equal(whole, resumed)


def test_neither_training_nor_validation_reads_the_test_part():
    one = series()
    spoiled = replace(one, inputs=one.inputs.clone(), targets=one.targets.clone())
    spoiled.inputs[600:], spoiled.targets[600:] = torch.nan, torch.inf
    clean, expected = tuned(of=[one])
    poisoned, history = tuned(of=[spoiled])
    assert_equal(clean, poisoned)
    assert history.validation_loss == expected.validation_loss


def test_unknown_bins_are_masked_in_training():
    one = series()
    gaps = replace(one, targets=one.targets.clone())
    gaps.targets[100:150], gaps.targets[520:540] = torch.nan, torch.nan
    student, history = tuned(replace_fit(epochs=25), of=[gaps])
    assert history.validation_loss[history.best_epoch] < 0.4 * history.validation_loss[0]
    assert all(tensor.isfinite().all() for tensor in student.state_dict().values())


def test_early_stopping_keeps_the_best_weights():
    student, history = tuned(replace_fit(epochs=60, lr=0.3, patience=3, average=0.1, schedule="constant"))
    assert history.epochs == history.best_epoch + 1 + 3
    one = series()
    settled = 500 - WARM_UP_WINDOWS * WINDOW  # from where a validation part is decoded
    out = decode(student, torch.from_numpy(session().features[settled:600]))
    z = ((out - one.target_mean) / one.target_std)[500 - settled :]
    assert float(masked_mse(z, one.targets[500:600])) == pytest.approx(history.validation_loss[history.best_epoch], rel=1e-4)


def test_a_loss_that_is_no_number_is_a_user_error():
    one = series()
    broken = replace(one, inputs=one.inputs.clone())
    broken.inputs[10] = torch.nan
    with pytest.raises(UserError, match=r"finetune: loss nan.* lower its lr \(0.01\)"):
        tuned(of=[broken])


def test_the_whole_chain_learns_and_repeats_itself():
    sessions = [series(1), series(2)]
    wide = ModelSettings(d_model=16, n_layer=1, d_state=4, headdim=8)

    def chain():
        settings = PretrainSettings(epochs=4, lr=5e-3, batch=4, average=0.8, block_bins=(2, 6))
        teacher, pretrained = pretrain(wide, settings, sessions, WINDOW, Phase("pretrain", 0), Silent())
        settings = DistilSettings(epochs=15, lr=1e-2, batch=4, average=0.8)
        student, distilled = distil(teacher, MODEL, settings, sessions, sessions[0].inputs.shape[1], WINDOW, Phase("distil", 0), Silent())
        return teacher, student, pretrained, distilled

    teacher, student, pretrained, distilled = chain()
    assert pretrained.validation_loss[-1] < pretrained.validation_loss[0]
    assert distilled.validation_loss[-1] < 0.6 * distilled.validation_loss[0]
    again_teacher, again_student, _, _ = chain()
    assert_equal(teacher, again_teacher)
    assert_equal(student, again_student)


def test_the_channel_tokenizer_learns_in_teacher_and_student():
    one = series(1)
    wide = ModelSettings(d_model=16, n_layer=1, d_state=4, headdim=8, tokenizer="channel")
    slow = replace(one, inputs=one.inputs[:70].repeat_interleave(10, dim=0))  # masked bins can be told from their neighbours
    settings = PretrainSettings(epochs=20, lr=1e-2, batch=4, average=0.8, block_bins=(2, 6), masked_fraction=0.3)
    teacher, pretrained = pretrain(wide, settings, [slow], WINDOW, Phase("pretrain", 0), Silent())
    assert pretrained.validation_loss[-1] < 0.8 * pretrained.validation_loss[0]
    narrow = MODEL.model_copy(update={"tokenizer": "channel"})
    settings = DistilSettings(epochs=15, lr=1e-2, batch=4, average=0.8)
    _, distilled = distil(teacher, narrow, settings, [one], one.inputs.shape[1], WINDOW, Phase("distil", 0), Silent())
    assert distilled.validation_loss[-1] < 0.7 * distilled.validation_loss[0]


def test_each_term_of_the_distillation_loss_counts():
    sessions = [series(1)]
    torch.manual_seed(0)
    wide = ModelSettings(d_model=16, n_layer=1, d_state=4, headdim=8)
    settings = PretrainSettings(epochs=1, lr=1e-3)
    teacher, _ = pretrain(wide, settings, sessions, WINDOW, Phase("pretrain", 0), Silent())

    def first_losses(**weights):
        settings = DistilSettings(epochs=1, lr=1e-9, **{"w_repr": 0.0, "w_task": 0.0, "w_ae": 0.0} | weights)
        inputs = sessions[0].inputs.shape[1]
        _, history = distil(teacher, MODEL, settings, sessions, inputs, WINDOW, Phase("distil", 0), Silent())
        return history.train_loss[0], history.validation_loss[0]

    (apart, held_apart), (task, held_task), (reconstruction, _) = (first_losses(**{name: 1.0}) for name in ("w_repr", "w_task", "w_ae"))
    assert min(apart, task, reconstruction) > 0.1 and apart < 2.0
    every, held = first_losses(w_repr=2.0, w_task=3.0, w_ae=0.5)
    assert every == pytest.approx(2 * apart + 3 * task + 0.5 * reconstruction, rel=1e-5)
    assert held == pytest.approx(held_task, rel=1e-5)  # decoding decides what is kept,
    assert first_losses(w_repr=2.0)[1] == pytest.approx(2 * held_apart, rel=1e-5)  # unless it has no part in the loss


def test_short_recordings_get_several_passes_an_epoch():
    short = series()
    window = short.train_end // 2
    drawn = training_batches([short], window, 4)
    assert len(drawn) >= MIN_BATCHES
    assert all(batch.inputs.shape[1] == window for batch in drawn)
