"""The vectorised front ends against plain loops, one ADC sample at a time."""

import math

import numpy as np
import pytest
from scipy import signal

from realm_edge.frontend import (
    averaging_s,
    design,
    design_spike,
    filter_delay_s,
    lfp_features,
    running_z,
    sos,
    spike_counts,
    spike_threshold,
)
from realm_edge.settings import SIX_BANDS, LfpSettings, Settings, SpikeSettings, changed

SETTINGS = Settings(lfp=SIX_BANDS)


class Section:
    """Direct form I of one second-order section over all channels, from its difference equation."""

    def __init__(self, coefficients, channels):
        self.b, self.a = coefficients[:3], coefficients[3:]
        self.x, self.y = np.zeros((2, channels)), np.zeros((2, channels))

    def step(self, x):
        y = self.b[0] * x + self.b[1] * self.x[0] + self.b[2] * self.x[1] - self.a[0] * self.y[0] - self.a[1] * self.y[1]
        self.x, self.y = np.stack([x, self.x[0]]), np.stack([y, self.y[0]])
        return y


def features_by_loop(frontend, lfp):
    channels = lfp.shape[1]
    pre = [Section(row, channels) for row in frontend.pre]
    bands = [Section(row, channels) for row in frontend.bands]
    out, mean, power = [], np.zeros(channels), np.zeros((len(bands), channels))
    smoothed = np.zeros_like(power)
    for tick, sample in enumerate(lfp, 1):
        y = sample.astype(float)
        if frontend.common_average:
            y = y - sum(y[frontend.good]) / frontend.good.sum()
        y = np.where(frontend.good, y, 0.0)
        for section in pre:
            y = section.step(y)
        mean += y / frontend.samples_per_bin
        for i, section in enumerate(bands):
            power[i] += section.step(y) ** 2
        if tick % frontend.samples_per_bin == 0:
            smoothed += (power - smoothed) / frontend.power_bins
            out.append(np.concatenate([mean, *np.log2(1 + smoothed)]))
            mean, power = np.zeros(channels), np.zeros_like(power)
    return np.array(out)


PER_CHANNEL = 1 + len(SETTINGS.lfp.bands_hz)
LINE_BAND = 1 + next(i for i, (low, high) in enumerate(SETTINGS.lfp.bands_hz) if low < 60 < high)


def noise(samples, channels, seed=0, scale=300.0):
    return np.rint(scale * np.random.default_rng(seed).standard_normal((samples, channels))).astype(np.int16)


@pytest.mark.parametrize(
    ("channels", "bad", "common_average", "power_bins"),
    [(6, [], True, 4), (6, [1, 4], True, 1), (6, [0, 1, 2], False, 4), (1, [], False, 16)],
)
def test_features_equal_the_loop(channels, bad, common_average, power_bins):
    good = np.ones(channels, bool)
    good[bad] = False
    frontend = design(Settings(lfp=SIX_BANDS.model_copy(update={"power_bins": power_bins})), good)
    lfp = noise(1010, channels)
    features = lfp_features(frontend, lfp)
    assert frontend.common_average is common_average
    assert features.shape == (50, channels * PER_CHANNEL) == (50, frontend.n_features)  # the half bin at the end is left out
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, features_by_loop(frontend, lfp[:1000]), rtol=1e-6, atol=1e-6)
    assert not features.reshape(50, PER_CHANNEL, channels)[:, :, bad].any()


def test_features_do_not_depend_on_chunks():
    """Twenty-second chunks carry the states of the filters and of the mean power."""
    lfp = noise(30_000, 2)
    features = lfp_features(design(SETTINGS, np.ones(2, bool)), lfp)
    pre = signal.butter(2, 0.5, "highpass", fs=1000)
    notch = signal.iirnotch(60.0, 30.0, fs=1000)
    y = signal.lfilter(*notch, signal.lfilter(*pre, lfp.astype(float), axis=0), axis=0)
    np.testing.assert_allclose(features[:, :2], y.reshape(-1, 20, 2).mean(axis=1), rtol=1e-5, atol=1e-5)
    z = signal.lfilter(*signal.butter(1, (70, 200), "bandpass", fs=1000), y, axis=0)
    power = (z**2).reshape(-1, 20, 2).sum(axis=1)
    leak = 1 / SETTINGS.lfp.power_bins
    smoothed = signal.lfilter([leak], [1, leak - 1], power, axis=0)
    np.testing.assert_allclose(features[:, -2:], np.log2(1 + smoothed), rtol=1e-5)


def test_common_average_removes_what_all_good_channels_share():
    good = np.array([True, True, True, True, False])
    shared = noise(400, 1)
    features = lfp_features(design(SETTINGS, good), np.repeat(shared, 5, axis=1))
    assert np.abs(features).max() < 1e-6


def test_the_line_notch_can_be_left_out():
    settings = Settings(lfp=SIX_BANDS.model_copy(update={"line_hz": 0}))
    assert len(design(settings, np.ones(1, bool)).pre) == 1
    t = np.arange(20_000) / 1000
    line = np.rint(1000 * np.sin(2 * np.pi * 60 * t)).astype(np.int16)[:, None]
    kept, removed = (lfp_features(design(s, np.ones(1, bool)), line)[-50:, LINE_BAND].mean() for s in (settings, SETTINGS))
    assert kept - removed > 6  # log2 of the power


