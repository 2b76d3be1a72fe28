"""Windows, losses and decoders keep to the segments of a session; a session of one segment is trained as before there were any."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_edge.baselines import kalman, recurrent, transformer
from realm_edge.baselines.sequence import train
from realm_edge.metrics import accuracy
from realm_edge.models import by_segment, looking_back
from realm_edge.models.student import Student, decode
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Silent
from realm_edge.segments import bounds
from realm_edge.settings import DistilSettings, FitSettings, ModelSettings, PretrainSettings
from realm_edge.training.arrays import SharedStudent
from realm_edge.training.distil import Distillation
from realm_edge.training.finetune import decoding_error, finetune
from realm_edge.training.loop import Phase, masked_mse
from realm_edge.training.pretrain import mask_blocks, pretrain
from realm_edge.training.segments import MIN_BATCHES, Batch, Series, Statistics, training_batches, unpadded, validation_batches

MODEL = ModelSettings(d_model=8, n_layer=2, d_state=4, headdim=8)
TOKENIZERS = pytest.mark.parametrize("tokenizer", ["linear", "channel"])
PHASE = Phase("test", 0)
THREE = np.array([0, 70, 79])  # segments of 70, 9 and 41 bins


def series(starts, train_end, validation_end, inputs, targets=None):
    inputs = torch.as_tensor(inputs, dtype=torch.float32)
    targets = torch.zeros(len(inputs), 1) if targets is None else torch.as_tensor(targets, dtype=torch.float32)
    n, dims = inputs.shape[1], targets.shape[1]
    statistics = torch.zeros(n), torch.ones(n), torch.zeros(dims), torch.ones(dims)
    return Series("s", inputs, targets, train_end, validation_end, *statistics, starts=np.asarray(starts, np.int64))


def numbered(starts, train_end, validation_end):
    """Each bin holds its number, from 1 on: padding holds 0."""
    return series(starts, train_end, validation_end, torch.arange(1.0, validation_end + 1)[:, None].expand(-1, 2))


def windows(batches):
    """First bin and end of every window, once its content was found to be these bins and nothing but padding behind them."""
    for batch in batches:
        for inputs, targets, length in zip(batch.inputs[..., 0], batch.targets, batch.lengths.tolist(), strict=True):
            first = int(inputs[0]) - 1
            assert inputs[:length].tolist() == list(range(first + 1, first + length + 1)) and not inputs[length:].any()
            assert targets[:length].isfinite().all() and targets[length:].isnan().all()
            yield first, first + length
        assert int(batch.lengths.max()) == batch.inputs.shape[1]  # no padding that no window needs


@st.composite
def sessions(draw):
    lengths = draw(st.lists(st.integers(1, 60), min_size=1, max_size=12))
    bins = sum(lengths)
    train_end = draw(st.integers(1, max(1, bins - 1)))
    return numbered(np.cumsum([0, *lengths[:-1]]), train_end, bins), draw(st.integers(1, 70)), draw(st.integers(1, 5))


@settings(deadline=None)
@given(sessions())
def test_windows_never_contain_a_start(case):
    one, window, batch = case
    starts = set(one.starts.tolist())
    torch.manual_seed(0)
    seen = list(windows(training_batches([one], window, batch)))
    parts = [(first, min(stop, one.train_end)) for first, stop in bounds(one.starts, one.validation_end) if first < one.train_end]
    window = min(window, max(stop - first for first, stop in parts))
    for first, stop in seen:
        assert stop <= one.train_end and stop - first <= window and not starts & set(range(first + 1, stop))
        assert stop - first == window or (first, stop) in parts  # a shorter one is a whole segment
    assert all(any(start <= first and stop <= end for first, stop in seen) for start, end in parts)  # none is left out
    assert {first for first, _ in parts[1:]} <= {first for first, _ in seen}  # all later starts
    assert len(seen) > (MIN_BATCHES - 1) * batch

    if one.validation_end > one.train_end:
        held = list(windows(validation_batches([one], window)))
        assert not any(starts & set(range(first + 1, stop)) for first, stop in held)
        assert set().union(*(range(first, stop) for first, stop in held)) == set(range(one.train_end, one.validation_end))


def test_a_session_of_one_segment_is_drawn_and_masked_as_ever():
    """Against what stood here before there were segments: equal draws give bit-identical training."""
    one, window, batch = numbered([0], 497, 600), 50, 4
    torch.manual_seed(3)
    got = training_batches([one], window, batch)
    masked = mask_blocks(torch.full((4,), 50), 50, PretrainSettings(epochs=1, lr=1e-3))
    after = torch.get_rng_state()

    torch.manual_seed(3)
    drawn = []
    while len(drawn) <= 2 * batch:
        spare = 497 - window
        offset = int(torch.randint(min(window, spare + 1), ()))
        drawn += list(range(offset, spare + 1, window))
    shuffled = [drawn[index] for index in torch.randperm(len(drawn)).tolist()]
    expected = torch.zeros(4, 50, dtype=torch.bool)
    for row in expected:
        while row.sum() < 0.6 * 50 and row.sum() < 50 - 25:
            length = int(torch.randint(5, 26, ()))
            start = int(torch.randint(1 - length, 50, ()))
            row[max(start, 0) : start + length] = True
    assert [first for first, _ in windows(got)] == shuffled and torch.equal(masked, expected)
    assert torch.equal(torch.get_rng_state(), after)
    assert [first for first, _ in windows(validation_batches([one], 30))] == [497, 527, 557, 570]


def test_short_windows_are_masked_too_and_padding_never():
    torch.manual_seed(0)
    lengths = torch.tensor([80, 30, 25, 12, 4, 2, 1] * 40)
    masked = mask_blocks(lengths, 80, PretrainSettings(epochs=1, lr=1e-3, masked_fraction=0.6, block_bins=(5, 25)))
    inside = by_segment.inside(lengths, 80)
    assert not (masked & ~inside).any()
    count = masked.sum(1)
    assert (count < lengths).all()  # something is left to see
    assert (count[lengths > 1] > 0).all()
    assert (count[lengths == 80] >= 0.6 * 80).all() and count[lengths == 12].float().mean() > 0.5 * 12


@TOKENIZERS
def test_padding_changes_neither_losses_nor_gradients(tokenizer):
    """A padded batch against its windows one by one, each weighted with its bins."""
    torch.manual_seed(0)
    teacher = Teacher(MODEL.model_copy(update={"tokenizer": tokenizer}), [6], kinds=2).double().eval()
    student = Student(MODEL.model_copy(update={"tokenizer": tokenizer}), 6, 1, kinds=2)
    module = Distillation(SharedStudent(student, [6], 2), [6], 8).double().eval()
    settings = DistilSettings(epochs=1, lr=1e-3)
    lengths = torch.tensor([50, 23, 7, 1])
    inputs, targets = torch.randn(4, 50, 6, dtype=torch.float64), torch.randn(4, 50, 1, dtype=torch.float64)
    outside = ~by_segment.inside(lengths, 50)
    inputs[outside], targets[outside] = 3.0, torch.nan  # whatever stands in the padding, as after augmentation

    def losses(batch):
        return module.loss(batch, teacher(batch.inputs, lengths=by_segment.padded_lengths(batch.lengths, batch.inputs)), settings)

    def gradient(loss):
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, module.parameters())])

    whole = losses(Batch(inputs, targets, lengths, torch.ones(inputs.shape[:2])))
    alone = [
        losses(Batch(inputs[[row], :n], targets[[row], :n], lengths[[row]], torch.ones(1, n))) for row, n in enumerate(lengths.tolist())
    ]
    expected = sum(n * loss for n, loss in zip(lengths.tolist(), alone, strict=True)) / lengths.sum()
    assert float(whole.detach()) == pytest.approx(float(expected.detach()), rel=1e-6)  # cosines are taken in float32
    torch.testing.assert_close(gradient(whole), gradient(expected), rtol=1e-5, atol=1e-7)

    masked = torch.zeros(4, 50, dtype=torch.bool)
    masked[:, 2:5] = True
    masked &= ~outside
    together = teacher.reconstruct(inputs, masked, lengths)
    for row, n in enumerate(lengths.tolist()):
        single = teacher.reconstruct(inputs[[row], :n], masked[[row], :n])[0]
        torch.testing.assert_close(together[row, :n], single, rtol=0, atol=1e-12)
    assert unpadded(together, lengths).shape == (81, 6)


DECODERS = ["student", "channel student", "gru", "lstm", "transformer", "teacher", "kalman"]


def decoder(name, one):
    """Inputs and starts -> the whole session decoded."""
    torch.manual_seed(0)
    n, dims = one.inputs.shape[1], one.targets.shape[1]
    if "student" in name:
        tokenizer = "channel" if "channel" in name else "linear"
        student = Student(MODEL.model_copy(update={"tokenizer": tokenizer}), n, dims, kinds=2)
        return lambda each: decode(student, each.inputs, each.starts).numpy()
    if name == "teacher":
        module = looking_back.ReadOut(Teacher(MODEL.model_copy(update={"tokenizer": "channel"}), [n], kinds=2), dims).eval()
        return lambda each: looking_back.over_session(module, each.inputs, each.starts, 50).numpy()
    if name == "transformer":
        return transformer.Transformer(8, 2, 10, n, dims).eval().predict
    return kalman.fit(one).predict if name == "kalman" else recurrent.Recurrent(name, 8, n, dims).predict


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("starts", [THREE, np.arange(0, 120, 7)], ids=["three", "many short"])
def test_decoding_a_session_is_decoding_its_segments_one_by_one(name, starts):
    rng = np.random.default_rng(0)
    one = series(starts, 90, 100, rng.standard_normal((120, 4)), rng.standard_normal((120, 2)))
    predict = decoder(name, one)
    alone = [
        predict(replace(one, inputs=one.inputs[first:stop], targets=one.targets[first:stop], starts=np.zeros(1, np.int64)))
        for first, stop in bounds(starts, 120)
    ]
    together = predict(one)
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=2e-6)
    assert np.abs(together - predict(replace(one, starts=np.zeros(1, np.int64)))).max() > 1e-3


def test_segments_run_in_few_groups_of_bounded_size():
    lengths = np.random.default_rng(0).integers(1, 40, 500)
    shapes = []

    def run(batch, lengths):
        shapes.append(batch.shape)
        return batch

    inputs = torch.arange(float(lengths.sum()) + 9000)[:, None]
    starts = np.cumsum([0, *lengths])  # the last one is long
    assert torch.equal(by_segment.over_segments(run, inputs, starts), inputs)
    assert len(shapes) < 10 and sorted(shape[0] * shape[1] for shape in shapes)[-2] <= by_segment.TOGETHER_BINS
    assert sum(shape[0] * shape[1] for shape in shapes) < 1.2 * len(inputs)  # little padding


def test_validation_never_runs_across_a_start():
    rng = np.random.default_rng(0)
    one = series([0, 40, 80, 110, 130], 90, 120, rng.standard_normal((150, 4)), rng.standard_normal((150, 2)))
    one.targets[95] = torch.nan
    torch.manual_seed(0)
    gru = recurrent.Recurrent("gru", 8, 4, 2).eval()

    def error(window):
        with torch.no_grad():
            return decoding_error(lambda inputs, lengths: gru(inputs)[0], [one], window)

    with torch.no_grad():
        begun, late = (gru(one.inputs[None, first:110])[0][0, 90 - first :] for first in (80, 86))
        rest = gru(one.inputs[None, 110:120])[0][0]
    for window, first in ((50, begun), (2, late)):  # from the segment's start, or from two windows before
        assert error(window) == pytest.approx(float(masked_mse(torch.cat([first, rest]), one.targets[90:120])), rel=1e-5)
    assert error(50) != pytest.approx(error(2), rel=1e-3)


def laps(seed=0):
    """One-way laps of 30 to 45 bins: the position is the sum of a speed since the lap's start, of which the inputs are noisy copies."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(30, 46, 40)
    starts = np.cumsum([0, *lengths[:-1]])
    speed = rng.gamma(2.0, 0.5, lengths.sum())
    position = np.concatenate([np.cumsum(part) for part in np.split(speed, starts[1:])])
    inputs = speed[:, None] - 1 + 0.3 * rng.standard_normal((len(speed), 2))
    z = (position - position.mean()) / position.std()
    return series(starts, int(starts[28]), int(starts[33]), inputs, z[:, None])


