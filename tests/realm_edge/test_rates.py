"""The range test: which rate it takes, by hand, and that a fit with it repeats itself and resumes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from realm_edge.settings import PRESETS, FitSettings
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import Phase, fit
from realm_edge.training.machine import one_cpu
from realm_edge.training.rates import ALLOWED, STEPS, TRIED, chosen, found, rates
from tests.realm_edge.test_training import MODEL, WINDOW, AtStep, Silent, Student, assert_equal, ctrl_c, replace_fit, series, tuned

UNTUNED = replace_fit(lr=0.0, dropout=0.3)


def test_rates_grow_by_one_factor_from_the_first_to_the_last():
    tried = np.array(rates())
    assert len(tried) == STEPS and (tried[0], tried[-1]) == pytest.approx(TRIED)
    assert np.allclose(tried[1:] / tried[:-1], tried[1] / tried[0])


def test_half_the_rate_at_which_four_fifths_of_the_fall_are_done_is_taken():
    losses = [2.0] * 12 + [1.9, 1.7, 1.5, 1.3, 1.1] + [1.0] * 13
    # Means of three: 2, ..., 1.3 at the 15th, 1.133 at the 16th: the goal is 2 - 0.8 = 1.2
    assert chosen(losses) == float(f"{0.5 * rates()[16]:.2g}")
    assert chosen([*losses[:25], *np.linspace(2, 9, 5)]) == chosen(losses)  # what comes behind the least does not count
    assert chosen([*losses[:20], math.nan]) == chosen([*losses[:20], math.inf]) == chosen(losses)


def test_what_the_test_may_say_is_bounded():
    assert chosen([1.0] * STEPS) == ALLOWED[0]  # nothing falls
    assert chosen([math.nan]) == ALLOWED[0]
    assert chosen([1.0] * (STEPS - 1) + [0.0]) == ALLOWED[1]


class Offset(nn.Module):
    """One number, which has to reach another."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([start]))


def test_a_decoder_that_has_less_far_to_go_gets_a_smaller_rate_and_is_left_as_it_was():
    far, near = Offset(0.25), Offset(0.04)
    settings = FitSettings(epochs=1)
    said = []

    def agreed(value):
        said.append(float(value))
        return value

    of_far, of_near = (found(each, settings, one_cpu(), (), lambda module, _: module.at.square().sum(), agreed) for each in (far, near))
    assert ALLOWED[0] < of_near < of_far / 3 and of_far < ALLOWED[1]
    assert (far.at.item(), near.at.item()) == (0.25, pytest.approx(0.04)) and far.at.grad is None
    assert (said[0], said[STEPS]) == pytest.approx((0.0625, 0.0016))  # before the first step


def test_a_fit_takes_the_rate_that_was_found_and_says_so(tmp_path):
    student, history = tuned(UNTUNED)
    assert ALLOWED[0] <= history.lr <= ALLOWED[1] and history.summary().lr == history.lr
    again, _ = tuned(UNTUNED)
    assert_equal(student, again)
    named, _ = tuned(UNTUNED.model_copy(update={"lr": history.lr}))
    assert_equal(student, named)  # the test has drawn no number of the fit's
    assert tuned(replace_fit(lr=3e-3))[1].lr == 3e-3


@pytest.mark.parametrize("step", [1, 7])
def test_a_fit_that_was_interrupted_goes_on_with_the_same_rate(tmp_path, monkeypatch, step):
    whole, expected = tuned(UNTUNED)
    phase = Phase("finetune", 0, tmp_path / "partial.safetensors", "abc")
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        finetune(Student(MODEL, 4, 1), UNTUNED, [series()], WINDOW, phase, AtStep(step, ctrl_c))
    monkeypatch.setattr("realm_edge.training.loop.found", None)  # is not called again
    resumed, history = tuned(UNTUNED, phase)
    assert_equal(whole, resumed)
    assert (history.lr, history.validation_loss) == (expected.lr, expected.validation_loss)


def test_ctrl_c_in_a_range_test_ends_it():
    def loss(module, batch):
        ctrl_c()
        return module.weight.square().sum()

    module = nn.Linear(2, 1)
    with pytest.raises(KeyboardInterrupt):
        fit(module, FitSettings(epochs=1), Phase("test", 0), lambda: [()], loss, lambda module: 1.0, Silent())


def test_presets_leave_the_rates_of_decoders_to_the_test_but_for_the_papers():
    for name, settings in PRESETS.items():
        assert (settings.distil.lr == settings.finetune.lr == 0.0) is not name.startswith("realm"), name
        assert settings.pretrain.lr > 0
