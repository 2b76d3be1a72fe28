"""Makin and O'Doherty's layout: NWB 1.0.6 broadband, and a MATLAB 7.3 file beside it."""

import os
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from realm_edge.errors import UserError
from realm_edge.files import sha256_file
from realm_edge.inspection import convert, inspect
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import fingerprint, read_recording
from realm_edge.resample import Resampler, to_counts
from realm_edge.settings import SIX_BANDS, LfpSettings, Settings, changed
from tests.realm_edge.test_links import unlisted

RATE = 24414.0625
FITTED = 24414.062  # Hz; six seconds of time stamps tell no more of it
SAMPLES, CHANNELS = 150_000, 3  # more than two blocks
START = 12.5
T = START + np.arange(1500) / 250
CURSOR = np.stack([10 * np.sin(T), 5 * np.cos(2 * T)], axis=1)
FINGER = np.stack([T, T**2, -T, 0 * T, 0 * T, 0 * T], axis=1)  # position and three angles
SPIKES = {(0, 0): [12.6, 12.7, 13.0], (2, 1): [14.0], (1, 1): [12.9, 12.8]}  # (channel, unit)


def broadband():
    rng = np.random.default_rng(0)
    data = rng.integers(-4000, 4000, (SAMPLES, CHANNELS), dtype=np.int16)
    data[:, 1] = 77  # dead
    data[::50, 2] = 32767  # clips
    return data


def write_nwb(path, data=None, times=None, conversion=1.9e-7):
    data = broadband() if data is None else data
    times = START + np.arange(len(data)) / RATE if times is None else times
    with h5py.File(path, "w") as file:
        file["nwb_version"] = b"NWB-1.0.6"
        series = file.create_group("acquisition/timeseries/broadband")
        series["data"] = data
        if conversion is not None:
            series["data"].attrs["conversion"] = conversion
        series["timestamps"] = times
        series["electrode_names"] = np.array([f"M1 {i:03d}".encode() for i in range(data.shape[1])])
        file["general/extracellular_ephys/electrode_map"] = np.zeros((data.shape[1], 3))
    return path


def write_mat(path, channels=CHANNELS, units=3, **changed):
    """As MATLAB 7.3 does: transposed, cells as references, empty cells as their size with an attribute."""
    with h5py.File(path, "w") as file:
        arrays = {"t": T[None], "cursor_pos": CURSOR.T, "target_pos": CURSOR.T, "finger_pos": FINGER.T} | changed
        for name, array in arrays.items():
            if array is not None:
                file[name] = array
        cells = file.create_dataset("spikes", (units, channels), h5py.ref_dtype)
        names = file.create_dataset("chan_names", (1, channels), h5py.ref_dtype)
        for channel in range(channels):
            name = file.create_dataset(f"#refs#/n{channel}", data=np.frombuffer(b"M1 001", np.uint8)[:, None].astype(np.uint16))
            names[0, channel] = name.ref
            for unit in range(units):
                label = f"#refs#/s{channel}_{unit}"
                if (channel, unit) in SPIKES:
                    cell = file.create_dataset(label, data=np.array(SPIKES[channel, unit])[None])
                else:
                    cell = file.create_dataset(label, data=np.array([0, 0], np.uint64))
                    cell.attrs["MATLAB_empty"] = 1
                cells[unit, channel] = cell.ref
    return path


@pytest.fixture
def session(tmp_path):
    write_mat(tmp_path / "indy_20160622_01.mat")
    return write_nwb(tmp_path / "indy_20160622_01.nwb")


def resampled(data, rate=1000):
    """Broadband at another rate in counts, (new samples, channels)."""
    return to_counts(np.concatenate(list(Resampler(FITTED, rate).blocks(data, 0, len(data), 0, len(data)))))


