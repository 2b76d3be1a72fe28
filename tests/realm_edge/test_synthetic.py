import dataclasses
import math

import numpy as np
import pytest
from scipy import signal
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from realm_edge.broadband import second
from realm_edge.preparation import prepare
from realm_edge.session import broadband_block, save
from realm_edge.settings import Settings, SpikeSettings, SplitSettings, SyntheticSettings
from realm_edge.synthetic import generate
from realm_edge.synthetic.session import UV_PER_COUNT
from realm_edge.synthetic.version1 import _array

SIZES = SyntheticSettings(version=1, sessions=3, seconds=20.0, heldout_seconds=30.0, channels=9, units=6)
SETTINGS = Settings(synthetic=SIZES, window_bins=100, split=SplitSettings(train=0.6, validation=0.2))


@pytest.fixture(scope="module")
def made():
    return generate(SETTINGS, 2)


@pytest.fixture(scope="module")
def session(made):
    return prepare(made[0], SETTINGS, heldout=True, broadband=made[1])


def test_the_same_settings_give_the_same_recording(made):
    (recording, broadband), (again, broadband_again) = made, generate(SETTINGS, 2)
    for one, other in ((recording, again), (broadband, broadband_again)):
        for field in dataclasses.fields(one):
            np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize("other", [(Settings(synthetic=SIZES, seed=1), 2), (SETTINGS.model_copy(update={"synthetic": SIZES}), 1)])
def test_other_seeds_and_sessions_differ(made, other):
    recording, broadband = generate(*other)
    length = min(len(recording.lfp), len(made[0].lfp))
    correlation = np.corrcoef(recording.lfp[:length, 0], made[0].lfp[:length, 0])[0, 1]
    assert abs(correlation) < 0.5
    assert not np.array_equal(recording.behavior[:1000], made[0].behavior[:1000])
    assert not np.array_equal(broadband.spike_times[:20], made[1].spike_times[:20])
    assert broadband.seed != made[1].seed


def test_sessions_share_the_array(made):
    recording, broadband = generate(SETTINGS, 0)
    np.testing.assert_array_equal(broadband.waveforms, made[1].waveforms)
    np.testing.assert_array_equal(broadband.unit_channels, made[1].unit_channels)
    np.testing.assert_array_equal(broadband.live, made[1].live)
    assert (recording.seconds, made[0].seconds) == (20.0, 30.0)


def days_later(days_apart, session, units=400):
    sizes = SyntheticSettings(version=1, sessions=9, seconds=20.0, heldout_seconds=20.0, channels=64, units=units, days_apart=days_apart)
    return _array(Settings(synthetic=sizes), session)


def test_over_days_units_are_replaced_and_electrodes_change():
    implanted, week = days_later(7.0, 0), days_later(7.0, 1)
    kept = (week.waveforms == implanted.waveforms).all(axis=1)
    assert kept.mean() == pytest.approx(math.exp(-7 / 37.5), abs=0.06)
    np.testing.assert_array_equal(week.unit_tuning[kept], implanted.unit_tuning[kept])
    turned = np.angle(np.exp(1j * (week.unit_angle - implanted.unit_angle)))
    assert turned[kept].std() == pytest.approx(0.12 * math.sqrt(7), rel=0.15)
    assert np.abs(turned[~kept]).mean() == pytest.approx(math.pi / 2, rel=0.2)  # any direction
    assert days_later(7.0, 8).log_electrode.std() == pytest.approx(0.05 * math.sqrt(56), rel=0.25)
    assert days_later(7.0, 8).log_noise.std() == pytest.approx(0.1 * math.sqrt(56), rel=0.25)


def test_without_days_only_tuning_and_gains_drift():
    implanted, later = days_later(0.0, 0, units=6), days_later(0.0, 3, units=6)
    np.testing.assert_array_equal(later.waveforms, implanted.waveforms)
    assert not later.log_electrode.any() and not later.log_noise.any()
    assert (later.unit_angle != implanted.unit_angle).all()


