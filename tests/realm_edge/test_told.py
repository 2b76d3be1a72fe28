"""Nothing is dropped without a line: what lies outside, what is missing, what cannot be used."""

import os

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pynwb import TimeSeries
from pynwb.misc import Units

from realm_edge.app import cli
from realm_edge.behavior import wraps
from realm_edge.errors import UserError
from realm_edge.inspection import inspect
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.settings import Settings
from tests.lab_files import spikeglx
from tests.nwb_file import add_behavior, add_lfp, new_file, recording_file, velocity, write

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

SETTINGS = Settings(window_bins=26)
COUNTS = np.random.default_rng(0).integers(-500, 500, (40_000, 4), dtype=np.int16)
T = np.arange(2000) / 50
PAIR = np.stack([np.sin(T), np.cos(T)], axis=1)


def run(*arguments):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def arrays(path, **more):
    np.savez(path, **({"lfp": COUNTS, "lfp_rate": 1000, "behavior": PAIR, "behavior_times": T} | more))
    return path


def session_of(path, choices=None):
    return prepare(read_recording(path, choices or Choices()), SETTINGS, heldout=True)


@pytest.mark.parametrize(("rows", "left"), [(slice(250, 1500), 15.02), (slice(0, 2000), 0.0), (slice(0, 1999), 0.0)])
def test_lfp_without_behaviour(tmp_path, rows, left):
    session = session_of(arrays(tmp_path / "a.npz", behavior=PAIR[rows], behavior_times=T[rows]))
    note = session.provenance.get("without_behavior", "")
    assert note.startswith(f"{left:.3f} s of the LFP lie before or after the behaviour (5.000 to 29.980 s)") if left else not note


def test_behaviour_that_is_missing_in_its_stamps(tmp_path):
    there = (T < 10) | (T >= 13)
    path = arrays(tmp_path / "a.npz", behavior=PAIR[there], behavior_times=T[there])
    session = session_of(path)
    unknown = int(np.isnan(session.targets).any(axis=1).sum())
    assert unknown == 150
    assert session.provenance["behavior_gaps"].endswith(
        "0 samples are NaN, 1 gap(s) in its time stamps; interpolated up to 1 s, 150 bins left unknown"
    )
    (tmp_path / "short.toml").write_text("window_bins = 26")
    said = " ".join(run("data", "--data", path, "--config", tmp_path / "short.toml", "--out", tmp_path / "run").stderr.split())
    assert "a: behaviour: 0 samples are NaN, 1 gap(s) in its time stamps" in said


def test_columns_that_are_never_known_are_left_out(tmp_path):
    height = np.full((2000, 1), np.nan)
    session = session_of(arrays(tmp_path / "a.npz", behavior=np.hstack([PAIR, height])))
    assert session.target_names == ("behavior_0", "behavior_1") and np.isfinite(session.targets).all()
    assert session.provenance["behavior_left_out"] == "behavior_2: NaN throughout"
    with pytest.raises(UserError, match=r"a\.npz: behaviour 'behavior' is NaN throughout: choose another series with --behavior"):
        session_of(arrays(tmp_path / "a.npz", behavior=np.hstack([height, height])))


def test_behaviour_that_never_changes(tmp_path):
    still = np.where(T[:, None] < 30, 2.0, T[:, None])  # in the training part
    session = session_of(arrays(tmp_path / "a.npz", behavior=np.hstack([PAIR, still])))
    assert session.provenance["behavior_constant"].startswith("behavior_2 never changes in the training part")
    with pytest.raises(UserError, match=r"a\.npz: behaviour 'behavior' never changes in the training part: nothing to decode"):
        session_of(arrays(tmp_path / "a.npz", behavior=still))


def with_trials(path, *trials, invalid=()):
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("hand", PAIR, timestamps=T))
    for start, stop in trials:
        file.add_trial(start_time=float(start), stop_time=float(stop))
    for start, stop in invalid:
        file.add_invalid_time_interval(start_time=float(start), stop_time=float(stop))
    return write(path, file)


TRIALS = Choices(segments="trials")


def test_intervals_without_an_end_are_told(tmp_path):
    path = with_trials(tmp_path / "a.nwb", (0, 10), (12, np.nan), (20, 30), (35, 33))
    session = session_of(path, TRIALS)
    assert session.starts.tolist() == [0, 500]
    assert session.provenance["intervals_left_out"] == "trials: 2 of 4 interval(s) without an end after a start"
    assert "intervals left out: trials: 2 of 4" in run("data", "inspect", path).stdout


