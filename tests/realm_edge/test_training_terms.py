"""The method term by term, by hand: losses, where gradients go, what the teacher sees, rates, clipping, averages, warm-up windows."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Silent
from realm_edge.settings import DistilSettings, FitSettings, ModelSettings, PretrainSettings
from realm_edge.training import distil as distil_module
from realm_edge.training import finetune as finetune_module
from realm_edge.training import loop, pretrain
from realm_edge.training.arrays import SharedStudent
from realm_edge.training.distil import Distillation, _seen, distil
from realm_edge.training.finetune import WARM_UP_WINDOWS, decoding_error, finetune, supervise
from realm_edge.training.history import History
from realm_edge.training.loop import Phase, fit
from realm_edge.training.machine import one_cpu, share
from realm_edge.training.pretrain import AMPLITUDE, augment, autoencode, mask_blocks
from realm_edge.training.segments import Batch, Series
from realm_edge.training.step import GRADIENT_CLIP, new_state, stepper

MODEL = ModelSettings(d_model=4, n_layer=1, d_state=4, headdim=4)
WIDE = ModelSettings(d_model=6, n_layer=1, d_state=4, headdim=4)
PHASE = Phase("test", 0)
FIT = FitSettings(epochs=4, lr=0.02, batch=4, average=0.75, patience=10)
WEIGHTS = {"w_repr": 2.0, "w_task": 3.0, "w_ae": 0.5}
WINDOW = 30


def batch(seed: int = 0, lengths=(12, 12)) -> Batch:
    rng = np.random.default_rng(seed)
    windows, longest = len(lengths), max(lengths)
    inputs = torch.from_numpy(rng.standard_normal((windows, longest, 3)).astype(np.float32))
    targets = torch.from_numpy(rng.normal(1, 2, (windows, longest, 2)).astype(np.float32))
    targets[0, 4] = torch.nan
    return Batch(inputs, targets, torch.tensor(lengths), torch.ones(inputs.shape[:2]))


def series(bins: int = 200, train_end: int = 120, validation_end: int = 160, n: int = 3, seed: int = 0, **changes) -> Series:
    """No statistic is 0 or 1."""
    rng = np.random.default_rng(seed)
    inputs = torch.from_numpy(rng.standard_normal((bins, n)).astype(np.float32))
    targets = torch.from_numpy(rng.standard_normal((bins, 2)).astype(np.float32))
    statistics = (torch.arange(n) + 5.0 + seed, torch.arange(n) + 0.5, torch.tensor([7.0, -3.0]) + seed, torch.tensor([2.0, 4.0]))
    return replace(Series(f"s{seed}", inputs, targets, train_end, validation_end, *statistics), **changes)


@pytest.fixture
def distillation() -> Distillation:
    torch.manual_seed(0)
    student = Student(MODEL, 3, 2)
    return Distillation(SharedStudent(student, [3], 1), [3], WIDE.d_model).eval()


def only(name: str) -> DistilSettings:
    return DistilSettings(epochs=1, lr=1e-3, **(dict.fromkeys(WEIGHTS, 0.0) | {name: WEIGHTS[name]}))


def seen_by_teacher(one: Batch) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(*one.inputs.shape[:2], WIDE.d_model)


# --- distillation -----------------------------------------------------------------------------------------------------------------------


def test_the_terms_of_distillation_by_hand(distillation):
    one = batch()
    seen = seen_by_teacher(one)
    with torch.no_grad():
        hidden = distillation.shared.encode(one.inputs)
        maps = {"projected": distillation.projection(hidden), "decoded": distillation.shared.student.read_out(hidden)}
        maps["rebuilt"] = distillation.reconstructions["3"](hidden)
    projected, decoded, rebuilt = (maps[name].double().numpy() for name in ("projected", "decoded", "rebuilt"))
    teacher = seen.double().numpy()
    cosine = (projected * teacher).sum(-1) / np.linalg.norm(projected, axis=-1) / np.linalg.norm(teacher, axis=-1)
    expected = {
        "w_repr": np.mean(1 - cosine),
        "w_task": np.nanmean((decoded - one.targets.numpy()) ** 2),
        "w_ae": np.mean((rebuilt - one.inputs.numpy()) ** 2),
    }
    for name, value in expected.items():
        assert float(distillation.loss(one, seen, only(name)).detach()) == pytest.approx(WEIGHTS[name] * value, rel=1e-5), name
    whole = float(distillation.loss(one, seen, DistilSettings(epochs=1, lr=1e-3, **WEIGHTS)).detach())
    assert whole == pytest.approx(sum(WEIGHTS[name] * value for name, value in expected.items()), rel=1e-5)
    defaults = DistilSettings(epochs=1, lr=1e-3)
    assert (defaults.w_repr, defaults.w_task, defaults.w_ae) == (1.0, 1.0, 0.1)  # the paper's


@pytest.mark.parametrize(("term", "own"), [("w_repr", "projection"), ("w_task", "shared.student.head"), ("w_ae", "reconstructions.3")])
def test_every_term_reaches_the_student_and_its_own_map(distillation, term, own):
    one = batch()
    distillation.loss(one, seen_by_teacher(one), only(term)).backward()
    moved = {name for name, parameter in distillation.named_parameters() if parameter.grad is not None and parameter.grad.abs().max() > 0}
    encoder = {
        name for name, _ in distillation.named_parameters() if name.startswith(("shared.student.blocks", "shared.student.tokenizer"))
    }
    assert encoder <= moved
    owns = ("projection", "shared.student.head", "reconstructions.3")
    assert {other for other in owns if any(name.startswith(other) for name in moved)} == {own}


def test_a_loss_says_which_way_is_better(distillation):
    one = batch()
    with torch.no_grad():
        projected = distillation.projection(distillation.shared.encode(one.inputs))
        alike, opposite, longer = (float(distillation.loss(one, factor * projected, only("w_repr"))) for factor in (1.0, -1.0, 9.0))
    assert (
        alike == pytest.approx(0.0, abs=1e-6)
        and opposite == pytest.approx(2 * WEIGHTS["w_repr"])
        and longer == pytest.approx(alike, abs=1e-6)
    )


def captured_fit(monkeypatch, module) -> dict:
    """What a phase asks the fit loop for, which then does nothing."""
    asked: dict = {}

    def fit(fitted, settings, phase, batches, loss, validate, progress, corrupt=lambda batch: batch):
        asked.update(module=fitted, settings=settings, batches=batches, loss=loss, validate=validate, corrupt=corrupt)
        return History()

    monkeypatch.setattr(module, "fit", fit)
    return asked


def test_the_teacher_of_a_distillation_is_frozen_and_without_dropout(monkeypatch):
    torch.manual_seed(0)
    teacher = Teacher(WIDE, [3], dropout=0.5)
    assert teacher.training
    asked = captured_fit(monkeypatch, distil_module)
    student, _ = distil(teacher, MODEL, only("w_repr"), [series()], 3, WINDOW, PHASE, Silent())
    one = batch()
    assert torch.equal(_seen(teacher, one), _seen(teacher, one)) and not _seen(teacher, one).requires_grad
    module = asked["module"].eval()
    loss = asked["loss"](module, one)
    assert float(loss.detach()) == pytest.approx(float(module.loss(one, teacher(one.inputs), only("w_repr")).detach()))
    loss.backward()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.parameters())
    assert not set(map(id, teacher.parameters())) & set(map(id, module.parameters())) and module.shared.student is student


def test_the_teacher_is_shown_the_length_of_padded_windows(monkeypatch):
    torch.manual_seed(0)
    teacher = Teacher(WIDE, [3]).eval()
    one = batch(lengths=(12, 7))
    seen = _seen(teacher, one)
    changed = one._replace(inputs=one.inputs.clone())
    changed.inputs[1, 7:] = 9.0
    torch.testing.assert_close(_seen(teacher, changed)[1, :7], seen[1, :7])
    torch.testing.assert_close(seen[1, :7], teacher(one.inputs[1:, :7])[0].detach())


@pytest.mark.parametrize("w_task", [0.0, 3.0])
def test_distillation_keeps_what_decodes_best_or_where_nothing_decodes_the_least_loss(monkeypatch, w_task):
    torch.manual_seed(0)
    teacher, one = Teacher(WIDE, [3]), series()
    asked = captured_fit(monkeypatch, distil_module)
    settings = DistilSettings(epochs=1, lr=1e-3, w_repr=2.0, w_task=w_task, w_ae=0.5, dropout=0.0)
    distil(teacher, MODEL, settings, [one], 3, WINDOW, PHASE, Silent())
    module = asked["module"].eval()
    with torch.no_grad():
        score = asked["validate"](module)
        if w_task:
            assert score == pytest.approx(decoding_error(lambda inputs, lengths: module.shared.decode(inputs), [one], WINDOW))
        else:
            held = distil_module.validation_batches([one], WINDOW)
            assert score == pytest.approx(float(module.loss(held[0], teacher(held[0].inputs), settings)), rel=1e-5)


# --- masked autoencoding ----------------------------------------------------------------------------------------------------------------


PRETRAIN = PretrainSettings(epochs=1, lr=1e-3, batch=3, masked_fraction=0.4, block_bins=(2, 5), channel_dropout=0.5, noise_sd=0.3)


def test_only_masked_bins_count_and_the_teacher_is_told_which_they_are(monkeypatch):
    asked, told = captured_fit(monkeypatch, pretrain), []

    def reconstruct(module, seen, masked, lengths):
        told.append((seen, masked, lengths))
        return seen * 0.0 + 0.25

    autoencode(nn.Linear(1, 1), reconstruct, PRETRAIN, [series()], WINDOW, PHASE, Silent())
    torch.manual_seed(0)
    for drawn in asked["batches"]():
        corrupted = asked["corrupt"](drawn)
        loss = asked["loss"](None, corrupted)
        seen, masked, lengths = told.pop()
        assert seen is corrupted.seen and masked is corrupted.masked and lengths is None
        share = float(masked.float().mean())
        assert 0.4 <= share <= 0.4 + 5 / WINDOW
        assert float(loss) == pytest.approx(float(((0.25 - drawn.inputs) ** 2)[masked].mean()), rel=1e-5)  # of what was not augmented
        assert torch.equal(corrupted.wanted, drawn.inputs) and not torch.equal(corrupted.seen, drawn.inputs)


def test_validation_of_a_pretraining_is_on_plain_windows_with_the_same_masks_each_time(monkeypatch):
    asked, told = captured_fit(monkeypatch, pretrain), []

    def reconstruct(module, seen, masked, lengths):
        told.append((seen, masked))
        return seen * 0.0

    groups = [series(n=3), series(n=5, seed=1, validation_end=150)]  # two batches, of 40 and of 30 bins
    autoencode(nn.Linear(1, 1), reconstruct, PRETRAIN, groups, WINDOW, PHASE, Silent())
    score, again = (asked["validate"](None) for _ in range(2))
    assert score == again and all(torch.equal(a[1], b[1]) for a, b in zip(told[:2], told[2:], strict=True))
    sums, weights = [], []
    for (seen, masked), one in zip(told[:2], groups, strict=True):
        part = one.inputs[one.train_end : one.validation_end]
        assert torch.equal(seen[0], part[:WINDOW]) and torch.equal(seen[-1, -1], part[-1])
        sums.append(float((seen**2)[masked].mean()))
        weights.append(seen.shape[0] * seen.shape[1])
    assert score == pytest.approx(np.average(sums, weights=weights), rel=1e-6)


def test_a_teacher_is_trained_by_its_own_reconstruction(monkeypatch):
    asked = captured_fit(monkeypatch, pretrain)
    teacher, _ = pretrain.pretrain(WIDE, PRETRAIN.model_copy(update={"dropout": 0.35}), [series()], WINDOW, PHASE, Silent())
    assert asked["module"] is teacher and {each.p for each in teacher.modules() if isinstance(each, nn.Dropout)} == {0.35}
    teacher.eval()
    torch.manual_seed(0)
    corrupted = asked["corrupt"](asked["batches"]()[0])
    predicted = teacher.reconstruct(corrupted.seen, corrupted.masked)
    expected = ((predicted - corrupted.wanted) ** 2)[corrupted.masked].mean()
    assert float(asked["loss"](teacher, corrupted).detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    hidden = corrupted._replace(seen=corrupted.seen.masked_fill(corrupted.masked[..., None], 50.0))
    assert float(asked["loss"](teacher, hidden).detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_augmentation_by_hand():
    inputs = torch.ones(4000, 2, 6)
    plain = PRETRAIN.model_copy(update={"channel_dropout": 0.0, "noise_sd": 0.0})
    torch.manual_seed(0)
    gains = augment(inputs, 3, plain)
    assert torch.equal(gains, gains[:, :1, :1].expand_as(gains))  # one gain a window
    assert AMPLITUDE == (0.85, 1.15) and gains.min() >= 0.85 and gains.max() <= 1.15 and float(gains.mean()) == pytest.approx(1.0, abs=0.01)
    dropped = augment(inputs, 3, plain.model_copy(update={"channel_dropout": 0.2})) == 0
    assert torch.equal(dropped[..., :3], dropped[..., 3:]) and float(dropped.float().mean()) == pytest.approx(0.2, abs=0.02)
    noise = augment(inputs * 0, 3, plain.model_copy(update={"noise_sd": 0.3}))
    assert float(noise.std()) == pytest.approx(0.3, rel=0.02) and float(noise.mean()) == pytest.approx(0.0, abs=0.01)


def test_defaults_of_pretraining_are_the_papers():
    settings = PretrainSettings(epochs=1, lr=1e-3)
    assert (settings.masked_fraction, settings.block_bins, settings.channel_dropout, settings.noise_sd) == (0.6, (5, 25), 0.15, 0.05)


def test_masks_end_where_windows_do():
    torch.manual_seed(0)
    masked = mask_blocks(torch.tensor([30, 30, 9]), 30, PRETRAIN)
    assert masked.shape == (3, 30) and not masked[2, 9:].any() and masked.any(dim=1).all() and (~masked[:, :9]).any(dim=1).all()


# --- supervised fitting -----------------------------------------------------------------------------------------------------------------


class Sum(nn.Module):
    """The running sum of all inputs since its start: what it answers tells from where it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.9)

    def forward(self, inputs):
        return inputs.sum(-1, keepdim=True).cumsum(1).expand(-1, -1, 2)