def test_broadband_is_read_as_it_is(session):
    recording = read_recording(session, Choices(("cursor_velocity",)))
    np.testing.assert_array_equal(np.asarray(recording.lfp), broadband())
    assert (recording.name, recording.lfp_start) == ("indy_20160622_01", START)
    assert recording.lfp_rate == FITTED
    assert (recording.lfp_scale, recording.lfp_unit, recording.lfp_delay_s, recording.lfp_gaps) == (1.9e-7, "V", 0.0, ())
    assert recording.channels == ("M1 000", "M1 001", "M1 002")


@pytest.mark.parametrize("rate", [1000, 2000])
def test_broadband_is_converted_to_the_lfp_that_resampling_the_whole_gives(session, tmp_path, rate):
    convert(session, tmp_path / "a.realm", Settings(lfp=LfpSettings(rate_hz=rate)))
    recording = read_recording(tmp_path / "a.realm", Choices(("cursor_velocity",)))
    np.testing.assert_array_equal(np.asarray(recording.lfp), resampled(broadband(), rate))
    assert (recording.lfp_rate, recording.lfp_start) == (float(rate), START)
    assert recording.lfp_delay_s == pytest.approx(Resampler(RATE, rate).delay_s, rel=1e-6)
    assert recording.provenance["resampled"].startswith("24414.06")
    np.testing.assert_array_equal(recording.good_channels, [True, False, True])
    assert recording.rail_share[1] == 1.0 and recording.rail_share[2] == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize(
    ("series", "unit", "expected"),
    [
        ("cursor_pos", "mm", CURSOR),
        ("finger_pos", "cm", FINGER[:, :3]),
        ("cursor_velocity", "mm/s", np.diff(CURSOR, axis=0) * 250),
        ("finger_velocity", "cm/s", np.diff(FINGER[:, :3], axis=0) * 250),
    ],
)
def test_behaviour(session, series, unit, expected):
    recording = read_recording(session, Choices((series,)))
    assert recording.behavior_unit == unit
    assert recording.behavior_names == tuple(f"{series}_{axis}" for axis in "xyz"[: expected.shape[1]])
    np.testing.assert_array_equal(recording.behavior_times, T)
    values = recording.behavior
    if unit.endswith("/s"):
        assert np.isnan(values[0]).all()
        values = values[1:]
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)


def test_velocity_knows_nothing_of_later_positions(tmp_path, session):
    before = read_recording(session, Choices(("cursor_velocity",))).behavior
    changed = CURSOR.copy()
    changed[700:] += 50
    write_mat(tmp_path / "indy_20160622_01.mat", cursor_pos=changed.T)
    after = read_recording(session, Choices(("cursor_velocity",))).behavior
    np.testing.assert_array_equal(before[:700], after[:700])
    assert (before[700] != after[700]).all()


def test_spikes_of_every_unit_that_fired(session):
    recording = read_recording(session, Choices(("cursor_pos",)))
    assert [times.tolist() for times in recording.spike_times] == [[12.6, 12.7, 13.0], [12.8, 12.9], [14.0]]  # in order of time
    assert recording.provenance["units"].startswith("3, of which 1 ")