OUTSIDE = {  # trials, what is said
    "milliseconds": ([(0, 20e3), (20e3, 40e3)], r"1 of 2 intervals lie outside the LFP .*: they look like milliseconds, or sample numbers"),
    "seconds at 30 kHz": ([(6e5, 7e5), (9e5, 11e5)], r"2 of 2 intervals lie outside the LFP .*: they are on another clock: convert them"),
    "ticks": ([(3e4, 3e5), (4e5, 1.1e6)], r"they look like sample numbers: divide them by the rate \(30000 Hz, say\)"),
    "later": (
        [(100, 110), (120, 150)],
        r"2 of 2 intervals lie outside the LFP \(intervals 100\.000 to 150\.000 s, LFP 0\.000 to 40\.000 s\)",
    ),
}


@pytest.mark.parametrize("kind", OUTSIDE)
def test_trials_on_another_clock_are_refused(tmp_path, kind):
    trials, message = OUTSIDE[kind]
    path = with_trials(tmp_path / "a.nwb", *trials)
    with pytest.raises(UserError, match=rf"a\.nwb: --segments trials: .*{message}"):
        read_recording(path, TRIALS)
    result = run("data", "inspect", path, "--segments", "trials")
    assert result.exit_code == 2 and "--segments trials" in result.stderr


def test_trials_that_lie_outside_are_told(tmp_path):
    path = with_trials(tmp_path / "a.nwb", (0, 10), (11, 30), (31, 45), (100, 110))
    session = session_of(path, TRIALS)
    assert session.provenance["segments_outside"] == "1 outside the LFP, 1 partly outside the LFP, of 4 intervals"
    assert np.diff([*session.starts, session.bins]).tolist() == [500, 950, 449]


def test_invalid_times_that_lie_outside_are_told(tmp_path):
    path = with_trials(tmp_path / "a.nwb", invalid=[(5, 6), (5000, 9000)])
    session = session_of(path)
    assert np.count_nonzero(~session.valid) == 50
    told = "1 of 2 invalid times lie outside the LFP (invalid 5.000 to 9000.000 s, LFP 0.000 to 40.000 s)"
    assert session.provenance["invalid_outside"] == told and f"invalid outside: {told}" in run("data", "inspect", path).stdout


def test_no_scale_is_chosen_on_invalid_times(tmp_path):
    """An artefact of most of the training part, in V, that is called invalid."""
    volts = COUNTS * 1e-7
    broken = volts.copy()
    broken[2000:20_000] += 0.2 * np.sign(np.sin(np.arange(18_000)))[:, None]
    spoilt = read_recording(arrays(tmp_path / "a.npz", lfp=broken, lfp_scale=1.0))
    told = read_recording(arrays(tmp_path / "b.npz", lfp=broken, lfp_scale=1.0, invalid_times=np.array([[1.9, 20.1]])))
    clean = read_recording(arrays(tmp_path / "c.npz", lfp=volts, lfp_scale=1.0))
    assert told.lfp_scale == pytest.approx(clean.lfp_scale, rel=0.05) and spoilt.lfp_scale > 100 * clean.lfp_scale


def sorted_in_a_module(path, *names):
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("hand", PAIR, timestamps=T))
    module = file.create_processing_module("sorting", "by a sorter")
    for name in names:
        units = Units(name=name, description="sorted")
        units.add_unit(spike_times=T + 0.001)
        module.add(units)
    return write(path, file)


def test_units_outside_of_the_file_s_own_table(tmp_path):
    recording = read_recording(sorted_in_a_module(tmp_path / "one.nwb", "Units"))
    np.testing.assert_allclose(recording.spike_times[0], T + 0.001)
    recording = read_recording(sorted_in_a_module(tmp_path / "two.nwb", "Units", "curated"))
    assert not recording.spike_times
    assert "several tables of units (Units, curated): write the one to use as a table" in recording.provenance["units_unusable"]


