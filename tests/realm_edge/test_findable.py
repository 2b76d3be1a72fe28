"""Everything in a file can be found, and what is broken in it stands in nobody's way."""

import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import TimeSeries
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
from pynwb.ecephys import LFP

from realm_edge import readers
from realm_edge.app import cli
from realm_edge.errors import UserError
from realm_edge.inspection import inspect
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import fingerprint, read_recording
from realm_edge.settings import Settings
from tests.nwb_file import add_behavior, add_lfp, electrical_series, electrodes, new_file, recording_file, region, velocity, write

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

SETTINGS = Settings(window_bins=26)
COUNTS = np.random.default_rng(0).integers(-500, 500, (30_000, 4), dtype=np.int16)
SPEED = np.sin(np.arange(1500) / 50)


def run(*arguments):
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("place", ["running", "Behavior", "behavior", "acquisition", "acquisition container", "scratch", "stimulus"])
def test_behaviour_anywhere(tmp_path, place):
    """processing/running (Allen), processing/Behavior (FicTrac), BehavioralTimeSeries in acquisition, ..."""
    file = new_file()
    add_lfp(file, COUNTS)
    series = TimeSeries(name="running_speed", data=SPEED, unit="cm/s", rate=50.0)
    match place:
        case "acquisition":
            file.add_acquisition(series)
        case "acquisition container":
            file.add_acquisition(BehavioralTimeSeries(time_series=[series]))
        case "scratch":
            file.add_scratch(series)
        case "stimulus":
            file.add_stimulus(series)
        case _:
            file.create_processing_module(place, "of the rodent").add(series)
    path = write(tmp_path / "mod.nwb", file)
    recording = read_recording(path)  # the only one there is
    np.testing.assert_allclose(recording.behavior[:, 0], SPEED, rtol=1e-6)
    assert list(inspect(path).behaviors) == ["running_speed"]
    (tmp_path / "short.toml").write_text("window_bins = 26")
    result = run("data", "--data", path, "--config", tmp_path / "short.toml", "--behavior", "running_speed", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output


@pytest.fixture
def probes(tmp_path):
    """Three probes and three positions whose series and containers have the same names."""
    file = new_file()
    electrodes(file, 3)
    for i in range(3):
        lfp = electrical_series("ElectricalSeries", COUNTS[:, :1] + i, region(file, [i]), rate=1000.0, conversion=(i + 1) * 1e-7)
        file.create_processing_module(f"probe{i}", "a probe").add(LFP(electrical_series=lfp))
        series = SpatialSeries(name="SpatialSeries", data=SPEED * (i + 1), rate=50.0, reference_frame="room")
        file.create_processing_module(f"m{i}", "a camera").add(Position(spatial_series=series))
    return write(tmp_path / "probes.nwb", file)


def test_names_that_collide_say_where_they_are(probes):
    found = inspect(probes)
    assert list(found.behaviors) == [f"m{i}/Position/SpatialSeries" for i in range(3)]
    names = [f"probe{i}/LFP/ElectricalSeries" for i in range(3)]
    assert found.recording.provenance["lfp_choices"] == ", ".join(names)
    for i, name in enumerate(names):
        recording = read_recording(probes, Choices((f"m{i}/Position/SpatialSeries",), lfp=(name,)))
        assert recording.lfp_scale == pytest.approx((i + 1) * 1e-7)
        np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS[:, :1] + i)
        np.testing.assert_allclose(recording.behavior[:, 0], SPEED * (i + 1), rtol=1e-6)
    result = run("data", "inspect", probes, "--lfp", "LFP/ElectricalSeries")
    assert result.exit_code == 2 and "several go by that name: use --lfp with one of: probe0/LFP/ElectricalSeries, probe1/" in result.stderr
    assert "scale      2e-07 V a count" in run("data", "inspect", probes, "--lfp", "probe1/LFP/ElectricalSeries").stdout


T = np.arange(1500) / 50


def broken_file(path, kind):
    """A hand beside a sync line that cannot be used."""
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("hand", np.stack([SPEED, -SPEED], axis=1), timestamps=T))
    times = T.copy()
    match kind:
        case "double stamp":
            times[100] = times[99]
        case "NaN stamp":
            times[5] = np.nan
        case "a step back":
            times[100] = times[90]
    file.add_acquisition(TimeSeries(name="sync", data=np.arange(1500), unit="n", timestamps=times))
    write(path, file)
    with h5py.File(path, "a") as file:
        sync = file["acquisition/sync"]
        match kind:
            case "2-D stamps" | "short stamps":
                del sync["timestamps"]
                stamps = sync.create_dataset("timestamps", data=np.stack([T, T]) if kind == "2-D stamps" else T[:-1])
                stamps.attrs["interval"], stamps.attrs["unit"] = 1, "seconds"
            case "no stamps":
                del sync["timestamps"]
            case "no data":
                del sync["data"]
            case "a broken link":
                attributes = dict(sync["data"].attrs)
                del sync["data"]
                sync["data"] = h5py.ExternalLink("elsewhere.nwb", "/acquisition/sync/data")
                assert attributes
            case "an unknown extension":
                sync.attrs["namespace"], sync.attrs["neurodata_type"] = "ndx-lab", "LabSeries"
    return path


