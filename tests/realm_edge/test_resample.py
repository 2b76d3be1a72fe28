"""Resampling by any ratio: pass band, stop band, alignment, look-ahead, blocks."""

import numpy as np
import pytest
from scipy import signal

from realm_edge import resample
from realm_edge.errors import UserError
from realm_edge.resample import Resampler, same_rate, to_counts

NEW = 1000.0
COMMON = [250.0, 400.0, 500.0, 625.0, 997.1234567, 1017.252604, 1250.0, 2000.0, 2500.0159, 4800.0, 24414.0625, 30_000.0, 40_000.0]
RATES = [*COMMON, *(NEW * (1 + ppm * 1e-6) for ppm in (0.1, 2.0, -20.0, 300.0, 1000.0)), 30_000.319, 1249.9978, np.sqrt(2) * 1000]


def whole(rate, x, new=NEW):
    return np.concatenate([np.empty((0, x.shape[1])), *Resampler(rate, new).blocks(x, 0, len(x), 0, len(x))])


def tone(frequency, rate, seconds=4.0):
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)[:, None]


@pytest.mark.parametrize("rate", RATES)
def test_the_pass_band_is_flat_and_nothing_is_late(rate):
    """Up to 0.3 of the lower rate, each tone within 0.2 % of itself at the new samples' own times."""
    resampler = Resampler(rate, NEW)
    for share in (0.01, 0.1, 0.2, 0.3):
        frequency = share * min(rate, NEW)
        y = whole(rate, tone(frequency, rate))[:, 0]
        t = np.arange(len(y)) / NEW
        settled = t > 2 * resampler.delay_s  # before the start its first sample is held
        np.testing.assert_allclose(y[settled], np.sin(2 * np.pi * frequency * t[settled]), atol=2e-3)


@pytest.mark.parametrize("rate", [2000.0, 2500.0159, 4800.0, 24414.0625, 30_000.0, 40_000.0])
def test_what_would_fold_onto_the_pass_band_is_stopped(rate):
    edge = 0.65 * NEW
    for frequency in np.linspace(edge, min(rate / 2, 3 * NEW), 7, endpoint=False):
        x = tone(frequency, rate) * signal.windows.tukey(round(4 * rate), 0.2)[:, None]  # without a step at the start
        assert np.abs(whole(rate, x)).max() < 2e-3, frequency


@pytest.mark.parametrize("rate", [250.0, 400.0, 625.00213])
def test_images_of_slow_recordings_are_stopped(rate):
    """Resampled up, a tone of 0.3 of the rate has no copy at 0.7 of it."""
    y = whole(rate, tone(0.3 * rate, rate, 8.0))[500:-500, 0]
    frequency, power = signal.periodogram(y, NEW, window="blackman")
    image = power[(frequency > 0.65 * rate) & (frequency < 0.75 * rate)].sum()
    assert image < 1e-6 * power.sum()


@pytest.mark.parametrize("rate", RATES)
def test_a_pulse_stays_at_its_time(rate):
    t = np.arange(round(4 * rate)) / rate
    middle = 1.2345
    y = whole(rate, np.exp(-0.5 * ((t - middle) / 0.012) ** 2)[:, None])[:, 0]
    assert (y * np.arange(len(y))).sum() / y.sum() / NEW == pytest.approx(middle, abs=1e-5)


@pytest.mark.parametrize("rate", [NEW * (1 + 1e-7), NEW * (1 + 20e-6), NEW * (1 - 1e-3)])
def test_a_clock_that_drifts_does_not_slip(rate):
    """After ten minutes a pulse is where the clock says, not a number of samples away."""
    t = np.arange(round(600 * rate)) / rate
    y = whole(rate, np.exp(-0.5 * ((t - 599.0) / 0.012) ** 2)[:, None])[:, 0]
    assert (y * np.arange(len(y))).sum() / y.sum() / NEW == pytest.approx(599.0, abs=1e-5)