def test_a_file_that_ends_early_is_told(tmp_path):
    path = spikeglx(tmp_path, np.random.default_rng(0).integers(-500, 500, (50_000, 3)).astype(np.int16), 2500.0, 0)
    path.write_bytes(path.read_bytes()[:180_000])
    shown = run("data", "inspect", path)
    assert (
        shown.exit_code == 0 and "cut short: run_g0_t0.imec0.lf.bin has 180000 of the 300000 bytes that its .meta promises" in shown.stdout
    )
    path.with_suffix(".meta").unlink()
    shown = run("data", "inspect", path)
    assert shown.exit_code == 2 and "'.bin' alone is no recording: SpikeGLX's needs its .meta beside it" in shown.stderr


def test_lfp_without_electrodes_says_why(tmp_path):
    path = recording_file(tmp_path / "a.nwb", COUNTS)
    with h5py.File(path, "a") as file:
        del file["processing/ecephys/LFP/lfp/electrodes"]
        file["processing/ecephys/LFP/lfp/electrodes"] = h5py.SoftLink("/nowhere")
    shown = run("data", "inspect", path)
    assert shown.exit_code == 2 and "a.nwb: lfp: " in shown.stderr and "electrodes" in shown.stderr and "no LFP in it" not in shown.stderr


def test_a_link_to_a_series_of_the_same_name_hides_nothing(tmp_path):
    other = recording_file(tmp_path / "other.nwb", COUNTS, velocity("hand", 3 * PAIR, timestamps=T))
    path = recording_file(tmp_path / "a.nwb", COUNTS, velocity("hand", PAIR, timestamps=T))
    with h5py.File(path, "a") as file:
        file["processing/behavior/linked"] = h5py.ExternalLink(other.name, "/processing/behavior/hand")
        file["processing/behavior/again"] = h5py.SoftLink("/processing/behavior/hand")
    recording = read_recording(path, Choices(("hand",)))
    np.testing.assert_allclose(recording.behavior, PAIR, rtol=1e-6)
    shown = run("data", "inspect", path)
    assert "linked: it links to another 'hand' than the one beside it: rename that one" in shown.stdout


def test_series_of_one_name_in_different_parts_of_the_file(tmp_path):
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("v", PAIR, timestamps=T))
    file.add_acquisition(TimeSeries(name="v", data=2 * PAIR, unit="m/s", timestamps=T))
    path = write(tmp_path / "a.nwb", file)
    assert list(inspect(path).behaviors) == ["acquisition/v", "behavior/v"]
    np.testing.assert_allclose(read_recording(path, Choices(("acquisition/v",))).behavior, 2 * PAIR, rtol=1e-6)
    with pytest.raises(UserError, match=r"--behavior v: several go by that name: use --behavior with one of: acquisition/v, behavior/v"):
        read_recording(path, Choices(("v",)))


@pytest.fixture
def labelled(tmp_path):
    file = new_file()
    device = file.create_device("array")
    group = file.create_electrode_group("array", "an array", "cortex", device)
    file.add_electrode_column(name="label", description="names")
    file.add_electrode_column(name="site", description="names with commas")
    file.add_electrode_column(name="depth", description="mm")
    for row in range(4):
        file.add_electrode(group=group, location="cortex", label=str(row + 1), site="a,b" if row < 2 else "c", depth=0.5 * row)
    add_lfp(file, COUNTS, electrodes=file.create_electrode_table_region(list(range(4)), "all"))
    add_behavior(file, velocity("hand", PAIR, timestamps=T))
    return write(tmp_path / "a.nwb", file)


TAKEN = [("1", [0]), ("1-2", [0, 1]), ("2-4", [1, 2, 3]), ("site=a,b", [0, 1]), ("depth=1", [2]), ("4,depth=0.50", [1, 3])]


@pytest.mark.parametrize(("wanted", "expected"), TAKEN)
def test_numbers_are_names_where_channels_have_numbers_for_names(labelled, wanted, expected):
    recording = read_recording(labelled, Choices(channels=(wanted,)))
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS[:, expected])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("0", r"--channels 0: no such channel: use names or ranges of them \(1, 2, 3, 4\)"),
        ("3-9", r"--channels 3-9: no such channel"),
        ("", r"--channels '': it names no channel: leave the option out, or name some"),
    ],
)
def test_channels_that_nobody_has(labelled, wanted, message):
    with pytest.raises(UserError, match=message):
        read_recording(labelled, Choices(channels=(wanted,)))