BROKEN = {
    "double stamp": "time 1.98 of sample 100 does not follow the one before",
    "NaN stamp": "time nan of sample 5 is no finite number",
    "a step back": "time 1.8 of sample 100 does not follow",
    "2-D stamps": "sync",
    "short stamps": "1500 samples have times of shape (1499,)",
    "no stamps": "sync",
    "no data": "sync",
    "a broken link": "links to 'elsewhere.nwb', which is not there: put that file beside it",
    "an unknown extension": "of the extension 'ndx-lab', which the file does not describe",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_one_broken_series_blocks_nothing(tmp_path, kind):
    path = broken_file(tmp_path / "bad.nwb", kind)
    shown = run("data", "inspect", path)
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith("unusable")]
    assert line.startswith("unusable   sync: ") and BROKEN[kind] in line
    assert "behaviour  hand: 2 dim(s), m/s, 50 Hz" in shown.stdout
    result = run("data", "convert", path, tmp_path / "bad.realm")
    assert result.exit_code == 0, result.output
    assert list(inspect(tmp_path / "bad.realm").behaviors) == ["hand"]
    assert prepare(read_recording(path), SETTINGS, heldout=True).target_names == ("hand_x", "hand_y")  # the only one that can be used
    with pytest.raises(UserError, match=r"bad\.nwb: sync: "):
        read_recording(path, Choices(("sync",)))


def test_a_broken_lfp_series_gives_way_to_another(tmp_path):
    file = new_file()
    on = electrodes(file, 4)
    times = np.arange(30_000) / 1000
    times[9] = np.nan
    for name, clock in (("a", {"timestamps": times}), ("b", {"rate": 1000.0})):
        file.add_acquisition(electrical_series(name, COUNTS, on, **clock))
    add_behavior(file, velocity(seconds=30.0))
    recording = read_recording(write(tmp_path / "a.nwb", file))
    assert recording.provenance["lfp_series"] == "b"
    assert "a: time nan of sample 9 is no finite number" in recording.provenance["lfp_unusable"]


def test_a_file_that_is_open_for_writing_elsewhere_gets_its_remedy(tmp_path):
    path = recording_file(tmp_path / "inv.nwb", COUNTS)
    with h5py.File(path, "a", locking=True):
        result = run("data", "inspect", path)
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() == "FALSE" or result.exit_code == 0:
        pytest.skip("this file system locks no files")
    assert (
        result.exit_code == 2
        and "another program has it open for writing: close it there, or set HDF5_USE_FILE_LOCKING=FALSE" in result.stderr
    )


def test_nwb_as_zarr(tmp_path):
    zarr = pytest.importorskip("hdmf_zarr.nwb", reason="hdmf-zarr is not installed: pip install 'realm-edge[formats]'")
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("hand", SPEED, timestamps=T))
    with zarr.NWBZarrIO(str(tmp_path / "a.nwb.zarr"), mode="w") as io:
        io.write(file)
    recording = read_recording(tmp_path / "a.nwb.zarr")
    assert (recording.name, recording.lfp_rate, recording.lfp_scale) == ("a", 1000.0, 2e-7)
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS)
    np.testing.assert_allclose(recording.behavior[:, 0], SPEED, rtol=1e-6)


def test_nwb_as_zarr_names_what_reads_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdmf_zarr.nwb", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "realm_edge.readers.nwb_zarr", raising=False)
    monkeypatch.delattr(readers, "nwb_zarr", raising=False)
    (tmp_path / "a.nwb.zarr").mkdir()
    with pytest.raises(UserError, match=r"a\.nwb\.zarr: NWB as Zarr is read by hdmf-zarr: pip install 'realm-edge\[formats\]'"):
        read_recording(tmp_path / "a.nwb.zarr")


