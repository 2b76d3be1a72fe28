"""What the prediction of a masked bin is held against: filters, weights and distances by hand, and nothing of another part."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from realm_edge.settings import PretrainSettings
from realm_edge.training.reconstruction import distance, goal, low_pass, predictability, whiten
from realm_edge.training.segments import Series

WINDOW = 100
TARGETS = ("features", "low-passed", "whitened", "predictable")


def settings(target: str) -> PretrainSettings:
    return PretrainSettings(epochs=1, lr=1e-3, block_bins=(4, 12), target=target)


def series(n: int = 2, bins: int = 3000, seed: int = 0, coefficient: float = 0.8) -> Series:
    """The first input is a leaky sum of noise, the second noise; both have variance 1. The third, where there is one, is dead."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((bins, n)).astype(np.float32)
    for at in range(1, bins):
        x[at, 0] = coefficient * x[at - 1, 0] + (1 - coefficient**2) ** 0.5 * x[at, 0]
    x[:, 2:] = 0.0
    ones = torch.ones(n)
    ends = round(0.8 * bins), round(0.9 * bins)
    return Series(f"s{seed}", torch.from_numpy(x), torch.zeros(bins, 1), *ends, ones, ones, torch.zeros(1), torch.ones(1))


def test_a_low_pass_is_a_mean_under_a_hann_window_of_what_the_window_holds():
    x = torch.randn(2, 40, 3, dtype=torch.float64)
    lengths = torch.tensor([40, 25])
    x[1, 25:] = 0.0
    got = low_pass(6)(x, lengths)
    taps = np.hanning(9)[1:-1]
    for row, length in enumerate(lengths.tolist()):
        for at in range(length):
            reached = [(at + k, taps[k + 3]) for k in range(-3, 4) if 0 <= at + k < length]
            expected = sum(weight * x[row, bin_] for bin_, weight in reached) / sum(weight for _, weight in reached)
            torch.testing.assert_close(got[row, at], expected, rtol=1e-6, atol=1e-6)
    assert got.shape == x.shape and (got[1, 25:] == 0).all()


def test_a_window_without_a_middle_is_left_as_it_is():
    x = torch.randn(1, 9, 2)
    torch.testing.assert_close(low_pass(1)(x, torch.tensor([9])), x)
    torch.testing.assert_close(whiten(1)(x, torch.tensor([9])), x)


def test_whitening_makes_1_over_f_flat_and_leaves_the_past_alone():
    rng = np.random.default_rng(0)
    frequencies = np.fft.rfftfreq(2**15)
    spectrum = np.fft.rfft(rng.standard_normal(2**15)) / np.sqrt(np.maximum(frequencies, frequencies[1]))
    pink = torch.from_numpy(np.fft.irfft(spectrum))[None, :, None]
    white = whiten(100)(pink, torch.tensor([2**15]))

    def slope(x):
        power = np.abs(np.fft.rfft(x[0, :, 0].numpy())) ** 2
        band = (frequencies > 0.01) & (frequencies < 0.2)
        return np.polyfit(np.log(frequencies[band]), np.log(power[band]), 1)[0]

    assert slope(pink) == pytest.approx(-1, abs=0.05) and slope(white) == pytest.approx(0, abs=0.08)
    x = torch.zeros(1, 30, 1)
    x[0, 10] = 1.0
    taps = [1.0, -1 / 2, -1 / 8, -1 / 16]  # (1 - B)^0.5
    torch.testing.assert_close(whiten(4)(x, torch.tensor([30]))[0, :, 0], torch.tensor([0.0] * 10 + taps + [0.0] * 16))
    assert (whiten(4)(x, torch.tensor([12]))[0, 12:] == 0).all()  # padding


def test_distances_are_to_the_nearest_bin_that_is_seen_and_padding_is_not():
    masked = torch.tensor([[1, 1, 0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.bool)
    got = distance(masked, torch.tensor([8, 4]))
    assert got[0].tolist() == [2, 1, 0, 1, 2, 1, 0, 0]
    assert got[1, :4].tolist() == [0, 1, 2, 3]


def test_predictability_of_a_leaky_sum_and_of_noise():
    shares = predictability([series(n=3, bins=40_000), series(n=1, bins=400)], WINDOW, 4)
    assert set(shares) == {3, 1} and shares[3].shape == (4, 3)
    np.testing.assert_allclose(shares[3][:, 0], 0.8 ** (2 * np.arange(1, 5)), atol=0.03)
    assert (shares[3][:, 1] < 1e-3).all() and (shares[3][:, 2] == 0).all()


def test_predictability_does_not_look_across_segments():
    one = series(n=1, bins=4000, coefficient=0.0)
    inputs = torch.ones(4000, 1)
    inputs[1::2] = -1.0
    starts = np.arange(0, 4000, 2)  # of two bins each, which are opposite
    shares = predictability([replace(one, inputs=inputs, starts=starts)], WINDOW, 3)[1]
    assert shares[:, 0].tolist() == [1.0, 0.0, 0.0]


def test_errors_are_weighted_by_what_is_predictable():
    one = series(n=2)
    predicted, wanted = torch.zeros(1, 20, 2), torch.ones(1, 20, 2)
    wanted[0, :, 1] = 3.0
    masked, lengths = torch.zeros(1, 20, dtype=torch.bool), torch.tensor([20])
    masked[0, 5:8] = True
    weights = predictability([one], WINDOW, 12)[2][[0, 1, 0]]  # 1, 2 and 1 bins away
    own = goal(settings("predictable"), [one], WINDOW)
    assert own.wanted(wanted, lengths) is wanted
    expected = (weights * torch.tensor([1.0, 9.0])).sum() / weights.sum()
    assert float(own.error(predicted, wanted, masked, lengths)) == pytest.approx(float(expected), rel=1e-5)
    masked[0, 1:] = True  # up to 19 bins away: as far as the farthest that is known
    assert np.isfinite(float(own.error(predicted, wanted, masked, lengths)))


@pytest.mark.parametrize("target", ["low-passed", "whitened"])
def test_filtered_targets_have_unit_deviation_for_each_array(target):
    many = [series(n=3), series(n=1, seed=1)]
    wanted = goal(settings(target), many, WINDOW).wanted
    for one in many:
        windows = one.inputs[: one.train_end].unflatten(0, (-1, WINDOW))
        got = wanted(windows, torch.full((len(windows),), WINDOW))
        assert got.shape == windows.shape
        live = got.square().mean(dim=(0, 1)).sqrt()[:2]
        torch.testing.assert_close(live, torch.ones(len(live)), rtol=1e-4, atol=0)
        assert (got[..., 2:] == 0).all()


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_reads_the_training_part_alone(target):
    one = series()
    spoiled = replace(one, inputs=one.inputs.clone())
    spoiled.inputs[one.train_end :] = torch.nan
    window, lengths = one.inputs[None, :WINDOW], torch.tensor([WINDOW])
    masked = torch.zeros(1, WINDOW, dtype=torch.bool)
    masked[0, 20:40] = True
    found = [goal(settings(target), [each], WINDOW) for each in (one, spoiled)]
    first, second = (each.error(window * 0, each.wanted(window, lengths), masked, lengths) for each in found)
    assert torch.isfinite(first) and torch.equal(first, second) and first > 0