def z_by_loop(x, bins):
    mean, deviation, out = np.zeros(x.shape[1]), np.zeros(x.shape[1]), []
    for seen, row in enumerate(x.astype(float), 1):
        w = min(bins, 2 ** int(math.log2(seen)))
        mean = mean + (row - mean) / w
        deviation = deviation + (np.abs(row - mean) - deviation) / w
        out.append((row - mean) / (math.sqrt(math.pi / 2) * np.maximum(deviation, 1 / 32)))
    return np.array(out)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 16, 17, 200])
def test_running_z_equals_the_loop(length):
    x = np.random.default_rng(0).normal(5, 3, (length, 3)).astype(np.float32)
    np.testing.assert_allclose(running_z(x, 16), z_by_loop(x, 16).reshape(-1, 3), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(running_z(x, 0), x)


def test_running_z_follows_gain_and_offset():
    """Noise becomes standard, and stays so after gain and offset have changed; a constant is 0, from the first bin and after it dies."""
    x = np.random.default_rng(0).normal(0, 1, (40_000, 3)).astype(np.float32)
    x[20_000:, 0] = 5 * x[20_000:, 0] + 300
    x[:, 1] = -2000
    x[20_000:, 2] = 7
    z = running_z(x, 256)
    for part in (z[5_000:20_000], z[25_000:]):
        assert abs(part[:, 0].mean()) < 0.03
        assert part[:, 0].std() == pytest.approx(1, abs=0.03)
    assert not z[:, 1].any()
    assert np.abs(z[25_000:, 2]).max() < 1e-6


def test_front_ends_end_with_the_running_z():
    settings = Settings(lfp=SIX_BANDS.model_copy(update={"zscore_bins": 8}), spike=SpikeSettings(zscore_bins=8))
    lfp, broadband = noise(2000, 4), noise(12 * 600, 3)
    plain = lfp_features(design(SETTINGS, np.ones(4, bool)), lfp)
    np.testing.assert_array_equal(lfp_features(design(settings, np.ones(4, bool)), lfp), running_z(plain, 8))
    threshold = np.array([-200, -500, -900], np.int32)
    plain, scored = (spike_counts(design_spike(s, threshold), np.split(broadband, 4)) for s in (SETTINGS, settings))
    np.testing.assert_array_equal(scored, running_z(plain, 8))


@pytest.mark.parametrize("bins", [3, 1, -4, 2**17])
def test_a_time_constant_is_a_power_of_two(bins):
    with pytest.raises(ValueError, match="zscore_bins"):
        LfpSettings(zscore_bins=bins)


def crossings_by_loop(frontend, x):
    section, counts = Section(frontend.highpass, x.shape[1]), np.zeros((len(x) // frontend.samples_per_bin, x.shape[1]))
    previous = np.zeros(x.shape[1])
    for i, sample in enumerate(x):
        y = section.step(sample.astype(float))
        counts[i // frontend.samples_per_bin] += (y < frontend.threshold) & (previous >= frontend.threshold)
        previous = y
    return counts


def test_spike_counts_equal_the_loop_whatever_the_blocks():
    x = noise(12 * 600, 3)
    frontend = design_spike(SETTINGS, np.array([-200, -500, -900], np.int32))
    expected = crossings_by_loop(frontend, x)
    assert expected[:, 0].min() > 10 and 0 < expected[:, 2].sum() < 100
    np.testing.assert_array_equal(spike_counts(frontend, [x]), expected)
    np.testing.assert_array_equal(spike_counts(frontend, np.split(x, 12)), expected)
    with pytest.raises(ValueError, match="599"):
        spike_counts(frontend, [x[:599]])


def test_spike_threshold_is_a_multiple_of_the_noise_level():
    x = noise(30_000, 2, scale=50.0)
    x[:, 1] = 7  # dead
    threshold = spike_threshold(SETTINGS, x)
    passed = math.sqrt(1 - 300 / 15_000)  # share of white noise above the high-pass
    assert threshold.dtype == np.int32
    assert threshold[0] == pytest.approx(-4.5 * 50 * passed, rel=0.02)
    assert threshold[1] <= -1
    assert spike_counts(design_spike(SETTINGS, threshold), [x])[5:, 1].sum() == 0


def test_a_band_is_as_late_as_the_envelope_that_passes_it():
    settings = changed(Settings(lfp=SIX_BANDS), {"lfp": {"bands_hz": [(70.0, 200.0), (6.0, 10.0), (35.0, 70.0)]}})
    rate, middle = settings.lfp.rate_hz, np.sqrt(60.0)
    t = np.arange(8 * rate) / rate - 4.0
    burst = 1000 * np.exp(-((t / 0.4) ** 2)) * np.sin(2 * np.pi * middle * t)
    frontend = design(settings, np.ones(1, bool))
    passed = signal.sosfilt(sos(np.vstack([frontend.pre, frontend.bands[1]])), burst)
    power = np.square(passed)
    late = float((power * t).sum() / power.sum())
    assert filter_delay_s(settings) == pytest.approx(late, rel=0.05) and 0.07 < late < 0.09


def test_without_bands_nothing_is_late_and_a_longer_mean_is_later():
    bare = changed(Settings(lfp=SIX_BANDS), {"lfp": {"bands_hz": [], "power_bins": 8}})
    assert filter_delay_s(bare) == averaging_s(bare) == 0.0
    settings = changed(Settings(lfp=SIX_BANDS), {"bin_ms": 40, "lfp": {"power_bins": 8}})
    weights = (7 / 8) ** np.arange(500) / 8  # of a leaky mean
    assert averaging_s(settings) == pytest.approx(0.04 * float((weights * np.arange(500)).sum()))
