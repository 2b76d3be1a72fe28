"""LFP, spikes and behaviour on one clock, end to end, and what is said of those that are on another."""

import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import NWBHDF5IO

from realm_edge.app import cli
from realm_edge.errors import UserError
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.settings import SIX_BANDS, Settings, changed
from tests.nwb_file import recording_file, velocity

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

SETTINGS = Settings(lfp=SIX_BANDS, window_bins=26)
BIN_S = 0.02
RATES = [250.0, 625.00213, 999.0, 1000.0, 1000.0001, 1000.02, 1001.0, 1017.252604, 1249.9978, 2500.0159, 4800.0, 24414.0625, 40_000.0]


@pytest.mark.parametrize("start", [0.0, 137.3])
@pytest.mark.parametrize("rate", RATES)
def test_what_happens_at_one_moment_lands_in_one_bin(tmp_path, rate, start):
    """A pulse in the LFP, a spike and a step of the behaviour, at four moments of 30 s at any rate."""
    seconds, moments = 30.0, np.array([3.01, 12.3499, 21.2301, 28.77])
    t = np.arange(round(seconds * rate)) / rate
    pulses = 3000 * np.exp(-0.5 * ((t[:, None] - moments) / 0.004) ** 2).sum(axis=1)
    noise = np.random.default_rng(0).normal(0, 3, (len(t), 2))
    at = np.arange(round(seconds * 1000)) / 1000
    behavior = (at[:, None] >= moments).sum(axis=1).astype(np.float32)  # one more after each moment
    np.savez(
        tmp_path / "a.npz",
        lfp=np.rint(pulses[:, None] + noise).astype(np.int16),
        lfp_rate=rate,
        lfp_start=start,
        behavior=behavior,
        behavior_times=at + start,
        spike_times=moments + start,
        spike_index=[4],
    )
    top = tuple(band for band in SETTINGS.lfp.bands_hz if 2 * band[1] <= rate)
    session = prepare(read_recording(tmp_path / "a.npz"), changed(SETTINGS, {"lfp": {"bands_hz": top}}), heldout=True)
    expected = np.floor(moments / BIN_S).astype(int)
    assert np.flatnonzero(session.counts[:, 0]).tolist() == expected.tolist()
    steps = np.flatnonzero(np.diff(session.targets[:, 0]) > 0.5) + 1  # the target is the behaviour at the bin's end
    assert steps.tolist() == expected.tolist()
    lfp = session.lfp[:, 0].astype(np.float64)
    for moment, bin_ in zip(moments, expected, strict=True):
        around = np.arange(max(0, (bin_ - 3) * 20), min(len(lfp), (bin_ + 4) * 20))
        centre = (around * np.maximum(lfp[around] - 300, 0)).sum() / np.maximum(lfp[around] - 300, 0).sum() / 1000
        assert centre == pytest.approx(moment, abs=0.5 / min(rate, 1000) if rate < 500 else 3e-4)
    assert session.resampling_delay_s < 0.03 and (session.resampling_delay_s == 0) == (rate in (1000.0, 1000.0001) and len(t) <= 30_000)


def test_spikes_at_the_very_edges_of_bins(tmp_path):
    """A bin holds its start and not its end, also where 0.02 k is not a float."""
    edges = BIN_S * np.arange(1500)
    np.savez(
        tmp_path / "a.npz",
        lfp=np.random.default_rng(0).integers(-99, 99, (30_000, 1), dtype=np.int16),
        lfp_rate=1000.0,
        behavior=np.arange(1501.0),
        behavior_rate=50.0,
        spike_times=np.concatenate([edges, np.arange(1500) * 20 / 1000, np.cumsum(np.full(1499, BIN_S))]),
        spike_index=[1500, 3000, 4499],
    )
    counts = prepare(read_recording(tmp_path / "a.npz"), SETTINGS, heldout=True).counts
    np.testing.assert_array_equal(counts[:, 0], 1)
    np.testing.assert_array_equal(counts[:, 1], 1)
    np.testing.assert_array_equal(counts[1:, 2], 1)


SPIKES = np.sort(np.random.default_rng(0).uniform(0, 60, 500))


def file_with(tmp_path, units, *behaviors):
    data = np.random.default_rng(0).integers(-500, 500, (60_000, 2), dtype=np.int16)
    return recording_file(tmp_path / "un.nwb", data, *(behaviors or (velocity(seconds=60.0),)), units=units)


