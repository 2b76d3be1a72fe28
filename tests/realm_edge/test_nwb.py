"""NWB 2 files that the tests write, and those of the shared folder."""

import numpy as np
import pytest
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
from pynwb.ecephys import LFP

from realm_edge.app.rundir import RunDir
from realm_edge.app.stages import data as stage
from realm_edge.errors import UserError
from realm_edge.progress import Silent
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.settings import Settings, changed
from realm_edge.sources import Recordings
from tests.nwb_file import add_behavior, add_lfp, electrical_series, electrodes, new_file, region, velocity, write
from tests.real_recordings import recording as real_recording

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")  # while a file is being put together

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(-2000, 2000, (400, 3), dtype=np.int16)
VELOCITY = RNG.standard_normal((100, 2))
SPIKES = [np.array([0.011, 0.2, 0.35]), np.array([]), np.array([0.1])]


@pytest.fixture
def nwb(tmp_path):
    """A complete file: LFP, units, behaviour in the processing modules."""
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity(data=VELOCITY, conversion=0.5))
    for times in SPIKES:
        file.add_unit(spike_times=times)
    return write(tmp_path / "monday.nwb", file)


def test_a_complete_file(nwb):
    recording = read_recording(nwb)
    assert (recording.name, recording.lfp_rate, recording.lfp_scale, recording.lfp_unit) == ("monday", 1000.0, 2e-7, "V")
    assert recording.lfp.dtype == np.int16 and recording.stretches == ((0, 400, 0.0),)
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS)
    assert not recording.lfp_offset.any() and recording.channels == ("0", "1", "2")
    assert (recording.behavior_names, recording.behavior_unit) == (("velocity_x", "velocity_y"), "m/s")
    np.testing.assert_allclose(recording.behavior, 0.5 * VELOCITY, rtol=1e-6)
    np.testing.assert_allclose(recording.behavior_times, np.arange(100) / 250)
    assert [list(times) for times in recording.spike_times] == [list(times) for times in SPIKES]
    assert recording.provenance["file"] == str(nwb) and len(recording.provenance["sha256"]) == 64
    assert not recording.synthetic


def test_timestamps_floats_and_containers_without_units(tmp_path):
    file = new_file()
    data = np.where(COUNTS.max() == COUNTS, 1e-3, COUNTS * 1e-7)  # V; the largest is 1 mV
    add_lfp(file, data, "acquisition", timestamps=5.0 + np.arange(400) / 2000)
    hand = SpatialSeries(name="hand", data=VELOCITY, reference_frame="screen", timestamps=5 + np.arange(100) / 50)
    position = Position(spatial_series=hand)
    force = BehavioralTimeSeries(time_series=velocity("force", VELOCITY[:, 0], starting_time=5.0))
    add_behavior(file, position, force)
    path = write(tmp_path / "a.nwb", file)
    recording = read_recording(path, Choices(("hand",)))
    assert recording.lfp_rate == pytest.approx(2000, rel=1e-9) and recording.lfp_start == 5.0
    counts = np.asarray(recording.lfp)
    np.testing.assert_allclose(counts * recording.lfp_scale + recording.lfp_offset, data * 2e-7, atol=0.51 * recording.lfp_scale)
    np.testing.assert_allclose(recording.behavior_times, 5 + np.arange(100) / 50)
    assert recording.spike_times == ()
    assert read_recording(path, Choices(("force",))).behavior_names == ("force",)


def test_lfp_comes_before_raw_acquisition(tmp_path):
    file = new_file()
    on = electrodes(file, 3)
    file.add_acquisition(electrical_series("a_raw", COUNTS, on, rate=30_000.0))
    add_lfp(file, 2 * COUNTS, electrodes=on)
    add_behavior(file, velocity())
    recording = read_recording(write(tmp_path / "a.nwb", file))
    assert recording.lfp_rate == 1000.0 and recording.provenance["lfp_choices"] == "lfp, a_raw"
    np.testing.assert_array_equal(np.asarray(recording.lfp), 2 * COUNTS)


def test_behaviour_must_be_named_when_there_is_a_choice(tmp_path, nwb):
    with pytest.raises(UserError, match=r"monday\.nwb: --behavior grip: no such series: use --behavior with one of: velocity"):
        read_recording(nwb, Choices(("grip",)))
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("speed"))
    file.add_acquisition(velocity("force"))
    path = write(tmp_path / "a.nwb", file)
    with pytest.raises(UserError, match=r"several behaviour series.*--behavior: force, speed"):
        read_recording(path)
    assert read_recording(path, Choices(("force",))).behavior_names == ("force_x", "force_y")