def test_validation_starts_two_windows_early_and_scores_the_validation_part_alone():
    assert WARM_UP_WINDOWS == 2
    one, window = series(bins=220, train_end=120, validation_end=160), 25
    one.inputs[160:], one.targets[160:] = torch.nan, torch.inf
    one.targets[130] = torch.nan

    def expected(first):
        run = one.inputs[first:160].sum(-1).cumsum(0)[120 - first :, None]
        squares = (run - one.targets[120:160]).square()
        return float(squares[torch.isfinite(squares)].mean())

    module = Sum()
    assert decoding_error(lambda inputs, lengths: module(inputs), [one], window) == pytest.approx(expected(70), rel=1e-5)
    assert decoding_error(lambda inputs, lengths: module(inputs), [one], 80) == pytest.approx(expected(0), rel=1e-5)
    assert len({round(expected(first), 3) for first in (0, 70, 95, 120)}) == 4


def test_all_sessions_are_validated_bin_by_bin():
    long, short = series(), series(seed=1, bins=150, train_end=100, validation_end=110)
    module = Sum()

    def error(*sessions):
        return decoding_error(lambda inputs, lengths: module(inputs), sessions, 10)

    assert error(long, short) == pytest.approx((40 * error(long) + 10 * error(short)) / 50, rel=1e-5)