ELSEWHERE = {  # spikes, likely cause
    "sample numbers": (np.rint(SPIKES * 30_000), r"they look like sample numbers: divide them by the rate \(30000 Hz, say\)"),
    "sample numbers of the LFP": (
        np.rint(SPIKES * 1000) + 61,
        r"they look like milliseconds, or sample numbers of the LFP: divide them by 1000$",
    ),
    "milliseconds": (SPIKES * 1e3 + 61.5, r"they look like milliseconds: divide them by 1000"),
    "microseconds": (SPIKES * 1e6 + 0.5, r"they look like microseconds: divide them by 1e\+06"),
    "another zero": (SPIKES + 1000.0, r"another zero: give their file with --units-file and --sync-offset -1000\.\d+"),
    "unix time": (SPIKES + 1.7e9, r"another zero: give their file with --units-file and --sync-offset -1\.7e\+09"),
    "another clock": (SPIKES * 20 + 100.0, r"they are on another clock"),
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_spikes_on_another_clock_are_refused_with_the_likely_cause(tmp_path, kind):
    times, cause = ELSEWHERE[kind]
    path = file_with(tmp_path, [times])
    with pytest.raises(
        UserError, match=rf"un\.nwb: units: \d+ % of the spikes lie outside the LFP \(spikes .* LFP 0\.000 to 60\.000 s\): .*{cause}"
    ):
        read_recording(path)
    result = CliRunner().invoke(cli.main, ["data", "inspect", str(path)])  # to look must be possible
    assert (
        result.exit_code == 0
        and "lie outside the LFP" in result.stdout
        and "units      1, 0 spikes" in " ".join(result.stdout.splitlines())
    )


def test_half_of_the_spikes_outside_are_told(tmp_path):
    path = file_with(tmp_path, [np.concatenate([SPIKES, SPIKES + 60.5])])
    recording = read_recording(path)
    assert recording.provenance["spikes_outside"] == "50.0 % of the spikes lie outside the LFP"
    assert prepare(recording, SETTINGS, heldout=True).counts.sum() == (SPIKES < 59.98).sum()
    result = CliRunner().invoke(cli.main, ["data", "inspect", str(path)])
    assert "units      1, 500 spikes, median 8.33 Hz; 500 more outside the LFP" in result.stdout
    (tmp_path / "short.toml").write_text("window_bins = 26")
    arguments = ["data", "--data", str(path), "--config", str(tmp_path / "short.toml"), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 0 and "warning: 50.0 % of the spikes lie outside the LFP" in " ".join(result.stderr.split())


def test_spikes_in_any_order_and_units_that_never_fire(tmp_path):
    shuffled = np.random.default_rng(1).permutation(SPIKES)
    recording = read_recording(file_with(tmp_path, [SPIKES, shuffled, [], []]))
    np.testing.assert_array_equal(recording.spike_times[0], recording.spike_times[1])
    counts = prepare(recording, SETTINGS, heldout=True).counts
    assert counts.sum(axis=0).tolist() == [(SPIKES < 59.98).sum()] * 2 + [0, 0]


def test_a_spike_that_is_nan_is_named_and_the_lfp_stays_of_use(tmp_path):
    path = file_with(tmp_path, [np.append(SPIKES, np.nan)])
    recording = read_recording(path)
    assert recording.provenance["units_unusable"].endswith("un.nwb: Units: unit 0: spike 500 has time nan: remove it")
    assert prepare(recording, SETTINGS, heldout=True).counts is None
    with pytest.raises(UserError, match=r"un\.nwb: Units: unit 0: spike 500 has time nan: remove it"):
        read_recording(path, Choices(units_file=path))  # they were asked for


LATE = np.arange(3000) / 50
BEHAVIOR_ELSEWHERE = {
    "sample numbers": (np.rint(LATE * 1000) + 61, "they look like milliseconds, or sample numbers"),
    "milliseconds": (LATE * 1e3 + 61.5, "they look like milliseconds"),
    "another zero": (LATE - 500.0, r"another zero: give their file with --behavior-file and --sync-offset 500"),
}


@pytest.mark.parametrize("kind", BEHAVIOR_ELSEWHERE)
def test_behaviour_on_another_clock(tmp_path, kind):
    times, cause = BEHAVIOR_ELSEWHERE[kind]
    path = file_with(tmp_path, [], velocity(data=np.sin(LATE), timestamps=times))
    with pytest.raises(UserError, match=rf"un\.nwb: velocity: \d+ % of the behaviour samples lie outside the LFP .*{cause}"):
        read_recording(path)


def test_behaviour_that_is_half_outside_is_told(tmp_path):
    recording = read_recording(file_with(tmp_path, [], velocity(data=np.sin(LATE), timestamps=LATE + 30.0)))
    assert recording.provenance["behavior_outside"] == "50.0 % of the behaviour samples lie outside the LFP"
    session = prepare(recording, SETTINGS, heldout=True)
    assert session.bins == 1500
    np.testing.assert_allclose(session.targets[:, 0], np.sin(BIN_S * np.arange(1, 1501)), atol=1e-3)


def test_units_are_unknown_outside_their_observation_intervals(tmp_path):
    data = np.random.default_rng(0).integers(-500, 500, (60_000, 2), dtype=np.int16)
    path = recording_file(tmp_path / "ob.nwb", data, velocity(seconds=60.0), units=())
    with NWBHDF5IO(str(path), "r+") as io:
        file = io.read()
        file.add_unit(spike_times=SPIKES[SPIKES < 54], obs_intervals=[[0.0, 54.0]])
        file.add_unit(spike_times=SPIKES, obs_intervals=[[0.0, 60.0]])
        file.add_unit(spike_times=SPIKES[SPIKES < 30], obs_intervals=[[0.0, 30.0]])
        io.write(file)
    session = prepare(read_recording(path), SETTINGS, heldout=True)
    assert session.counts.shape == (2999, 2)  # the third was looked for in half of the time: its silence says nothing
    assert session.provenance["unobserved"] == "units 2 are observed in less than 80 % of the bins: left out"
    unknown = np.isnan(session.targets).any(axis=1)
    assert np.flatnonzero(unknown).tolist() == list(range(2700, 2999)) == np.flatnonzero(~session.valid).tolist()