def test_true_and_false_are_behaviour(tmp_path):
    path = recording_file(tmp_path / "a.nwb", COUNTS, TimeSeries(name="lick", data=np.sin(T) > 0, unit="n.a.", timestamps=T))
    np.testing.assert_array_equal(read_recording(path).behavior[:, 0], np.sin(T) > 0)
    np.testing.assert_array_equal(read_recording(arrays(tmp_path / "a.npz", behavior=np.sin(T) > 0)).behavior[:, 0], np.sin(T) > 0)


def test_a_wrap_between_unknown_samples_is_a_wrap():
    angle = np.mod(np.arange(200) * 6.0, 360.0)[:, None]
    angle[(angle < 10) | (angle > 350)] = np.nan
    assert wraps(angle, "degrees").tolist() == [True] and wraps(angle[5:50], "degrees").tolist() == [False]


def test_a_recording_without_a_usable_channel_says_so(tmp_path):
    path = arrays(tmp_path / "a.npz", good_channels=np.zeros(4, bool))
    assert "every channel is dead or masked: there is nothing to decode from" in run("data", "inspect", path).stdout
    assert run("data", "inspect", arrays(tmp_path / "b.npz", lfp_start=np.nan)).exit_code == 2


def test_the_offset_that_is_proposed_counts_the_one_that_was_given(tmp_path):
    path = arrays(tmp_path / "a.npz")
    late = tmp_path / "late.csv"
    late.write_text("time,x\n" + "".join(f"{t + 100},{np.sin(t)}\n" for t in T))
    for given in (0.0, 7.0, -1000.0):
        with pytest.raises(UserError, match=r"--behavior-file and --sync-offset -100, or the true offset"):
            read_recording(path, Choices(behavior_file=late, sync_offset=given))
    shown = run("data", "inspect", path, "--behavior-file", late)
    assert (
        shown.exit_code == 0
        and "behaviour  x: 1 dim(s), a.u., 50 Hz, 0 % NaN; x: 100 % of the behaviour samples lie outside" in shown.stdout
    )
    np.testing.assert_allclose(read_recording(path, Choices(behavior_file=late, sync_offset=-100.0)).behavior[:, 0], np.sin(T), atol=1e-6)


def test_recordings_in_other_units_are_no_task(tmp_path):
    for name, unit in (("mon", "m/s"), ("tue", "cm/s")):
        recording_file(tmp_path / f"{name}.nwb", COUNTS, velocity("hand", PAIR, timestamps=T, unit=unit))
    (tmp_path / "short.toml").write_text("window_bins = 30")
    both = ("--data", tmp_path / "mon.nwb", "--data", tmp_path / "tue.nwb")
    result = run("data", *both, "--config", tmp_path / "short.toml", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert (
        "tue.nwb: it has hand_x, hand_y in cm/s, but" in result.stderr
        and "hand_x, hand_y in m/s: use recordings of one task" in result.stderr
    )


def test_electrodes_are_kept_when_a_recording_is_converted(labelled, tmp_path):
    assert run("data", "convert", labelled, tmp_path / "a.realm", "--without-channels", "1").exit_code == 0
    recording = read_recording(tmp_path / "a.realm", Choices(channels=("site=a,b",)))
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS[:, [1]])


def test_segments_that_hold_no_bin(tmp_path):
    path = with_trials(tmp_path / "a.nwb", (1, 1.005), (2, 2.01))
    with pytest.raises(UserError, match=r"--segments trials: none of its 2 intervals holds a bin of 20 ms: choose another table"):
        read_recording(path, TRIALS)
    session = session_of(with_trials(tmp_path / "b.nwb", (1, 1.005), (2, 38)), TRIALS)
    assert session.provenance["segments_outside"] == "1 shorter than a bin of 20 ms, of 2 intervals"


def test_chunks_of_zarr_that_are_not_there(tmp_path):
    """As after a download that was interrupted: Zarr reads zeros."""
    zarr = pytest.importorskip("hdmf_zarr.nwb", reason="hdmf-zarr is not installed: pip install 'realm-edge[formats]'")
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("hand", PAIR, timestamps=T), velocity("foot", PAIR, timestamps=T))
    file.add_unit(spike_times=T + 0.001)
    path = tmp_path / "a.nwb.zarr"
    with zarr.NWBZarrIO(str(path), mode="w") as io:
        io.write(file)

    def lose(part):
        chunk = next(chunk for chunk in sorted((path / part).iterdir()) if not chunk.name.startswith("."))
        chunk.unlink()

    lose("processing/behavior/foot/data")
    lose("units/spike_times")
    found = inspect(path)
    assert list(found.behaviors) == ["hand"] and "of its 1 chunks are not there" in found.summary["unusable_behaviors"]["foot"]
    assert "chunks are not there: download it again" in found.recording.provenance["units_unusable"]
    lose("processing/ecephys/LFP/lfp/data")
    with pytest.raises(UserError, match=r"lfp: 1 of its \d+ chunks are not there: download it again"):
        inspect(path)


