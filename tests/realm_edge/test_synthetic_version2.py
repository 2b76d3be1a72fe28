"""Version 2 of the generator against the figures of docs/generator.md; each test says by how much a wrong generator would miss it."""

import dataclasses

import numpy as np
import pytest
from scipy import signal

from realm_edge.broadband import ACTIVITY_HZ, FIELD_HZ, second
from realm_edge.preparation import prepare
from realm_edge.session import broadband_block, load, save
from realm_edge.settings import Settings, SplitSettings, SyntheticSettings
from realm_edge.synthetic import generate, version1
from realm_edge.synthetic.array2 import PITCH_MM, SMALL_PER_SORTED, array_of
from realm_edge.synthetic.session import UV_PER_COUNT
from realm_edge.synthetic.version2 import _spikes
from tests.generated import aged_settings, fitted, masked_r2, r2_of, sessions_of

SIZES = SyntheticSettings(version=2, sessions=2, seconds=20.0, heldout_seconds=24.0, channels=9, units=8)
SETTINGS = Settings(synthetic=SIZES, window_bins=100, split=SplitSettings(train=0.6, validation=0.2))


def aged(days_apart, session, units=400, channels=64, seed=0):
    sizes = SyntheticSettings(version=2, sessions=40, seconds=20.0, channels=channels, units=units, days_apart=days_apart)
    return array_of(Settings(seed=seed, synthetic=sizes), session)


@pytest.fixture(scope="module")
def made():
    return generate(SETTINGS, 1)


def test_it_is_the_default(made):
    sizes = {name: value for name, value in SIZES.model_dump().items() if name != "version"}
    default, first = (generate(Settings(synthetic=SyntheticSettings(**sizes, **version)), 1)[0] for version in ({}, {"version": 1}))
    np.testing.assert_array_equal(default.lfp, made[0].lfp)
    assert (default.lfp_rate, first.lfp_rate) == (4000.0, 1000.0)


@pytest.fixture(scope="module")
def session(made):
    return prepare(made[0], SETTINGS, heldout=True, broadband=made[1])