def test_without_behaviour(tmp_path):
    file = new_file()
    add_lfp(file, COUNTS)
    with pytest.raises(UserError, match=r"a\.nwb: no behaviour series: nothing to decode: .*--behavior-file"):
        read_recording(write(tmp_path / "a.nwb", file))


def test_without_lfp_it_says_what_there_is(tmp_path):
    file = new_file()
    add_behavior(file, velocity())
    file.add_unit(spike_times=[0.1])
    with pytest.raises(UserError, match=r"a\.nwb: no LFP in it, only velocity: add the LFP voltage") as caught:
        read_recording(write(tmp_path / "a.nwb", file))
    assert "\n" not in str(caught.value)


def with_gap(tmp_path, seconds):
    file = new_file()
    times = np.arange(400) / 1000
    times[300:] += seconds
    add_lfp(file, COUNTS, timestamps=times)
    add_behavior(file, velocity())
    return write(tmp_path / "a.nwb", file)


def test_gaps_longer_than_a_bin_are_pauses(tmp_path):
    path = with_gap(tmp_path, 0.03)
    recording = read_recording(path)
    assert recording.stretches == ((0, 300, 0.0), (300, 400, pytest.approx(0.33, abs=1e-9))) and recording.lfp_gaps == ()
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS)
    assert len(read_recording(path, Choices(), Settings(bin_ms=50)).lfp) == 430


def test_shorter_gaps_are_filled_and_told(tmp_path):
    recording = read_recording(with_gap(tmp_path, 0.01))
    filled = np.concatenate([COUNTS[:300], np.tile(COUNTS[299], (10, 1)), COUNTS[300:]])
    np.testing.assert_array_equal(np.asarray(recording.lfp), filled)
    assert recording.lfp_rate == pytest.approx(1000.0, rel=1e-9)
    assert recording.lfp_gaps == (pytest.approx((0.3, 0.01)),)
    assert "1 gap(s) in the LFP's clock, 10.0 ms in all" in recording.provenance["lfp_gaps"]


def test_an_irregular_clock(tmp_path):
    file = new_file()
    times = np.arange(400) / 1000 + 0.005 * np.sin(np.arange(400) / 400 * np.pi)
    add_lfp(file, COUNTS, timestamps=times)
    add_behavior(file, velocity())
    with pytest.raises(UserError, match=r"a\.nwb: lfp: its clock is irregular: sample \d+ is \d\.\d+ ms off a clock of"):
        read_recording(write(tmp_path / "a.nwb", file))


def masked(tmp_path, rows=(0, 1, 2), **columns):
    """Three channels on the electrodes ``rows`` of four, whose table has the columns."""
    file = new_file()
    electrodes(file, 4)
    for name, values in columns.items():
        file.add_electrode_column(name=name, description="a mask", data=values)
    file.add_acquisition(electrical_series("lfp", COUNTS, region(file, rows), rate=1000.0))
    add_behavior(file, velocity())
    return write(tmp_path / "a.nwb", file)


@pytest.mark.parametrize(
    ("columns", "rows", "good"),
    [
        ({"bad": [False, True, False, False]}, (0, 1, 2), [True, False, True]),
        ({"is_bad": [1, 0, 0, 0]}, (0, 1, 2), [False, True, True]),
        ({"Good": [1.0, 0.0, 1.0, 0.0]}, (3, 2, 1), [False, True, False]),  # by electrode, not by position
        ({"reject": ["no", "True", "", "FALSE"]}, (0, 1, 3), [True, False, True]),
        ({"good": [True, False, True, True], "reject": [True, False, False, False]}, (0, 1, 2), [False, False, True]),
        ({"depth": [1.0, 2.0, 3.0, 4.0]}, (0, 1, 2), [True, True, True]),
    ],
    ids=str,
)
def test_masks_of_bad_channels(tmp_path, columns, rows, good):
    recording = read_recording(masked(tmp_path, rows, **columns))
    np.testing.assert_array_equal(recording.good_channels, good)
    assert ("channel_mask" in recording.provenance) == ("depth" not in columns)


def test_a_mask_that_is_neither_true_nor_false(tmp_path):
    path = masked(tmp_path, bad=["no", "perhaps", "no", "no"])
    with pytest.raises(UserError, match=r"a\.nwb: lfp: electrode 1: column 'bad' is 'perhaps', neither true nor false"):
        read_recording(path)