def test_names_from_files_are_shown_on_one_line_and_command_no_terminal(tmp_path):
    path = tmp_path / "monday\nunits      9.npz"
    result = run("data", "inspect", arrays(path, channel_names=np.array(["a\x1b[2J", "b", "c", "d"]), lfp=COUNTS * [0, 1, 1, 1]))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith(r"monday\nunits      9.npz")
    assert sum(line.startswith("units ") for line in result.stdout.splitlines()) == 1
    assert "\x1b" not in result.stdout
    missing = run("data", "inspect", tmp_path / "a\x1b[2J.npz")
    assert missing.exit_code == 2 and "\x1b" not in missing.stderr and r"a\x1b[2J.npz" in missing.stderr


def test_a_file_of_a_set_that_is_none_hangs_nobody(tmp_path):
    meta = spikeglx(tmp_path / "run", COUNTS, 2500.0, 0)
    meta.with_suffix(".meta").unlink()
    os.mkfifo(meta.with_suffix(".meta"))
    result = run("data", "inspect", tmp_path / "run")
    assert result.exit_code == 2 and f"{meta.with_suffix('.meta').name}: no regular file: put one in its place" in result.stderr


def test_infinite_behaviour_is_told_and_values_too_large_are_refused(tmp_path):
    values = PAIR.copy()
    values[[3, 7]], values[9] = np.inf, np.nan
    path = arrays(tmp_path / "a.npz", behavior=values)
    assert "% NaN, 2 sample(s) infinite, and so unknown" in run("data", "inspect", path).stdout
    assert session_of(path).provenance["behavior_gaps"].startswith("behaviour: 1 samples are NaN and 2 infinite, ")
    for large in (1e30, 1e300):
        values[5] = large
        result = run("data", "inspect", arrays(tmp_path / "b.npz", behavior=values))
        assert f"b.npz: behavior: value {large:.3g} of sample 5 is beyond 1e+18: correct it" in result.stdout + result.stderr
    pd.DataFrame({"time": T, "x": np.where(T[5] == T, 1e300, 1.0)}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(UserError, match=r"b\.csv: column 'x': value 1e\+300 of sample 5 is beyond 1e\+18: correct it"):
        read_recording(arrays(tmp_path / "c.npz"), Choices(("x",), behavior_file=tmp_path / "b.csv"))


def test_behaviour_that_never_changes_is_told_by_inspect(tmp_path):
    still = np.full((2000, 1), 2.0)
    still[7] = np.nan
    for values, told in ((still, "it never changes: "), (np.hstack([PAIR, still]), "it never changes in behavior_2: ")):
        assert f"; {told}nothing to decode there" in run("data", "inspect", arrays(tmp_path / "a.npz", behavior=values)).stdout
    assert "never changes" not in run("data", "inspect", arrays(tmp_path / "a.npz")).stdout


def test_a_delay_longer_than_the_recording_is_named(tmp_path):
    recording = read_recording(arrays(tmp_path / "a.npz"))
    for delay, share in ((60_000, 100), (20_000, 50)):
        with pytest.raises(
            UserError, match=rf"a\.npz: output_delay_ms {delay}: .* unknown in {share} % of the bins.*: lower output_delay_ms"
        ):
            prepare(recording, Settings(window_bins=26, output_delay_ms=delay), heldout=True)
    assert prepare(recording, Settings(window_bins=26, output_delay_ms=200), heldout=True).bins == 1999
    holes = np.where((T > 5)[:, None] & (T < 30)[:, None], np.nan, PAIR)
    with pytest.raises(UserError, match=r"a\.npz: behaviour 'behavior_0, behavior_1' is unknown in 6\d % of the bins"):
        prepare(read_recording(arrays(tmp_path / "a.npz", behavior=holes)), Settings(window_bins=26, output_delay_ms=200), heldout=True)