@pytest.mark.parametrize("name", ["student", "gru"])
def test_what_depends_on_a_segments_start_is_learnt_with_resets(name):
    fit = FitSettings(epochs=15, lr=3e-2, batch=4, average=0.8, dropout=0.0)

    def r2(one):
        torch.manual_seed(0)
        if name == "gru":
            model = recurrent.Recurrent("gru", 12, 2, 1)
            train(model, fit, [one], 50, PHASE, Silent())
            out = model.predict(one)
        else:
            student = Student(MODEL, 2, 1)
            finetune(student, fit, [one], 50, PHASE, Silent())
            out = decode(student, one.inputs, one.starts).numpy()
        return accuracy(one.targets.numpy()[one.validation_end :], out[one.validation_end :]).r2[0]

    one = laps()
    with_resets, without = r2(one), r2(replace(one, starts=np.zeros(1, np.int64)))
    assert with_resets > 0.9 and without < 0.6


def test_pretraining_learns_from_segments_shorter_than_a_window():
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.standard_normal((300, 4)), 10, axis=0)  # masked bins can be told from their neighbours
    trials = series(np.arange(0, 3000, 20), 2400, 3000, slow)
    settings = PretrainSettings(epochs=8, lr=2e-2, batch=16, average=0.8, masked_fraction=0.3)
    _, history = pretrain(ModelSettings(d_model=16, n_layer=1, d_state=4, headdim=8), settings, [trials], 250, PHASE, Silent())
    assert 0 < history.validation_loss[history.best_epoch] < 0.9 * history.validation_loss[0]


def test_what_is_decoded_comes_back_in_units_of_the_behaviour():
    none = np.zeros(3, np.float32)
    statistics = Statistics(none, none, np.array([40.0, -7.0], np.float32), np.array([10.0, 0.5], np.float32))
    np.testing.assert_array_equal(
        statistics.in_units(np.array([[1.0, 2.0], [-1.0, 0.0]])), np.array([[50.0, -6.0], [30.0, -7.0]], np.float32)
    )


def test_windows_overlap_by_the_share_that_is_asked_for():
    one = numbered([0, 200], 300, 320)
    torch.manual_seed(0)
    drawn = sorted(windows(training_batches([one], 20, 4, overlap=0.5)))
    starts = [first for first, _ in drawn if first < 200]
    assert set(np.diff(starts)) == {10} and starts[0] < 10 and starts[-1] > 200 - 20 - 10  # half of what the next one shows
    inner = [first for first, _ in drawn if first >= 200]
    assert inner[0] == 200 and set(np.diff(inner[1:])) == {10}
    assert all(stop - first == 20 for first, stop in drawn)