def test_supervised_fitting_by_hand(monkeypatch):
    asked = captured_fit(monkeypatch, finetune_module)
    one = series()
    one.targets[100:120] = torch.nan  # labels stop before the training part does
    one.targets[50, 0] = torch.nan
    module = Sum()
    supervise(
        module, lambda module, inputs, lengths: module(inputs), FIT.model_copy(update={"dropout": 0.4}), [one], WINDOW, PHASE, Silent()
    )
    assert module.dropout.p == 0.4
    torch.manual_seed(0)
    drawn = asked["batches"]()
    assert (
        all(torch.isfinite(each.targets[:, -1]).all() or each.lengths.max() < WINDOW for each in drawn)
        and drawn[0].inputs.shape[1] == WINDOW
    )
    bins = torch.cat([each.inputs.reshape(-1, 3) for each in drawn])
    known = one.inputs[:100]
    assert all((known == row).all(-1).any() for row in bins)  # nothing from the last label on
    squares = (module(drawn[0].inputs) - drawn[0].targets).square()
    assert float(asked["loss"](module, drawn[0])) == pytest.approx(float(squares[torch.isfinite(squares)].mean()), rel=1e-5)
    assert asked["validate"](module) == pytest.approx(decoding_error(lambda inputs, lengths: module(inputs), [one], WINDOW))