def test_the_whole_is_never_in_memory(tmp_path):
    data = np.random.default_rng(0).integers(-4000, 4000, (1_200_000, 8), dtype=np.int16)
    path = write_nwb(tmp_path / "a.nwb", data)
    write_mat(tmp_path / "a.mat", channels=8)
    size = data.nbytes
    del data
    tracemalloc.start()
    try:
        read_recording(path, Choices(("cursor_pos",)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * size, (peak, size)  # time stamps too are read in blocks: they would take as much again


def test_short_gaps_are_filled_and_long_ones_are_pauses(tmp_path):
    write_mat(tmp_path / "a.mat")
    data = broadband()
    times = START + np.arange(SAMPLES) / RATE
    times[70_000:] += 244 / RATE  # 10 ms
    recording = read_recording(write_nwb(tmp_path / "a.nwb", data, times), Choices(("cursor_pos",)))
    [(at, length)] = recording.lfp_gaps
    assert at == pytest.approx(START + 70_000 / RATE) and length == pytest.approx(244 / RATE)
    filled = np.concatenate([data[:70_000], np.repeat(data[69_999:70_000], 244, axis=0), data[70_000:]])
    np.testing.assert_array_equal(np.asarray(recording.lfp), filled)
    times[70_000:] += 0.02
    write_mat(tmp_path / "b.mat")
    recording = read_recording(write_nwb(tmp_path / "b.nwb", data, times), Choices(("cursor_pos",)))
    after = START + 70_000 / RATE + 244 / RATE + 0.02
    assert recording.stretches == ((0, 70_000, START), (70_000, SAMPLES, pytest.approx(after, abs=1e-6))) and recording.lfp_gaps == ()
    np.testing.assert_array_equal(np.asarray(recording.lfp), data)


def test_a_session_is_prepared_with_the_delay_told(session):
    settings = changed(Settings(lfp=SIX_BANDS), {"window_bins": 20, "pretrain": {"block_bins": (2, 10)}})
    recording = read_recording(session, Choices(("cursor_velocity",)), settings)
    made = prepare(recording, settings, heldout=True)
    assert made.resampling_delay_s == pytest.approx(Resampler(RATE, 1000).delay_s, rel=1e-6) and made.resampling_delay_s > 0
    assert made.lfp.shape == (made.bins * 20, CHANNELS) and made.spike_source == "units"
    np.testing.assert_array_equal(made.lfp, resampled(broadband())[: len(made.lfp)])
    np.testing.assert_array_equal(made.good_channels, [True, False, True])


def test_the_fingerprint_is_of_both_files(session):
    first = fingerprint(session)
    assert first != sha256_file(session)
    write_mat(session.with_suffix(".mat"), cursor_pos=CURSOR.T + 1)
    assert fingerprint(session) != first
    assert read_recording(session, Choices(("cursor_pos",))).provenance["sha256"] == fingerprint(session)


def test_conversion_keeps_what_the_raw_signal_told(session, tmp_path):
    convert(session, tmp_path / "one.realm", Settings(lfp=SIX_BANDS))
    settings, choices = (
        changed(Settings(lfp=SIX_BANDS), {"window_bins": 20, "pretrain": {"block_bins": (2, 10)}}),
        Choices(("finger_velocity",)),
    )
    direct, stored = (read_recording(path, choices) for path in (session, tmp_path / "one.realm"))
    np.testing.assert_array_equal(stored.behavior, direct.behavior)
    one, other = (prepare(recording, settings, heldout=True) for recording in (direct, stored))
    for name in ("lfp", "features", "targets", "counts", "good_channels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.resampling_delay_s == other.resampling_delay_s == stored.lfp_delay_s > 0
    raw, summary = inspect(session).summary, inspect(tmp_path / "one.realm").summary
    assert raw["saturated_channels"] == summary["saturated_channels"]
    assert summary["dead_channels"] == [1] and list(summary["saturated_channels"]) == ["2"]
    assert list(summary["behaviors"]) == ["cursor_pos", "cursor_velocity", "finger_pos", "finger_velocity"]


def test_a_pause_is_shown_and_kept(tmp_path):
    write_mat(tmp_path / "a.mat")
    times = START + np.arange(SAMPLES) / RATE
    times[100_000:] += 0.5
    path = write_nwb(tmp_path / "a.nwb", times=times)
    pause = {"start_s": pytest.approx(START + 100_000 / RATE), "length_s": pytest.approx(0.5, abs=1e-4)}
    assert inspect(path).summary["pauses"] == [pause]
    convert(path, tmp_path / "a.realm", Settings(lfp=SIX_BANDS))
    stored = read_recording(tmp_path / "a.realm", Choices(("cursor_pos",)))
    (first, pausing, start), (again, _, restart) = stored.stretches
    assert (first, start, restart) == (0, START, pytest.approx(START + 100_000 / RATE + 0.5, abs=1e-6)) and pausing == again
    direct = np.concatenate([resampled(part) for part in np.split(broadband(), [100_000])])  # each starts anew
    np.testing.assert_array_equal(np.asarray(stored.lfp), direct)


def _wrong(tmp_path: Path, kind: str) -> Path:
    nwb, mat = tmp_path / "a.nwb", tmp_path / "a.mat"
    write_nwb(nwb)
    write_mat(mat)
    match kind:
        case "no mat":
            mat.unlink()
        case "float":
            write_nwb(nwb, broadband().astype(np.float32))
        case "conversion":
            write_nwb(nwb, conversion=None)
        case "short times":
            write_nwb(nwb, times=START + np.arange(5) / RATE)
        case "times":
            times = START + np.arange(SAMPLES) / RATE
            times[5] = times[4]
            write_nwb(nwb, times=times)
        case "irregular":
            times = START + np.arange(SAMPLES) / RATE
            write_nwb(nwb, times=times + 2e-3 * np.sin(np.arange(SAMPLES) / SAMPLES * np.pi))
        case "broken mat":
            mat.write_bytes(mat.read_bytes()[:2000])
        case "no t":
            write_mat(mat, t=None)
        case "position":
            write_mat(mat, cursor_pos=CURSOR[:7].T)
        case "no broadband":
            with h5py.File(nwb, "a") as file:
                file.move("acquisition/timeseries/broadband", "acquisition/timeseries/other")
    return nwb


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no mat", r"a\.nwb: a\.mat is missing beside it"),
        ("float", r"a\.nwb: broadband has shape \(150000, 3\) and type float32"),
        ("conversion", r"a\.nwb: broadband has no attribute 'conversion'"),
        ("short times", r"150000 samples have times of shape \(5,\)"),
        ("times", r"a\.nwb: broadband: time 12\.5.* of sample 5 does not follow"),
        ("irregular", r"a\.nwb: broadband: its clock is irregular: sample \d+ is .* ms off"),
        ("broken mat", r"a\.mat: not readable as a file of Makin"),
        ("no t", r"a\.mat: not readable as a file of Makin"),
        ("position", r"a\.mat: cursor_pos has shape \(2, 7\), expected \(2 or more, 1500\)"),
        ("no broadband", r"a\.nwb: NWB version 1, of another layout than Makin.*convert it to NWB 2 or to \.npz"),
    ],
)
def test_wrong_files(tmp_path, kind, message):
    with pytest.raises(UserError, match=message) as caught:
        read_recording(_wrong(tmp_path, kind), Choices(("cursor_pos",)))
    assert "\n" not in str(caught.value)


def test_a_series_must_be_chosen(session):
    with pytest.raises(UserError, match=r"--behavior: cursor_pos, cursor_velocity, finger_pos, finger_velocity"):
        read_recording(session)
    with pytest.raises(UserError, match=r"--lfp raw: no such series: use --lfp with one of: broadband"):
        read_recording(session, Choices(("cursor_pos",), lfp=("raw",)))


def test_spikes_that_lie_elsewhere_are_refused(session, tmp_path):
    """Cells are references, here to what no group lists."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "bytes").write_bytes(bytes(64))
    with h5py.File(session.with_suffix(".mat"), "a") as file:
        file["spikes"][0, 0] = unlisted(file, "../bytes").ref
        del file["unlisted"]
    with pytest.raises(UserError, match=r"\.mat: it links to '\.\./bytes', which does not lie beside it"):
        read_recording(session, Choices(("cursor_velocity",)))


@pytest.mark.parametrize("which", [".nwb", ".mat"])
def test_a_file_that_is_none_hangs_nobody(session, which):
    session.with_suffix(which).unlink()
    os.mkfifo(session.with_suffix(which))
    with pytest.raises(UserError, match=r"\.(mat|nwb): (no regular file: put one in its place, or remove it|neither a file)"):
        read_recording(session, Choices(("cursor_velocity",)))