def test_choice_of_the_lfp_series(tmp_path):
    file = new_file()
    on = electrodes(file, 3)
    file.add_acquisition(electrical_series("raw", 2 * COUNTS, on, rate=1000.0))
    file.add_acquisition(electrical_series("aux", 3 * COUNTS, on, rate=1000.0))
    file.create_processing_module("ecephys", "LFP").add(LFP(electrical_series=electrical_series("lfp", COUNTS, on, rate=1000.0)))
    add_behavior(file, velocity())
    path = write(tmp_path / "a.nwb", file)
    default = read_recording(path)
    assert (default.provenance["lfp_series"], default.provenance["lfp_choices"]) == ("lfp", "lfp, aux, raw")
    aux = read_recording(path, Choices(lfp=("aux",)))
    np.testing.assert_array_equal(np.asarray(aux.lfp), 3 * COUNTS)
    assert aux.provenance["lfp_series"] == "aux"
    with pytest.raises(UserError, match=r"a\.nwb: --lfp probe: no such series: use --lfp with one of: aux, lfp, raw"):
        read_recording(path, Choices(lfp=("probe",)))


@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_truncated_files(nwb, keep):
    content = nwb.read_bytes()
    nwb.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match=r"monday\.nwb: not readable as NWB 2") as caught:
        read_recording(nwb)
    assert "\n" not in str(caught.value)


def test_nwb_2_is_told_from_nwb_1_by_its_version(tmp_path):
    file = new_file()
    add_lfp(file, COUNTS)
    file.add_acquisition(velocity("timeseries"))  # the name of the folder in which NWB 1 keeps them
    assert read_recording(write(tmp_path / "a.nwb", file)).behavior_names == ("timeseries_x", "timeseries_y")


class Heard(Silent):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def test_the_data_stage_tells_of_gaps_choices_and_masks(tmp_path):
    file = new_file()
    times = np.arange(400) / 1000
    times[300:] += 0.01
    electrodes(file, 3)
    file.add_electrode_column(name="bad", description="a mask", data=[False, True, False])
    on = region(file, range(3))
    for name in ("probe_a", "probe_b"):
        file.add_acquisition(electrical_series(name, COUNTS, on, timestamps=times))
    add_behavior(file, velocity())
    path = write(tmp_path / "a.nwb", file)
    settings, heard = (
        changed(Settings(), {"window_bins": 2, "pretrain": {"block_bins": (1, 1)}, "split": {"train": 0.6, "validation": 0.2}}),
        Heard(),
    )
    summary = stage.run(RunDir.create(tmp_path / "run", settings), heard, Recordings((path,)))
    assert list(summary.sessions[0].bad_channels) == [1]
    assert summary.sessions[0].provenance["lfp_series"] == "probe_a"
    said = "\n".join(heard.said)
    assert "bad channels [1] are left out" in said and "1 gap(s) in the LFP's clock" in said
    assert "LFP from 'probe_a', one of probe_a, probe_b; --lfp takes another" in said
    heard.said.clear()
    other = Recordings((path,), Choices(lfp=("probe_b",)))
    summary = stage.run(RunDir.create(tmp_path / "other", settings), heard, other)
    assert summary.sessions[0].provenance["lfp_series"] == "probe_b" and "--lfp" not in "\n".join(heard.said)
    with pytest.raises(UserError, match="--lfp probe_b: the synthetic recordings have one"):
        stage.run(RunDir.create(tmp_path / "none", settings), heard, Recordings((), Choices(lfp=("probe_b",))))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.nwb", "no such file"),
        ("notes.txt", r"unknown kind of recording '\.txt': use one of \.nwb, \.zarr, \.mat, \.npz, \.realm"),
        ("hand.csv", r"unknown kind of recording '\.csv'"),  # a table by itself holds no LFP
    ],
)
def test_files_that_are_no_recordings(tmp_path, name, message):
    if name != "none.nwb":
        (tmp_path / name).write_text("time,x")
    with pytest.raises(UserError, match=message):
        read_recording(tmp_path / name)


def test_shared_rodent_recording():
    recording = read_recording(real_recording("rodent_running_a.nwb"), Choices(("speed",)))
    assert (recording.lfp.shape, recording.lfp_rate, len(recording.spike_times)) == ((2_880_000, 1), 4800.0, 15)
    assert sum(map(len, recording.spike_times)) == 48_700
    assert recording.behavior_unit == "cm/s" and np.isfinite(recording.behavior).all()


def test_shared_features_are_no_lfp():
    with pytest.raises(UserError, match=r"human_grip_force_features\.nwb: no LFP.*features, grip_force"):
        read_recording(real_recording("human_grip_force_features.nwb"), Choices(("grip_force",)))