def test_fine_tuning_gives_the_student_the_statistics_of_the_last_session_of_its_array(monkeypatch):
    captured_fit(monkeypatch, finetune_module)
    student = Student(MODEL, 3, 2)
    own, last, other = series(seed=1), series(seed=2), series(seed=3, n=5)
    finetune(student, FIT, [own, last, other], WINDOW, PHASE, Silent())
    assert torch.equal(student.feature_mean, last.input_mean) and torch.equal(student.feature_inv_std, last.input_inv_std)
    assert torch.equal(student.target_mean, last.target_mean) and torch.equal(student.target_std, last.target_std)
    standardised = torch.tensor([[1.0, 2.0]])
    assert student.decoded(standardised).tolist() == [[1.0 * 2 + 9, 2.0 * 4 - 1]]


# --- the fit loop -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "epoch", "share"),
    [
        ("cosine", 0.0, 0.1),
        ("cosine", 0.5, 0.6 * 0.5 * (1 + math.cos(math.pi * 0.5 / 8))),
        ("cosine", 1.0, 0.5 * (1 + math.cos(math.pi / 8))),
        ("cosine", 2.0, 0.5 * (1 + math.sqrt(0.5))),
        ("cosine", 4.0, 0.5),
        ("cosine", 6.0, 0.5 * (1 - math.sqrt(0.5))),
        ("cosine", 8.0, 0.0),
        ("constant", 0.0, 0.1),
        ("constant", 0.25, 0.35),
        ("constant", 0.9, 1.0),
        ("constant", 7.5, 1.0),
    ],
)
def test_the_learning_rate_warms_up_over_an_epoch_and_falls_by_half_a_cosine(schedule, epoch, share):
    settings = FitSettings(epochs=8, lr=0.3, schedule=schedule)
    assert loop._rate(settings, epoch) == pytest.approx(0.3 * share, abs=1e-12)