def test_an_electrode_s_gain_and_noise_reach_the_signals():
    """Background and spikes follow the one, noise the other; after two months both differ widely between channels."""
    sizes = SyntheticSettings(version=1, sessions=2, seconds=20.0, heldout_seconds=20.0, channels=16, units=6, days_apart=60.0)
    settings = Settings(synthetic=sizes)
    array, (recording, broadband) = _array(settings, 1), generate(settings, 1)
    np.testing.assert_allclose(broadband.noise * UV_PER_COUNT, 10.0 * np.exp(array.log_noise), rtol=1e-5)
    gain = np.exp(array.log_electrode)[broadband.unit_channels, None]
    np.testing.assert_allclose(broadband.waveforms, array.waveforms * gain, rtol=1e-5)
    live = np.flatnonzero(broadband.live)
    uv = signal.sosfilt(signal.butter(2, (4, 12), "bandpass", fs=1000, output="sos"), recording.lfp[:, live] * UV_PER_COUNT, axis=0)
    assert np.corrcoef(uv.std(axis=0), np.exp(array.log_electrode[live]))[0, 1] > 0.8
    fast = signal.sosfilt(signal.butter(2, 300, "highpass", fs=1000, output="sos"), recording.lfp[:, live] * UV_PER_COUNT, axis=0)
    assert np.corrcoef(fast.std(axis=0), np.exp(array.log_noise[live]))[0, 1] > 0.8


def test_amplitudes_spectrum_and_the_dead_channel(made):
    recording, broadband = made
    dead = np.flatnonzero(~broadband.live)
    assert recording.synthetic and dead.size == 1
    assert not recording.lfp[:, dead].any()
    uv = recording.lfp[:, broadband.live] * UV_PER_COUNT
    assert (uv.std(axis=0) > 30).all() and (uv.std(axis=0) < 150).all()
    frequency, power = signal.welch(uv, 1000, nperseg=2000, axis=0)

    def at(hz):
        return power[np.abs(frequency - hz) < 1].mean()

    assert at(60) > 20 * at(55)  # line noise
    assert at(2) > 10 * at(8) > 100 * at(120)  # 1/f
    assert at(24) > at(9) * (9 / 24) ** 2  # beta stands out of 1/f^2
    assert not set(broadband.unit_channels) & set(dead)
    for times in recording.spike_times:
        assert np.diff(times).min() >= 2e-3 and times[0] >= 0 and times[-1] < recording.seconds
        assert 1 < len(times) / recording.seconds < 60


def lagged(x, lags=range(0, 10, 2)):
    return np.concatenate([np.roll(x, lag, axis=0) for lag in lags], axis=1)[lags[-1] :]


