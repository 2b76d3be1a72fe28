"""A mean of several fits that teaches one: which labels each holds out, what is learnt from, and that all of it repeats and resumes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from realm_edge.progress import Silent
from realm_edge.settings import FinetuneSettings
from realm_edge.training import finetune as finetune_module
from realm_edge.training.finetune import decoding_error, finetune, supervise
from realm_edge.training.history import History
from realm_edge.training.loop import Phase
from realm_edge.training.members import blocks, taught_by, without
from tests.realm_edge.test_training import MODEL, WINDOW, AtStep, Student, assert_equal, ctrl_c, tuned
from tests.realm_edge.test_training import series as learnable
from tests.realm_edge.test_training_terms import PHASE, Sum, series

SETTINGS = FinetuneSettings(epochs=3, batch=4, average=0.8, dropout=0.3, lr=1e-2, members=2)


def test_blocks_by_hand():
    one = series(bins=1200, train_end=1000, validation_end=1100)
    # Five pieces of 200 labels, 25 of each held out; three members begin at 1, 2 and 3 quarters of the 175 that are left
    assert list(blocks(one, 0, 3)) == [(at + 43, at + 68) for at in range(0, 1000, 200)]
    assert list(blocks(one, 1, 3)) == [(at + 87, at + 112) for at in range(0, 1000, 200)]
    assert list(blocks(one, 2, 3)) == [(at + 131, at + 156) for at in range(0, 1000, 200)]
    one.targets[:500] = torch.nan  # a half without labels is not cut into pieces
    assert next(blocks(one, 0, 1)) == (544, 556) and len(list(blocks(one, 0, 1))) == 5
    one.targets[500:990, 1] = torch.nan
    assert list(blocks(one, 0, 1)) == []  # two labels a piece


@pytest.mark.parametrize("members", [2, 3, 5])
def test_members_hold_out_different_labels(members):
    one = series(bins=1200, train_end=1000, validation_end=1100)
    held = np.zeros(1000, int)
    for member in range(members):
        for first, stop in blocks(one, member, members):
            held[first:stop] += 1
    assert held.max() == 1 and held.sum() == members * 125


def test_labels_are_hidden_in_blocks_alone():
    one = series()
    hidden = without(one, [(10, 12), (50, 60)])
    gone = torch.isnan(hidden.targets).all(dim=1)
    assert gone.nonzero()[:, 0].tolist() == [10, 11, *range(50, 60)]
    assert torch.equal(hidden.targets[~gone], one.targets[~gone]) and torch.equal(hidden.inputs, one.inputs)
    assert torch.isfinite(one.targets).all()


def test_half_of_what_is_learnt_is_the_label_and_all_of_it_the_mean_where_there_is_none():
    one = series()
    one.targets[3, 0], one.targets[130] = torch.nan, torch.nan
    said = torch.full((120, 2), 4.0)
    learnt = taught_by(one, said).targets
    torch.testing.assert_close(learnt[:3], 0.5 * one.targets[:3] + 2.0)
    assert learnt[3, 0] == 4.0 and learnt[3, 1] == 0.5 * one.targets[3, 1] + 2.0
    torch.testing.assert_close(learnt[120:], one.targets[120:], equal_nan=True)  # validation and test part


def test_a_squared_error_is_scored_on_blocks_too():
    one, module = series(bins=400, train_end=300, validation_end=340), Sum()
    held, window = [(60, 70), (200, 230)], 25

    def squares(first, stop):
        before = first - 2 * window
        return (one.inputs[before:stop].sum(-1).cumsum(0)[first - before :, None] - one.targets[first:stop]).square()

    parts = torch.cat([squares(*part) for part in (*held, (300, 340))])
    assert decoding_error(lambda inputs, lengths: module(inputs), [one], window, [held]) == pytest.approx(float(parts.mean()), rel=1e-5)


def test_members_learn_without_their_blocks_and_teach_the_decoder_that_is_kept(monkeypatch):
    one, asked = series(bins=500, train_end=400, validation_end=440), []

    def fit(module, settings, phase, batches, loss, validate, progress):
        torch.manual_seed(0)
        known = torch.cat([torch.cat((each.inputs, each.targets), -1).flatten(0, 1) for each in batches()])
        with torch.no_grad():
            asked.append((phase.name, known, validate(module)))
            module.bias += len(asked)  # what a member says
        return History(steps=(len(asked), 7), seconds_by_epoch=(10.0 * len(asked), 1.0), validation_loss=(1.0, 2.0))

    monkeypatch.setattr(finetune_module, "fit", fit)
    module = nn.Linear(3, 2)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    history = supervise(module, lambda module, inputs, lengths: module(inputs), SETTINGS, [one], WINDOW, PHASE, Silent())
    assert [name for name, *_ in asked] == ["test-member1", "test-member2", "test"]
    for member, (_, known, error) in enumerate(asked[:2]):
        held = list(blocks(one, member, 2))
        hidden = {tuple(row) for first, stop in held for row in one.inputs[first:stop].tolist()}
        assert all(torch.isnan(row[3:]).all() == (tuple(row[:3].tolist()) in hidden) for row in known)
        scored = torch.cat([one.targets[first:stop] for first, stop in (*held, (400, 440))])
        assert error == pytest.approx(float(scored.square().mean()), rel=1e-5)
    _, known, error = asked[2]
    assert error == pytest.approx(float(one.targets[400:440].square().mean()), rel=1e-5)
    labels = {tuple(row[:3].tolist()): row[3:] for row in torch.cat((one.inputs, one.targets), 1)}
    for row in known:  # the members said 1 and 2
        torch.testing.assert_close(row[3:], 0.5 * labels[tuple(row[:3].tolist())] + 0.5 * 1.5)
    assert module.bias.tolist() == [3.0, 3.0]  # the kept one began where the members did
    assert (history.steps, history.seconds_by_epoch) == ((1 + 7 + 2 + 7 + 3, 7), (11.0 + 21.0 + 30.0, 1.0))


@pytest.mark.parametrize("step", [4, 12, 20])
def test_members_repeat_themselves_and_resume(tmp_path, step):
    """Three fits of nine steps: an interrupt in each."""
    whole, expected = tuned(SETTINGS)
    assert_equal(whole, tuned(SETTINGS)[0])
    phase = Phase("finetune", 0, tmp_path / "partial.safetensors", "abc")
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        finetune(Student(MODEL, 4, 1), SETTINGS, [learnable()], WINDOW, phase, AtStep(step, ctrl_c))
    resumed, history = tuned(SETTINGS, phase)
    assert_equal(whole, resumed)
    assert (history.validation_loss, history.steps) == (expected.validation_loss, expected.steps)


def test_members_read_nothing_of_the_test_part():
    one = learnable()
    spoiled = replace(one, inputs=one.inputs.clone(), targets=one.targets.clone())
    spoiled.inputs[600:], spoiled.targets[600:] = torch.nan, torch.inf
    assert_equal(tuned(SETTINGS, of=[one])[0], tuned(SETTINGS, of=[spoiled])[0])