@pytest.mark.parametrize(
    ("epoch", "share"), [(0.0, 0.3), (15.0, 0.65), (29.5, 0.3 + 0.7 * 29.5 / 30), (30.0, 1.0), (31.0, 0.995), (130.0, 0.995**100)]
)
def test_the_papers_rate_warms_up_for_30_epochs_and_then_falls_by_half_a_percent_an_epoch(epoch, share):
    settings = FitSettings(epochs=300, lr=0.2, schedule="exponential", warmup_epochs=30.0, warmup_from=0.3)
    assert loop._rate(settings, epoch) == pytest.approx(0.2 * share, rel=1e-12)


def test_the_defaults_are_the_rates_of_before_to_the_bit():
    settings = FitSettings(epochs=8, lr=0.3, schedule="constant")
    epochs = [step / 7 for step in range(56)]
    assert [loop._rate(settings, epoch) for epoch in epochs] == [0.3 * 1.0 * min(1.0, 0.1 + epoch) for epoch in epochs]


def line() -> nn.Linear:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    return module


def test_the_loop_by_hand(monkeypatch):
    """Three steps per epoch: the rates that they are given, modes of the module, the mean of the losses, and the weights that are kept."""
    monkeypatch.setattr(loop, "share", lambda batch, fabric: batch)
    rates, modes, validated, weights = [], [], [], []

    def fake_stepper(state, fabric):
        def step(rate, loss):
            value = loss()
            rates.append(rate)
            with torch.no_grad():
                state.module.weight += 1.0
            state.average.update_parameters(state.module)
            weights.append(float(state.module.weight.detach()))
            return value.detach(), torch.tensor(1.0)

        return step

    def loss(module, value):
        modes.append((module.training, torch.is_grad_enabled()))
        return module.weight.sum() * 0 + value

    scores = iter([3.0, 1.0, 2.0, 1.0])

    def validate(module):
        modes.append((module.training, torch.is_grad_enabled()))
        validated.append(float(module.weight.detach()))
        return next(scores)

    monkeypatch.setattr(loop, "stepper", fake_stepper)
    module = line()
    history = fit(module, FIT, PHASE, lambda: [1.0, 2.0, 6.0], loss, validate, Silent())
    assert rates == pytest.approx([loop._rate(FIT, epoch + index / 3) for epoch in range(4) for index in range(3)])
    assert modes == [(True, True), (True, True), (True, True), (False, False)] * 4
    assert history.train_loss == (3.0,) * 4 and history.validation_loss == (3.0, 1.0, 2.0, 1.0) and history.steps == (3,) * 4
    average, expected = weights[0], []  # the average begins with the weights after the first step
    for at, weight in enumerate(weights):
        average = average if at == 0 else 0.75 * average + 0.25 * weight
        expected += [average] if at % 3 == 2 else []
    assert validated == pytest.approx(expected)
    assert float(module.weight.detach()) == pytest.approx(expected[1])  # the first of the best
    assert not module.training
    assert (history.best_epoch, history.steps_to_best, history.epochs) == (1, 6, 4)