@pytest.mark.parametrize("inputs", ["features", "counts"])
def test_a_linear_decoder_is_neither_trivial_nor_saturated(inputs):
    """One minute, chronological split; the null is the same velocity half a recording later."""
    settings = Settings(synthetic=SyntheticSettings(version=1, sessions=2, heldout_seconds=60.0), window_bins=100)
    recording, broadband = generate(settings, 1)
    session = prepare(recording, settings, heldout=True, broadband=broadband)
    x, stop = getattr(session, inputs), session.validation_end
    x = lagged((x - x[:stop].mean(axis=0)) / np.maximum(x[:stop].std(axis=0), 1e-6))
    y = session.targets[-len(x) :]
    scores = []
    for target in (y, np.roll(y, len(y) // 2, axis=0)):
        fitted = Ridge(3e3).fit(x[:stop], target[:stop])
        scores.append(r2_score(target[stop:], fitted.predict(x[stop:])))
    true, null = scores
    assert 0.2 < true < 0.85
    assert null < 0.1


# Sums instead of a hash: another processor's exponentials differ in the last bit, and one sample in a million is then rounded otherwise.
@pytest.mark.parametrize(
    ("sizes", "seed", "session", "rate", "sums"),
    [
        ({}, 0, 1, 30000, (3600, 26319.98674969317, 37046.939631141955, 158739938, 250728383, 132456.81183767988)),
        (
            {"days_apart": 7.0, "channels": 17, "units": 40},
            *(5, 3, 15000),
            (8630, 32001.638794767478, 109762.88140789578, 106005299, 61670644, 93688.26043609857),
        ),
        (
            {"signal": 2.5, "units": 90, "channels": 4},
            *(1, 0, 30000),
            (21228, 21758.48339481841, 217516.5443937662, 16429164, 26069378, 475776.6273516434),
        ),
    ],
)
def test_version_1_stays_what_it_was(sizes, seed, session, rate, sums):
    """Spikes; then the sums of velocity, spike times, LFP, a second of broadband and waveforms, as of the first release."""
    lengths = {"seconds": 20.0, "heldout_seconds": 25.5}
    settings = Settings(seed=seed, spike=SpikeSettings(rate_hz=rate), synthetic=SyntheticSettings(version=1, **lengths, **sizes))
    recording, broadband = generate(settings, session)
    fast = second(broadband, recording.lfp, 1000, rate, 3)
    assert len(broadband.spike_times) == sums[0]
    parts = (recording.behavior, broadband.spike_times, recording.lfp, fast, broadband.waveforms)
    np.testing.assert_allclose([np.abs(part).sum(dtype=np.float64) for part in parts], sums[1:], rtol=1e-6)
    assert (broadband.field, broadband.activity, broadband.spike_gain) == (None, None, None)


def test_any_block_of_broadband_equals_the_whole(session):
    whole = broadband_block(session, SETTINGS, 0, session.bins)
    assert whole.shape == (session.bins * 600, 9) and whole.dtype == np.int16
    for start, bins in ((0, 50), (37, 3), (49, 2), (975, 120), (session.bins - 1, 1)):
        np.testing.assert_array_equal(broadband_block(session, SETTINGS, start, bins), whole[start * 600 : (start + bins) * 600])
    for start, bins in ((-1, 5), (session.bins - 1, 2), (0, 0)):
        with pytest.raises(ValueError, match="do not lie"):
            broadband_block(session, SETTINGS, start, bins)


def test_broadband_is_lfp_and_noise_and_spikes(made, session):
    recording, broadband = made
    x = second(broadband, recording.lfp, 1000, 30_000, 3).astype(float)
    live = np.flatnonzero(broadband.live)
    silent = [channel for channel in live if channel not in broadband.unit_channels]
    left = x[::30, silent] - recording.lfp[3000:4000, silent]
    assert left.std() * UV_PER_COUNT == pytest.approx(10.0, rel=0.05)
    unit = 0
    quiet = dataclasses.replace(broadband, noise=np.zeros(9, np.float32))
    times = recording.spike_times[unit]
    spike = next(t for t in times if 0.1 < t % 1 < 0.9 and np.sum(np.abs(times - t) < 0.01) == 1)
    y = second(quiet, np.zeros_like(recording.lfp), 1000, 30_000, int(spike))
    onset = round((spike % 1) * 30_000)
    waveform = broadband.waveforms[unit]
    np.testing.assert_allclose(y[onset : onset + len(waveform), broadband.unit_channels[unit]], waveform, atol=0.5)


def test_spikes_across_the_border_of_two_seconds(made):
    recording, broadband = made
    one = dataclasses.replace(broadband, noise=np.zeros(9, np.float32), spike_times=np.array([0.9995]), spike_units=np.zeros(1, np.int32))
    x = np.concatenate([second(one, np.zeros_like(recording.lfp), 1000, 30_000, index) for index in (0, 1)])
    waveform = broadband.waveforms[0]
    np.testing.assert_allclose(x[29_985 : 29_985 + len(waveform), broadband.unit_channels[0]], waveform, atol=0.5)


def test_threshold_crossings_find_the_spikes(made, session):
    recording, broadband = made
    assert session.spike_source == "broadband"
    for unit, channel in enumerate(broadband.unit_channels):
        true = np.histogram(recording.spike_times[unit], bins=session.bins, range=(0, 0.02 * session.bins))[0] > 0
        found = session.counts[:, channel] > 0
        true_or_next = true | np.roll(true, 1)  # the trough comes 0.4 ms after the onset
        assert (found & true_or_next).sum() > 0.9 * found.sum()
        assert (found & true_or_next).sum() > 0.6 * true.sum()
    assert session.counts[:, ~broadband.live].sum() == 0
    assert (session.spike_threshold < 0).all()


def test_saved_sessions_are_equal_to_the_byte(tmp_path, made, session):
    again = prepare(*(generate(SETTINGS, 2)[0], SETTINGS, True), broadband=made[1])
    save(session, tmp_path / "a.npz")
    save(again, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_signal_setting_makes_decoding_easier_or_impossible():
    def at(strength):
        sizes = SyntheticSettings(version=1, sessions=2, seconds=60, heldout_seconds=20, channels=8, units=3, signal=strength)
        return generate(Settings(synthetic=sizes), 0)[0]

    made = {strength: at(strength) for strength in (0.0, 1.0, 4.0)}
    np.testing.assert_array_equal(made[0.0].behavior, made[4.0].behavior)
    r2 = {}
    for strength, recording in made.items():
        smooth = signal.sosfilt(signal.butter(2, 4.0, fs=1000, output="sos"), recording.lfp.astype(float), axis=0)[9::10]
        velocity = recording.behavior[1 : len(smooth) + 1]
        half = len(smooth) // 2
        r2[strength] = r2_score(velocity[half:], Ridge(1.0).fit(smooth[:half], velocity[:half]).predict(smooth[half:]))
    assert r2[0.0] < 0.05 and r2[0.0] + 0.1 < r2[1.0] < r2[4.0] - 0.1, r2
