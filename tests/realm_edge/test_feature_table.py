"""Recordings of features: what is read of them, the bins that a run gets from them, and one-line errors."""

import json
from pathlib import Path

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
        r"100 % of the behaviour samples lie outside the LFP",
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