@pytest.mark.parametrize(
    ("days", "alive", "off"), [(4, 0.87, 0.04), (15, 0.67, 0.06), (47, 0.31, 0.05), (106, 0.21, 0.05), (270, 0.08, 0.04)]
)
def test_units_live_as_long_as_vaidya_found(days, alive, off):
    """1,200 units: two sd are 0.03 and less, and the fit is off by 0.04 at 15 days. One exponential of 37.5 days has 0.06 and 0.001 at the
    last two. The 4 days are the fit's own figure."""
    units = 1200
    first, later = (aged(float(days), at, units // (1 + SMALL_PER_SORTED)).units for at in (0, 1))
    assert len(first.channel) == units
    assert (first.trough_uv == later.trough_uv).mean() == pytest.approx(alive, abs=off)


def test_survivors_survive():
    """Of the units that are there at 106 days, 38 % live to 270 (8 of 21); with one exponential fitted to 47 days 1 % would."""
    first, middle, last = (aged(days, 1).units.trough_uv == aged(days, 0).units.trough_uv for days in (106.0, 106.0, 270.0))
    np.testing.assert_array_equal(first, middle)
    assert 0.25 < last.mean() / first.mean() < 0.55


def test_an_electrode_loses_part_of_its_units():
    first, later = (aged(30.0, at, units=64, channels=33).units for at in (0, 1))
    np.testing.assert_array_equal(first.channel, later.channel)
    kept = first.trough_uv == later.trough_uv
    several = [kept[first.channel == channel] for channel in np.unique(first.channel) if (first.channel == channel).sum() >= 3]
    assert len(several) > 20
    assert np.mean([0 < of.mean() < 1 for of in several]) > 0.7  # one unit an electrode: none of them


def test_drift_returns_to_the_mean():
    """After 400 days directions and gains differ by no more than sqrt(2) sd; the random walks of version 1 are at 2.4 rad."""
    first, months, year = (aged(100.0, at) for at in (0, 1, 4))
    assert np.std(year.turn - first.turn) < 2 * np.sqrt(2) * 0.18
    assert np.std(year.gain_shift - first.gain_shift) == pytest.approx(np.sqrt(2) * 0.06, rel=0.2)
    kept = year.units.trough_uv == first.units.trough_uv
    assert np.std((year.units.turn - first.units.turn)[kept]) == pytest.approx(np.sqrt(2) * 0.35, rel=0.25)
    walked = version1._array(Settings(synthetic=SyntheticSettings(version=1, sessions=40, channels=64, days_apart=100.0)), 4)
    assert np.std(walked.angle - version1._array(Settings(), 0).angle[0]) > 1.5
    assert months.days == 100.0 and year.days == 400.0


def test_the_lfp_is_more_stable_than_the_units():
    """Flint et al. 2016. Mean of the change of direction over a month, ten arrays."""
    changes = []
    for seed in range(10):
        first, later = (aged(30.0, at, seed=seed) for at in (0, 1))
        changes.append((np.std(later.turn - first.turn), np.std(later.units.turn - first.units.turn)))
    lfp, units = np.mean(changes, axis=0)
    assert lfp < 0.8 * units


def test_without_days_apart_nothing_is_lost():
    first, later = (aged(0.0, at) for at in (0, 5))
    np.testing.assert_array_equal(first.units.trough_uv, later.units.trough_uv)
    assert later.days == 0.0 and (later.units.turn != first.units.turn).all()


def test_directions_are_smooth_and_shared():
    """Correlation of the LFP's directions between neighbours and over 2 mm, and of units' with the field: of 20 arrays.

    A Gaussian of sd 0.8 mm: 0.88 at one pitch, and at 2 mm 0.04 less what the mean of 0 over the array takes. Independent directions, as of
    version 1, have 0 at both.
    """
    near, far, with_field = [], [], []
    for seed in range(20):
        array = aged(0.0, 0, seed=seed)
        distance = np.linalg.norm(array.place_mm[:, None] - array.place_mm, axis=-1)
        product = array.lmp @ array.lmp.T / 2
        near.append(product[np.isclose(distance, PITCH_MM)].mean())
        far.append(product[np.isclose(distance, 5 * PITCH_MM)].mean())
        own = np.exp(1j * array.units.angle)
        field = array.local[array.units.channel] @ (1, 1j)
        with_field.append(np.mean(np.cos(np.angle(own) - np.angle(field))))
    assert np.mean(near) == pytest.approx(0.88, abs=0.15)
    assert -0.5 < np.mean(far) < 0.2
    assert 0.45 < np.mean(with_field) < 0.75  # half of the variance is shared: 0 and 1 are none and all of it


def test_amplitudes_are_log_normal_down_to_15_uv():
    units = aged(0.0, 0).units
    small, large = units.trough_uv[400:], units.trough_uv[:400]
    assert len(small) == 2 * len(large)
    assert small.min() >= 15 and small.max() < 60 <= large.min() and large.max() < 250
    assert np.log(units.trough_uv).std() == pytest.approx(0.6, abs=0.1)
    assert np.median(units.trough_uv) == pytest.approx(45, rel=0.1)


def test_rates_change_within_a_session():
    """Perge et al. 2013: 84 % of units, by 49 % of the mean. First against last fifth of 40 minutes: 0.94 of a half cosine's change.

    Counting alone gives 0.03 in a generator of constant rates.
    """
    array, steps = aged(0.0, 0, units=100), 2400 * ACTIVITY_HZ
    trains, gains = _spikes(np.random.default_rng(0), array, np.zeros((steps + 1, 2)), np.zeros((steps + 1, 3), np.float32))
    counts = np.array([np.histogram(times, bins=5, range=(0, 2400))[0] for times in trains])
    change = np.abs(counts[:, 0] - counts[:, -1]) / counts.mean(axis=1)
    changed = change > 0.08
    assert changed.mean() == pytest.approx(0.84, abs=0.06)
    assert change[changed].mean() == pytest.approx(0.94 * 0.49, abs=0.05)
    gain = np.array([abs(each[-1] - each[0]) for each in gains])
    assert (gain > 1e-4).mean() == pytest.approx(0.74, abs=0.07)
    assert gain[gain > 1e-4].mean() == pytest.approx(0.055, abs=0.005)
    for times in trains[:20]:
        assert np.diff(times).min() >= 2e-3 and times[0] >= 0 and times[-1] <= 2400


def test_in_four_of_ten_sessions_amplitudes_move_together():
    array, still = aged(0.0, 0, units=8), (np.zeros((201, 2)), np.zeros((201, 3), np.float32))
    alike = []
    for seed in range(200):
        _, gains = _spikes(np.random.default_rng(seed), array, *still)
        changes = [each[-1] - each[0] for each in gains if len(each) > 1 and each[-1] != each[0]]
        alike.append(len(set(np.sign(changes))) == 1)
    assert np.mean(alike) == pytest.approx(0.4, abs=0.1)


def silent(broadband, field):
    """The same without noise, on a field of its own."""
    return dataclasses.replace(broadband, noise=np.zeros_like(broadband.noise), field=field)


def test_the_lfp_holds_the_same_spikes_as_the_broadband_signal(made):
    """Without noise and tissue both are the spikes alone, which below 1 kHz are one signal: correlation above 0.9 and the same size.

    An LFP without spikes has 0; one that is a sample late, 0.8.
    """
    recording, broadband = made
    wide = np.concatenate([second(silent(broadband, np.zeros_like(recording.lfp)), recording.lfp, FIELD_HZ, 30_000, at) for at in range(4)])
    narrow = (recording.lfp.astype(float) - broadband.field)[: 4 * FIELD_HZ]
    band = signal.butter(4, (300, 1000), "bandpass", fs=FIELD_HZ, output="sos")
    unit = int(np.argmax(broadband.waveforms.min(axis=1) * -1))
    channel = broadband.unit_channels[unit]
    one = signal.resample_poly(wide[:, channel].astype(float), 2, 15)
    x, y = (signal.sosfiltfilt(band, each) for each in (one, narrow[:, channel]))
    spiking = np.convolve(np.abs(x) > 0.2 * np.abs(x).max(), np.ones(41), "same") > 0
    assert np.corrcoef(x[spiking], y[spiking])[0, 1] > 0.9
    assert np.polyfit(x[spiking], y[spiking], 1)[0] == pytest.approx(1.0, abs=0.1)


def test_300_to_1000_hz_is_there_and_follows_the_spikes(made):
    """Power of 300 to 1,000 Hz in the LFP around a unit's spikes against all of it; version 1 has no LFP there."""
    recording, broadband = made
    assert recording.lfp_rate == FIELD_HZ == 4000
    band = signal.butter(2, (300, 1000), "bandpass", fs=FIELD_HZ, output="sos")
    power = signal.sosfiltfilt(band, recording.lfp * UV_PER_COUNT, axis=0) ** 2
    live = np.flatnonzero(broadband.live)
    rms = np.sqrt(power.mean(axis=0))[live]
    assert (rms > 1.5).all() and (rms < 15).all()  # uV; of the 2.4 that noise and small spikes have in 700 of 15,000 Hz
    ratios = []
    for unit, times in enumerate(recording.spike_times):
        at = np.rint((times + 0.4e-3) * FIELD_HZ).astype(int)
        ratios.append(power[at[at < len(power)], broadband.unit_channels[unit]].mean() / power[:, broadband.unit_channels[unit]].mean())
    assert np.min(ratios) > 1.5


def test_spiking_band_power_follows_small_units_better_than_crossings():
    """Nason et al. 2020. Units of 25 to 45 uV, whose counts in bins of 100 ms are compared with the power of 300 to 1,000 Hz and with
    crossings at 4.5 sd; of version 1's units, all above 60 uV, crossings miss next to none."""
    sizes = SyntheticSettings(version=2, sessions=2, seconds=20.0, heldout_seconds=40.0, channels=9, units=12)
    settings = Settings(synthetic=sizes, seed=3)
    _, broadband = generate(settings, 1)
    trough = -broadband.waveforms.min(axis=1) * UV_PER_COUNT
    alone = [unit for unit in np.flatnonzero((trough > 25) & (trough < 45))]
    bins, found = 400, []
    highpass = signal.butter(2, 300, "highpass", fs=30_000, output="sos")
    band = signal.butter(2, (300, 1000), "bandpass", fs=30_000, output="sos")
    x = np.concatenate([second(broadband, np.zeros((1, 9), np.int16), 1, 30_000, at) for at in range(40)]).astype(np.float32)
    for unit in alone:
        times = broadband.spike_times[broadband.spike_units == unit]
        counts = np.histogram(times, bins, (0, 40))[0]
        one = x[:, broadband.unit_channels[unit]]
        power = (signal.sosfilt(band, one) ** 2).reshape(bins, -1).mean(axis=1)
        fast = signal.sosfilt(highpass, one)
        below = fast < -4.5 * np.median(np.abs(fast)) / 0.6745
        crossings = (below[1:] & ~below[:-1]).astype(float)
        crossings = np.append(crossings, 0.0).reshape(bins, -1).sum(axis=1)
        found.append((np.corrcoef(power, counts)[0, 1], np.nan_to_num(np.corrcoef(crossings, counts)[0, 1])))
    power, crossings = np.mean(found, axis=0)
    assert len(alone) >= 5 and power > crossings + 0.02 and power > 0.1


def test_lfp_and_spikes_go_together_beyond_the_movement():
    """Gamma's power on an electrode and the rate of its small spikes with movement that modulates nothing: 0 where they are independent."""
    sizes = SyntheticSettings(version=2, sessions=2, seconds=20.0, heldout_seconds=60.0, channels=9, units=6, signal=0.0)
    recording, broadband = generate(Settings(synthetic=sizes), 1)
    gamma = signal.sosfiltfilt(signal.butter(2, (70, 200), "bandpass", fs=FIELD_HZ, output="sos"), recording.lfp.astype(float), axis=0)
    log_power = np.log(1 + (gamma**2).reshape(240, -1, 9).mean(axis=1))  # bins of 250 ms
    activity = broadband.activity[:-1].reshape(240, 25, 9).mean(axis=1)
    together = [np.corrcoef(log_power[:, at], activity[:, at])[0, 1] for at in np.flatnonzero(broadband.live)]
    assert np.mean(together) > 0.1


def test_power_falls_faster_above_the_knee(made):
    """Miller et al. 2009: 1/f^2, then 1/f^4 from 70 Hz on. The field, between 250 and 500 Hz: 16 times for 1/f^4, 4 for 1/f^2."""
    frequency, power = signal.welch(made[1].field[:, made[1].live] * UV_PER_COUNT, FIELD_HZ, nperseg=8000, axis=0)
    power = power.mean(axis=1)

    def at(hz):
        return power[np.abs(frequency - hz) < 0.1 * hz].mean()

    assert at(4) / at(12) == pytest.approx(9, rel=0.4)
    assert at(60) > 3 * at(45)  # line noise
    assert at(24) > 1.3 * at(9) * (9 / 24) ** 2


def test_any_block_of_broadband_equals_the_whole_and_survives_a_file(tmp_path, session):
    whole = broadband_block(session, SETTINGS, 0, session.bins)
    assert whole.shape == (session.bins * 600, 9) and not whole[:, ~session.broadband.live].any()
    save(session, tmp_path / "session.npz")
    again = load(tmp_path / "session.npz")
    for start, bins in ((0, 50), (37, 3), (session.bins - 1, 1)):
        block = broadband_block(again, SETTINGS, start, bins)
        np.testing.assert_array_equal(block, whole[start * 600 : (start + bins) * 600])


def test_noise_is_ten_uv_at_rest_and_follows_the_activity(made):
    recording, broadband = made
    still = dataclasses.replace(broadband, spike_times=np.zeros(0), spike_units=np.zeros(0, np.int32), spike_gain=np.zeros(0, np.float32))
    x = np.concatenate([second(still, recording.lfp, FIELD_HZ, 30_000, at) for at in range(20)]).astype(np.float32)
    noise = signal.sosfilt(signal.butter(2, 1000, "highpass", fs=30_000, output="sos"), x, axis=0)
    sd = noise.reshape(80, -1, 9).std(axis=1) * UV_PER_COUNT  # of 250 ms
    live = np.flatnonzero(broadband.live)
    assert sd[:, live].mean() == pytest.approx(10.0, rel=0.15)
    activity = broadband.activity[: 20 * ACTIVITY_HZ].reshape(80, -1, 9).mean(axis=1)
    assert np.mean([np.corrcoef(sd[:, at], activity[:, at])[0, 1] for at in live]) > 0.7


def test_the_same_settings_give_the_same_recording(made):
    for one, other in zip(made, generate(SETTINGS, 1), strict=True):
        for field in dataclasses.fields(one):
            np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_masked_bin_is_told_by_its_neighbours():
    """0.60 of a rodent's recording, 0.46 of grip force; 0.10 in version 1, by the same measure."""
    settings = Settings(synthetic=SyntheticSettings(version=2, sessions=2, heldout_seconds=120.0, channels=16))
    [session] = sessions_of(settings, [1], crossings=False)
    assert 0.3 < masked_r2(session.features, session.train_end) < 0.65


@pytest.mark.slow
def test_over_months_decoders_fare_as_in_the_literature():
    """Three arrays of the default size, on day 0 and on day 76 with the same movements; bounds are wider than the anchors by the spread of
    the means over arrays.

    On day 0 the LFP is at 0.8 to 1.0 of the spikes. Fixed on day 0 it keeps half of that for 76 days or more, as decoders of people did
    (Milekovic et al. 2018); version 1's are below 0 after six. Refitted spikes lose 3.6 or 5.7 % a month (Perge et al. 2014), 9 or 14 % by
    then, and the refitted LFP 2.4 or 2.9 %, 6 or 7 %; version 1's spikes lose 34 % in 18 days.
    """
    scores = []
    for seed in range(3):
        first, later = (next(sessions_of(aged_settings(2, seed, days), [1])) for days in (0.0, 76.0))
        fixed = fitted(first, first.features)
        lfp, kept = (r2_of(fixed, session, session.features) for session in (first, later))
        spikes, refitted = (r2_of(fitted(session, session.counts), session, session.counts) for session in (first, later))
        again = r2_of(fitted(later, later.features), later, later.features)
        scores.append((lfp, kept, again, spikes, refitted))
    lfp, kept, again, spikes, refitted = np.mean(scores, axis=0)
    assert 0.75 < lfp / spikes < 1.1
    assert kept > 0.5 * lfp
    assert 0.86 < again / lfp < 0.98
    assert 0.82 < refitted / spikes < 0.95
