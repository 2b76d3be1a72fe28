"""How many electrodes sorted units come from, through every reader; they are what an implant has to sense."""

import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge.app import cli
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.session import describe
from realm_edge.settings import Settings
from tests import lab_files
from tests.nwb_file import add_behavior, add_lfp, electrodes, new_file, velocity, write

SETTINGS = Settings(window_bins=26)
COUNTS = np.random.default_rng(0).integers(-500, 500, (40_000, 4), dtype=np.int16)
T = np.arange(2000) / 50
FIRED = [np.arange(start, 39.0, 0.5) for start in (0.1, 0.2, 0.3)]


def arrays(path, **more):
    behavior = {"behavior": np.stack([np.sin(T), np.cos(T)], axis=1), "behavior_times": T}
    spikes = {"spike_times": np.concatenate(FIRED), "spike_index": np.cumsum([len(unit) for unit in FIRED])}
    np.savez(path, **{"lfp": COUNTS, "lfp_rate": 1000, **behavior, **spikes, **more})
    return path


def known(path, choices=None):
    session = prepare(read_recording(path, choices or Choices()), SETTINGS, heldout=True)
    assert describe(session, SETTINGS).spike_electrodes == session.spike_electrodes
    return session.spike_electrodes


def test_npz(tmp_path):
    assert known(arrays(tmp_path / "unknown.npz")) is None
    assert known(arrays(tmp_path / "two.npz", spike_electrodes=np.array([7, 7, 9]))) == 2
    assert known(arrays(tmp_path / "named.npz", spike_electrodes=np.array(["a", "b", "c"]))) == 3
    wrong = read_recording(arrays(tmp_path / "wrong.npz", spike_electrodes=np.array([7, 7])))
    assert wrong.provenance["units_unusable"].endswith(
        "wrong.npz: spike_electrodes has shape (2,) for 3 units: name one electrode per unit"
    )


def test_who_knows_says_so(tmp_path):
    assert known(arrays(tmp_path / "a.npz"), Choices(spike_electrodes=5)) == 5
    assert known(arrays(tmp_path / "b.npz", spike_electrodes=np.array([7, 7, 9])), Choices(spike_electrodes=96)) == 96


def test_of_units_that_are_left_out_nothing_is_sensed(tmp_path):
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity(seconds=40))
    for times, row, seen in zip(FIRED, (0, 1, 2), ([0.0, 40.0], [0.0, 40.0], [0.0, 5.0]), strict=True):
        file.add_unit(spike_times=times, electrodes=[row], obs_intervals=[seen])
    assert known(write(tmp_path / "a.nwb", file)) == 2


@pytest.mark.parametrize(("rows", "expected"), [([[0], [0], [3]], 2), ([[0, 1, 2, 3]] * 3, 4), ([[1], [2], [3]], 3)])
def test_nwb(tmp_path, rows, expected):
    file = new_file()
    add_lfp(file, COUNTS)
    add_behavior(file, velocity(seconds=40))
    for times, row in zip(FIRED, rows, strict=True):
        file.add_unit(spike_times=times, electrodes=row)
    path = write(tmp_path / "a.nwb", file)
    assert known(path) == expected
    shown = CliRunner().invoke(cli.main, ["data", "inspect", str(path)])
    assert f"; of {expected} electrode(s)\n" in shown.stdout
    converted = CliRunner().invoke(cli.main, ["data", "convert", str(path), str(tmp_path / "a.realm")])
    assert converted.exit_code == 0 and known(tmp_path / "a.realm") == expected


def test_nwb_that_does_not_say(tmp_path):
    file = new_file()
    add_lfp(file, COUNTS, electrodes=electrodes(file, 4))
    add_behavior(file, velocity(seconds=40))
    for times in FIRED:
        file.add_unit(spike_times=times)
    assert known(write(tmp_path / "a.nwb", file)) is None


def test_blackrock(tmp_path):
    labels = [(channel, f"elec{channel}", "uV", 1000) for channel in (1, 2)]
    lab_files.blackrock(tmp_path / "monday.ns2", 30, labels, [(0, COUNTS[:, :2])])
    spikes = [(1000 * index, 1 + index % 2, index % 3) for index in range(30)]
    lab_files.blackrock_events(tmp_path / "monday.nev", [1, 2], spikes, [])
    recording = read_recording(tmp_path / "monday.ns2", Choices(behavior_file=arrays(tmp_path / "behavior.npz")))
    assert len(recording.spike_times) == 6
    assert {each for unit in recording.unit_electrodes for each in unit} == {"1", "2"}


def test_tables(tmp_path):
    lines = [f"{time},{unit},{electrode}" for unit, (times, electrode) in enumerate(zip(FIRED, (4, 4, 6), strict=True)) for time in times]
    (tmp_path / "spikes.csv").write_text("\n".join(["time,unit,electrode", *lines]))
    assert known(arrays(tmp_path / "a.npz"), Choices(units_file=tmp_path / "spikes.csv")) == 2


def test_the_option_reaches_the_recording_and_the_command_that_mends_it(tmp_path):
    (tmp_path / "short.toml").write_text("window_bins = 26")
    words = ["data", "--data", str(arrays(tmp_path / "a.npz")), "--config", str(tmp_path / "short.toml"), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli.main, [*words, "--spike-electrodes", "12", "--json"])
    assert result.exit_code == 0, result.stderr
    assert '"spike_electrodes": 12' in result.stdout
    assert '"--spike-electrodes",' in (tmp_path / "run" / "stages" / "data.options").read_text()
    refused = CliRunner().invoke(cli.main, [*words, "--spike-electrodes", "0"])
    assert refused.exit_code == 2 and "0 is not in the range x>=1" in refused.stderr
