"""Recordings of features: what is read of them, the bins that a run gets from them, and one-line errors."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from pynwb import TimeSeries

from realm_edge import feature_bins, feature_table
from realm_edge.app import cli
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages import data
from realm_edge.errors import UserError
from realm_edge.progress import Silent
from realm_edge.readers.choices import Choices
from realm_edge.session import load
from realm_edge.settings import Settings, changed
from realm_edge.sources import Recordings
from realm_edge.streams import LFP
from tests.feature_file import feature_file
from tests.nwb_file import new_file, write

SETTINGS = Settings()


def fitted(settings, path):
    return feature_bins.fitted(settings, feature_table.seconds_a_bin(path, "power"), f"{path}: power")


def recordings(*files: Path) -> Recordings:
    return Recordings(files, Choices(("force",)), features="power")


def parts(bins: int) -> tuple[int, int]:
    return bins // 2, 3 * bins // 4


def test_a_bin_is_a_row_and_windows_stay_as_long_in_seconds(tmp_path: Path) -> None:
    path = feature_file(tmp_path / "grip.nwb")
    session, bin_s = feature_table.read(path, "power", "force", SETTINGS, parts)
    assert (session.bins, session.train_end, session.validation_end, session.heldout) == (700, 350, 525, True)
    assert bin_s == pytest.approx(0.1) and not LFP.has_frontend(session)
    found = fitted(changed(SETTINGS, {"window_bins": 400}), path)
    assert (found.bin_ms, found.window_bins) == (100, 80)  # 8 s
    assert fitted(found, path) == found
    assert fitted(changed(SETTINGS, {"window_bins": 60}), path).window_bins == feature_bins.SHORTEST_WINDOW


@pytest.mark.parametrize(
    ("rate", "changes", "message"),
    [
        (30.0, {}, r"grip\.nwb: power: a row every 33\.3333 ms: bins last whole milliseconds: resample it"),
        (10.0, {"output_delay_ms": 20}, r"grip\.nwb: power: a row every 100 ms: output_delay_ms 20 is no multiple of bin_ms 100"),
    ],
)
def test_rows_that_make_no_bins(tmp_path: Path, rate, changes, message) -> None:
    path = feature_file(tmp_path / "grip.nwb", rate=rate)
    with pytest.raises(UserError, match=message):
        fitted(changed(SETTINGS, changes), path)


def test_files_that_are_no_feature_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.nwb: no such file"):
        feature_table.read(tmp_path / "none.nwb", "power", None, SETTINGS, parts)
    (tmp_path / "broken.nwb").write_text("text")
    with pytest.raises(UserError, match=r"broken\.nwb: not readable as NWB 2"):
        feature_table.read(tmp_path / "broken.nwb", "power", None, SETTINGS, parts)


def test_the_last_of_several_files_is_decoded_and_the_settings_split_them(tmp_path: Path) -> None:
    files = [feature_file(tmp_path / f"{name}.nwb", rows=1000) for name in ("monday", "tuesday")]
    run = RunDir.create(tmp_path / "run", fitted(SETTINGS, files[0]))
    summary = data.run(run, Silent(), recordings(*files))
    assert [one.seconds for one in summary.sessions] == [100.0, 100.0] and not summary.synthetic
    first, second = (load(run.file("data", f"{path.stem}.npz")) for path in files)
    assert (first.heldout, first.train_end, first.validation_end) == (False, 900, 1000)
    assert (second.heldout, second.train_end, second.validation_end) == (True, 720, 800)
    fast = feature_file(tmp_path / "wednesday.nwb", rate=20.0)
    with pytest.raises(UserError, match=r"wednesday\.nwb: power: a row every 50 ms, but this run's bins last 100 ms: resample it"):
        data.run(run, Silent(), recordings(*files, fast))


def test_recordings_of_features_that_are_too_short(tmp_path: Path) -> None:
    path = feature_file(tmp_path / "short.nwb", rows=200)
    run = RunDir.create(tmp_path / "run", fitted(SETTINGS, path))
    with pytest.raises(UserError, match=r"short\.nwb: its 20 s leave 16 bins for the validation part, less than one training window of 50"):
        data.run(run, Silent(), recordings(path))


@pytest.mark.parametrize("command", ["run", "data", "evaluate"])
@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (["--features", "voltage"], {}, "grip.nwb: --features voltage: no such series: use --features with one of: force, power"),
        (["--features", "power"], {"other": np.ones(700)}, "2 series beside the features (force, other): choose one with --behavior"),
        (
            ["--features", "power", "--behavior", "speed"],
            {},
            "grip.nwb: --behavior speed: no such series: use --behavior with one of: force, power",
        ),
        (["--features", "power"], {"power": np.full((700, 2), np.nan)}, "grip.nwb: power: row 0 is not finite: fill or crop it"),
        (["--behavior", "force"], {}, "grip.nwb: no LFP in it, only force, power"),
    ],
)
def test_wrong_input_is_one_line_with_status_2(tmp_path: Path, command, arguments, changes, message) -> None:
    path = feature_file(tmp_path / "grip.nwb", **changes)
    result = CliRunner().invoke(cli.main, [command, "--data", str(path), *arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("realm-edge: error: ")]
    assert message in line and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--features power: the synthetic recordings have one of each: leave it out, or give --data"),
        (["--data", "grip.nwb", "--lfp", "power"], "--lfp power: recordings of features (--features power) have none of it: leave it out"),
    ],
)
def test_features_beside_lfp_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    feature_file(Path("grip.nwb"))
    result = CliRunner().invoke(cli.main, ["data", "--features", "power", *arguments, "--out", "run"])
    assert result.exit_code == 2 and message in result.stderr


def test_a_run_is_reopened_with_the_same_series_only(tmp_path: Path) -> None:
    path, out = feature_file(tmp_path / "grip.nwb"), tmp_path / "run"
    given = ["data", "--data", str(path), "--behavior", "force", "--out", str(out)]
    assert CliRunner().invoke(cli.main, given).exit_code == 2  # without --features: an LFP is missing, and a directory is left
    for _ in range(2):
        result = CliRunner().invoke(cli.main, [*given, "--features", "power", "--json"])
        assert result.exit_code == 0, result.stderr
    assert RunDir.open(out).settings.bin_ms == 100
    assert json.loads(result.stdout)["sessions"][0]["provenance"]["feature_series"] == "power"
    result = CliRunner().invoke(cli.main, [*given, "--features", "force"])
    assert result.exit_code == 2 and "this run was made from grip.nwb" in result.stderr


def with_force(path, force, start=0.0, invalid=()):
    """Features at 50 Hz beside a force."""
    file = new_file()
    rows = np.random.default_rng(0).standard_normal((2500, 5))
    file.add_acquisition(TimeSeries(name="power", data=rows, unit="a", starting_time=start, rate=50.0))
    file.add_acquisition(TimeSeries(name="force", data=force, unit="N", rate=50.0))
    for begin, end in invalid:
        file.add_invalid_time_interval(start_time=begin, stop_time=end)
    return write(path, file)


RAMP = np.arange(2500) / 50


def table_of(path, **changes):
    return feature_table.read(path, "power", changes.pop("behavior", None), SETTINGS, lambda bins: (bins // 2, bins * 3 // 4))[0]


def test_invalid_times_are_unknown_rows(tmp_path):
    session = table_of(with_force(tmp_path / "a.nwb", RAMP, invalid=[(10.0, 15.0)]))
    unknown = np.flatnonzero(np.isnan(session.targets[:, 0]))
    assert unknown.tolist() == np.flatnonzero(~session.valid).tolist() and session.starts.tolist() == [0, unknown[0], unknown[-1] + 1]
    assert unknown[0] / 50 == pytest.approx(10.0, abs=0.03) and unknown[-1] / 50 == pytest.approx(15.0, abs=0.03)


USELESS = {
    "another clock": (
        {"force": RAMP, "start": 1000.0},
        r"100 % of the behaviour samples lie outside the features \(behaviour samples 0\.000 to .* s, features 999\.980 to 1049\.980 s\)",
    ),
    "constant": ({"force": np.ones(2500)}, r"behaviour 'force' never changes in the training part"),
    "half": ({"force": RAMP[:1250]}, r"behaviour 'force' is unknown in 50 % of the bins"),
    "no test part": ({"force": RAMP, "invalid": [(37.4, 51.0)]}, r"the behaviour of the whole test part"),
}


@pytest.mark.parametrize("kind", USELESS)
def test_behaviour_of_no_use_beside_features(tmp_path, kind):
    changed, message = USELESS[kind]
    with pytest.raises(UserError, match=rf"a\.nwb: .*({message})"):
        table_of(with_force(tmp_path / "a.nwb", **changed))


def test_features_are_no_behaviour(tmp_path):
    with pytest.raises(UserError, match=r"power: it cannot be features and behaviour at once"):
        table_of(with_force(tmp_path / "a.nwb", RAMP), behavior="power")


@pytest.mark.parametrize(("rate", "bin_ms", "rates"), [(1000.0, 1, (1000, 30000)), (1000 / 3, 3, (1000, 30000)), (50.0, 20, (500, 30000))])
def test_the_rates_of_voltages_do_not_decide_about_features(tmp_path: Path, rate, bin_ms, rates) -> None:
    """Nothing is sensed at them; the settings hold such as a bin has a whole number of samples of."""
    given = changed(Settings(), {"lfp": {"rate_hz": 500, "bands_hz": [[15.0, 35.0]]}})
    own = feature_bins.fitted(given, 1 / rate, "grip.nwb: power")
    assert own.bin_ms == bin_ms and (own.lfp.rate_hz, own.spike.rate_hz) == rates


ROWS = np.random.default_rng(0).standard_normal((700, 5))
DATA = "acquisition/power/data"
WHOLE = {
    "constant": np.full((700, 5), 7.0),
    "zero": np.zeros((700, 5)),
    "constant in the training part": np.where(np.arange(700)[:, None] < 350, 3.0, ROWS),
    "volts squared": 1e-12 * ROWS,
}


@pytest.mark.parametrize("kind", WHOLE)
def test_features_that_never_change_in_the_training_part_are_refused(tmp_path, kind):
    path = feature_file(tmp_path / "a.nwb", power=WHOLE[kind])
    with pytest.raises(UserError, match=r"a\.nwb: power: none of its 5 column\(s\) changes in the training part by more than a millionth"):
        feature_table.read(path, "power", "force", SETTINGS, parts)


def test_columns_that_never_change_are_bad_channels(tmp_path):
    rows = ROWS.copy()
    rows[:, 1], rows[:350, 3] = 4.0, -1.0
    path = feature_file(tmp_path / "a.nwb", power=rows)
    session = feature_table.read(path, "power", "force", SETTINGS, parts)[0]
    assert session.good_channels.tolist() == [True, False, True, False, True]
    (tmp_path / "short.toml").write_text("window_bins = 50")
    arguments = [
        "data",
        "--data",
        str(path),
        "--features",
        "power",
        "--config",
        str(tmp_path / "short.toml"),
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 0 and "a: bad channels [1] are left out" in result.stderr


def replaced(path, **storage):
    """The features' data made anew, with h5py's ``storage``."""
    with h5py.File(path, "a") as file:
        told = dict(file[DATA].attrs)
        del file[DATA]
        file.create_dataset(DATA, **storage).attrs.update(told)
    return path


UNWRITTEN = {
    "chunks": ({"shape": (700, 5), "chunks": (70, 5), "dtype": "f8"}, "10 of its 10 chunks were never written and would be read as 0"),
    "values": ({"shape": (700, 5), "dtype": "f4"}, "its values were never written and would be read as 0"),
    "compound": ({"data": np.zeros(700, [("a", "f4"), ("b", "S4")])}, "no table of numbers: choose another series"),
    "references": ({"shape": (700,), "dtype": h5py.ref_dtype}, "no table of numbers: choose another series"),
}


@pytest.mark.parametrize("kind", UNWRITTEN)
def test_features_that_are_no_numbers_or_were_never_written(tmp_path, kind):
    storage, message = UNWRITTEN[kind]
    with pytest.raises(UserError, match=rf"a\.nwb: power: {message}"):
        feature_table.seconds_a_bin(replaced(feature_file(tmp_path / "a.nwb"), **storage), "power")


def test_one_chunk_that_was_never_written(tmp_path):
    for name, written in (("whole", 700), ("cut", 630)):
        path = replaced(feature_file(tmp_path / f"{name}.nwb"), shape=(700, 5), chunks=(70, 5), dtype="f8")
        with h5py.File(path, "a") as file:
            file[DATA][:written] = ROWS[:written]
    assert feature_table.seconds_a_bin(tmp_path / "whole.nwb", "power") == pytest.approx(0.1)
    with pytest.raises(UserError, match=r"cut\.nwb: power: 1 of its 10 chunks were never written"):
        feature_table.seconds_a_bin(path, "power")


@pytest.mark.parametrize(("name", "value"), [("conversion", np.nan), ("conversion", 0.0), ("offset", np.inf)])
def test_attributes_that_leave_nothing_are_named(tmp_path, name, value):
    path = feature_file(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        file[DATA].attrs[name] = value
    with pytest.raises(UserError, match=rf"a\.nwb: power: its attribute {name} is {value}, which leaves nothing of the data"):
        feature_table.seconds_a_bin(path, "power")


STAMPS = {
    "milliseconds": (1000.0, 0.0, r"a row every 100000 ms: .*are its time stamps in ms, us or ns\? Store them in s"),
    "large": (1.0, 1e15, r"its times reach 1e\+15, where float64 counts in steps of 0\.125, too coarse to tell samples apart"),
    "so large that steps differ": (1.0, 3e13, r"its times reach 3e\+13, where float64 counts in steps of 0\.0039"),
}


@pytest.mark.parametrize("kind", STAMPS)
def test_time_stamps_that_are_no_seconds_or_too_large(tmp_path, kind):
    factor, start, message = STAMPS[kind]
    file = new_file()
    file.add_acquisition(TimeSeries(name="power", data=ROWS, unit="a", timestamps=start + factor * np.arange(700) / 10))
    with pytest.raises(UserError, match=message):
        fitted(SETTINGS, write(tmp_path / "a.nwb", file))


def test_messages_tell_of_features_and_of_rates(tmp_path):
    file = new_file()
    file.add_acquisition(TimeSeries(name="power", data=ROWS, unit="a", rate=1000.0))
    file.add_acquisition(TimeSeries(name="force", data=ROWS[:, 0], unit="N", rate=10.0))
    path = write(tmp_path / "a.nwb", file)
    with pytest.raises(
        UserError, match=r"force: its 700 samples last 69\.9 s, and as many rows of power 0\.699 s: correct the rate of one"
    ):
        feature_table.read(path, "power", "force", SETTINGS, parts)
    file = new_file()
    file.add_acquisition(TimeSeries(name="power", data=ROWS, unit="a", rate=1000.0))
    file.add_acquisition(TimeSeries(name="force", data=ROWS[:699, 0], unit="N", rate=10.0))
    with pytest.raises(UserError, match=r"lie outside the features .*: they are on another clock: convert them$"):  # and no ticks of 10 ms
        feature_table.read(write(tmp_path / "b.nwb", file), "power", "force", SETTINGS, parts)


def test_two_rows_are_too_short_not_on_another_clock(tmp_path):
    path = feature_file(tmp_path / "a.nwb", power=ROWS[:2])
    result = CliRunner().invoke(cli.main, ["data", "--data", str(path), "--features", "power", "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and "a.nwb: its 0.2 s leave " in result.stderr