@pytest.mark.parametrize("rate", RATES)
def test_no_value_beyond_the_look_ahead_matters(rate):
    x = np.random.default_rng(0).standard_normal((round(2 * rate), 2))
    changed = x.copy()
    moment = round(1.2 * rate)
    changed[moment:] += 10.0
    before, after = whole(rate, x), whole(rate, changed)
    first = np.flatnonzero((before != after).any(axis=1))[0]
    delay = Resampler(rate, NEW).delay_s
    assert 0 < delay < 0.03
    assert (
        moment / rate - delay - 1e-9 <= first / NEW <= moment / rate - delay + 2 / min(rate, NEW) + 1e-9
    )  # the window ends in next to nothing


def test_rates_that_are_the_same():
    assert same_rate(1000.0, 1000.0, 10**9)
    assert same_rate(1000.0002, 1000.0, 1_000_000)  # it slips a fifth of a sample in all
    assert not same_rate(1000.0002, 1000.0, 10_000_000)
    assert not same_rate(1000.02, 1000.0, 60_000)


def test_a_constant_stays_what_it_is():
    for rate in RATES:
        np.testing.assert_allclose(whole(rate, np.full((round(rate), 1), 123.0)), 123.0, rtol=1e-12)


@pytest.mark.parametrize("rate", [250.0, 997.1234567, 2000.0, 24414.0625, 40_000.0])
def test_blocks_equal_the_whole(rate, monkeypatch):
    x = np.random.default_rng(0).integers(-3000, 3000, (round(3 * rate), 2), dtype=np.int16)
    expected = whole(rate, x)
    monkeypatch.setattr(resample, "BLOCK_VALUES", 1234)
    parts = list(Resampler(rate, NEW).blocks(x, 0, len(x), 0, len(x)))
    assert len(parts) > 2
    np.testing.assert_array_equal(np.concatenate(parts), expected)  # to the last bit: the same sums in the same order


@pytest.mark.parametrize("rate", [250.0, 2000.0, 24414.0625])
def test_a_part_looks_at_its_stretch_and_at_nothing_else(rate):
    x = np.random.default_rng(0).standard_normal((round(3 * rate), 1))
    begin, first, end = round(0.5 * rate), round(rate), round(2.5 * rate)
    resampler = Resampler(rate, NEW)
    part = np.concatenate(list(resampler.blocks(x, first, end, begin, end)))
    assert len(part) == resampler.length(first, end, end)
    hidden = x.copy()
    hidden[:begin], hidden[end:] = 1e9, 1e9
    np.testing.assert_array_equal(np.concatenate(list(resampler.blocks(hidden, first, end, begin, end))), part)
    alone = np.concatenate(list(resampler.blocks(x, first, end, first, end)))  # as if nothing came before
    inside = int(np.ceil(2 * resampler.delay_s * NEW))
    np.testing.assert_allclose(alone[inside:], part[inside:], atol=1e-12)
    assert not np.allclose(alone[:inside], part[:inside])


@pytest.mark.parametrize(("first", "stop", "end"), [(0, 0, 0), (0, 5, 5), (0, 13, 14), (3, 200, 1000), (3, 1000, 1000)])
@pytest.mark.parametrize("rate", [250.0, 2000.0, 1000.02])
def test_the_length_is_what_is_made(rate, first, stop, end):
    x = np.zeros((1000, 1))
    resampler = Resampler(rate, NEW)
    made = sum(map(len, resampler.blocks(x, first, stop, 0, end)))
    assert made == resampler.length(first, stop, end)
    if made:  # the last new sample and no later one follows an input sample of the part with half a window beyond it
        last = first + int((made - 1) * rate / NEW + 1e-9)
        assert last <= stop - 1 and last + resampler.half <= end - 1
        following = first + int(made * rate / NEW + 1e-9)
        assert following > stop - 1 or following + resampler.half > end - 1


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), 1e9])
def test_odd_rates_are_refused(rate):
    with pytest.raises(UserError, match=r"a sampling rate of .* Hz cannot be resampled to 1000 Hz"):
        Resampler(rate, 1000)


def test_counts_round_and_saturate():
    np.testing.assert_array_equal(to_counts(np.array([0.4, 0.6, -1.6, 4e4, -4e4])), [0, 1, -2, 32767, -32768])