def test_invalid_times_are_unknown_bins(tmp_path):
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity("hand", SPEED, timestamps=T))
    file.add_invalid_time_interval(start_time=10.0, stop_time=12.0)
    file.add_unit(spike_times=[5.0, 11.0, 20.0])
    path = write(tmp_path / "inv.nwb", file)
    session = prepare(read_recording(path), SETTINGS, heldout=True)
    unknown = np.flatnonzero(np.isnan(session.targets).any(axis=1))
    assert unknown.tolist() == list(range(500, 600)) == np.flatnonzero(~session.valid).tolist()
    assert session.starts.tolist() == [0, 500, 600] and session.provenance["invalid"].startswith("100 bins in invalid")
    ends = 0.02 * np.arange(1, session.bins + 1)
    near = np.abs(ends - np.round(ends)) < 1e-6  # behaviour samples: exact
    np.testing.assert_allclose(session.targets[near & session.valid, 0], np.sin(ends[near & session.valid]), atol=1e-5)
    assert "invalid    1 interval(s): their bins are unknown" in run("data", "inspect", path).stdout


TRANSPOSED = {
    "nwb LFP": (r"tr\.nwb: lfp: shape \(4, 30000\): 4 samples of 30000 channels, but 4 electrodes: transpose it", "lfp"),
    "nwb behaviour with stamps": (r"tr\.nwb: hand: shape \(2, 1500\) with 1500 time stamps: transpose it", "hand"),
    "nwb behaviour with a rate": (r"tr\.nwb: hand: shape \(2, 1500\): 2 samples of 1500 columns: transpose it", "hand"),
}


def transposed(path: Path, kind: str) -> Path:
    file = new_file()
    add_lfp(file, COUNTS)
    clock = {"timestamps": T} if "stamps" in kind else {"rate": 50.0}
    add_behavior(file, velocity("hand", np.stack([SPEED, -SPEED], axis=1), **clock))
    write(path, file)
    with h5py.File(path, "a") as file:
        series = file["processing/ecephys/LFP/lfp" if kind == "nwb LFP" else "processing/behavior/hand"]
        attributes, values = dict(series["data"].attrs), series["data"][:].T
        del series["data"]
        series.create_dataset("data", data=values).attrs.update(attributes)
    return path


@pytest.mark.parametrize("kind", TRANSPOSED)
def test_transposed_data_in_nwb(tmp_path, kind):
    path = transposed(tmp_path / "tr.nwb", kind)
    message, series = TRANSPOSED[kind]
    with pytest.raises(UserError, match=message):
        read_recording(path, Choices(("hand",)))
    result = run("data", "inspect", path)
    if series == "lfp":
        assert result.exit_code == 2 and "transpose it" in result.stderr
    else:
        assert result.exit_code == 0 and "unusable   hand: " in result.stdout and "transpose it" in result.stdout


@pytest.mark.parametrize(
    ("lfp", "behavior", "message"),
    [
        (COUNTS[:, :1].T, SPEED, r"a\.npz: lfp: shape \(1, 30000\): 1 samples of 30000 channels: transpose it"),
        (COUNTS.T, SPEED, r"a\.npz: lfp: shape \(4, 30000\): 4 samples of 30000 channels: transpose it"),
        (COUNTS, np.stack([SPEED, SPEED]), r"a\.npz: behavior has shape \(2, 1500\): 2 samples of 1500 columns: transpose it"),
    ],
)
def test_transposed_data_in_npz(tmp_path, lfp, behavior, message):
    np.savez(tmp_path / "a.npz", lfp=lfp, lfp_rate=1000, behavior=behavior, behavior_rate=50)
    with pytest.raises(UserError, match=message):
        read_recording(tmp_path / "a.npz")


def test_the_hash_covers_files_that_are_linked_to(tmp_path):
    """Or a prepared session of before would be handed out when they change."""
    path = recording_file(tmp_path / "a.nwb", np.zeros((400, 2), np.int16), velocity("hand", seconds=0.4))
    with h5py.File(path, "a") as file, h5py.File(tmp_path / "hand.h5", "w") as other:
        data = file["processing/behavior/hand/data"]
        moved = other.create_dataset("values", data=data[:])
        moved.attrs.update(data.attrs)
        del file["processing/behavior/hand/data"]
        file["processing/behavior/hand/data"] = h5py.ExternalLink("hand.h5", "/values")
        seven = 7 * moved[:]
    before, values = fingerprint(path), read_recording(path).behavior
    with h5py.File(tmp_path / "new.h5", "w") as other:
        other["values"] = seven
        other["values"].attrs.update({"unit": "m/s", "conversion": 1.0, "offset": 0.0, "resolution": -1.0})
    (tmp_path / "new.h5").replace(tmp_path / "hand.h5")  # the recording that was read holds the old one open
    assert fingerprint(path) != before
    np.testing.assert_allclose(read_recording(path).behavior, 7 * values, rtol=1e-6)