@pytest.mark.parametrize(
    ("scores", "patience", "epochs"),
    [([5, 4, 3, 2, 1], 2, 5), ([1, 2, 2, 9, 9], 2, 3), ([3, 1, 2, 0.5, 2, 2, 9], 2, 6), ([1, 1, 1, 1, 1], 3, 4)],
)
def test_a_fit_ends_with_its_epochs_or_with_its_patience(scores, patience, epochs):
    settings = FitSettings(epochs=len(scores), lr=1e-3, patience=patience)
    history = History()
    for at, score in enumerate(scores):
        if history.finished:
            break
        history = history.advanced(settings, 0.5 + at, float(score), 3 + at, 0.25)
    assert history.finished and history.epochs == epochs
    assert history.train_loss == tuple(0.5 + at for at in range(epochs)) and history.seconds == 0.25 * epochs
    assert history.summary().best_validation_loss == min(scores[:epochs])


def stepping(module: nn.Module, settings: FitSettings = FIT):
    state = new_state(module, settings, one_cpu())
    return state, stepper(state, one_cpu())


def test_gradients_are_clipped_and_begin_anew_with_each_step():
    module = nn.Linear(3, 2)
    _, step = stepping(module)
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    assert GRADIENT_CLIP == 1.0

    def gradient() -> torch.Tensor:
        return torch.cat([parameter.grad.flatten() for parameter in module.parameters()])

    for factor, clipped in ((100.0, True), (100.0, True), (1e-3, False)):
        alone = torch.autograd.grad((factor * module(inputs)).square().mean(), list(module.parameters()))
        expected = torch.cat([each.flatten() for each in alone])
        value, norm = step(1e-9, lambda factor=factor: (factor * module(inputs)).square().mean())
        assert float(norm) == pytest.approx(float(expected.norm()), rel=1e-4)  # before it is clipped
        assert (float(norm) > 1) is clipped and not value.requires_grad
        torch.testing.assert_close(gradient(), expected / max(1.0, float(norm)), rtol=1e-3, atol=1e-9)


def test_a_step_moves_by_its_rate_and_decays_matrices_alone():
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    for parameter in module.parameters():
        nn.init.constant_(parameter, 3.0)
    state, step = stepping(module, FIT.model_copy(update={"weight_decay": 0.5}))
    step(0.1, lambda: sum(parameter.sum() for parameter in module.parameters()))
    # AdamW's first step is of the size of the rate, whatever the gradient; a matrix also loses rate * decay of itself
    assert torch.allclose(module[0].weight, torch.tensor(3.0 * (1 - 0.1 * 0.5) - 0.1), atol=1e-4)
    for parameter in (module[0].bias, module[1].weight, module[1].bias):
        assert torch.allclose(parameter, torch.tensor(2.9), atol=1e-4)
    average = next(iter(state.average.module.parameters()))
    assert torch.equal(average, module[0].weight)
    before = module[0].weight.detach().clone()
    step(0.2, lambda: sum(parameter.sum() for parameter in module.parameters()))
    assert torch.allclose(average, 0.75 * before + 0.25 * module[0].weight, atol=1e-6)


def test_processes_share_every_window_of_a_batch_once():
    one = Batch(torch.arange(7.0)[:, None, None], torch.arange(7.0)[:, None, None] + 10, torch.arange(7), torch.ones(7, 1))
    shares = [share(one, SimpleNamespace(global_rank=rank, world_size=3)) for rank in range(3)]
    assert [each.lengths.tolist() for each in shares] == [[0, 3, 6], [1, 4], [2, 5]]
    for each in shares:
        assert isinstance(each, Batch)
        assert each.inputs.flatten().tolist() == each.lengths.tolist() and each.targets.flatten().tolist() == (each.lengths + 10).tolist()
    assert share(one, SimpleNamespace(global_rank=0, world_size=1)) is one


def test_evaluation_has_dropout_off():
    student = Student(MODEL, 3, 2, dropout=0.5)
    asked = SimpleNamespace(outputs=[])

    def validate(module):
        asked.outputs.append(torch.equal(*(module(torch.ones(1, 40, 3)) for _ in range(2))))
        return 1.0

    def loss(module, one):
        first, second = (module(torch.ones(1, 40, 3)) for _ in range(2))
        assert not torch.equal(first, second)
        return first.square().mean()

    one = batch()
    fit(student, FIT.model_copy(update={"epochs": 1}), PHASE, lambda: [one], loss, validate, Silent())
    assert asked.outputs == [True]
    assert torch.equal(*(student(torch.ones(1, 40, 3)) for _ in range(2)))
