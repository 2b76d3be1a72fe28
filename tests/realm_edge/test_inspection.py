"""What is said about a recording before it is used, its picture, and its conversion."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge import quicklook
from realm_edge.app import cli
from realm_edge.app.inspection_text import lines
from realm_edge.app.rundir import RunDir
from realm_edge.inspection import SATURATED, inspect
from realm_edge.readers.clock import Clock
from realm_edge.readers.contents import Units
from realm_edge.readers.rails import Rails, rail_share
from realm_edge.readers.reading import fingerprint
from tests.stored_recording import CHANNELS, lfp, signal, written


@pytest.fixture
def monday(tmp_path):
    return inspect(written(tmp_path / "monday.realm"))


def test_rails_block_by_block():
    x = np.random.default_rng(0).integers(-3, 4, (1000, 4), dtype=np.int16)
    x[:, 1] = -7
    x[:, 2] = np.where(np.arange(1000) % 2, 5, 9)
    rails = Rails()
    for block in np.split(x, [1, 10, 10, 500]):
        rails.add(block)
    share = rails.share()
    np.testing.assert_array_equal(share, rail_share(x))
    np.testing.assert_allclose(share[0], ((x[:, 0] == -3) | (x[:, 0] == 3)).mean(), rtol=1e-6)
    assert share[1] == 1.0 and 0.999 < share[2] < 1.0


def test_what_is_said(monday):
    summary = monday.summary
    json.dumps(summary, allow_nan=False)
    assert (
        summary["lfp"] | {"channels": 16, "samples": 8000, "rate_hz": 1000.0, "seconds": 8.0, "unit": "V", "delay_ms": 6.0}
        == summary["lfp"]
    )
    assert summary["gaps"] == [{"start_s": 1.5, "length_s": 0.012}, {"start_s": 3.25, "length_s": 0.004}]
    assert summary["dead_channels"] == [3] and summary["masked_channels"] == [5]
    assert list(summary["saturated_channels"]) == ["9"] and summary["saturated_channels"]["9"] > 10 * SATURATED
    assert summary["units"] == {"count": 3, "electrodes": None, "spikes": 4, "outside": 0, "median_rate_hz": 1 / 8}
    hand, force = summary["behaviors"]["hand"], summary["behaviors"]["force"]
    assert (hand["columns"], hand["unit"], hand["nan_share"], hand["gaps"]) == (["hand_x", "hand_y"], "cm/s", 50 / 800, 0)
    assert hand["rate_hz"] == pytest.approx(100) and (force["gaps"], force["longest_gap_s"]) == (1, pytest.approx(0.41))
    text = "\n".join(lines(summary))
    assert "pauses" not in text and summary["pauses"] == []
    for part in (
        "16 channel(s), 1000 Hz, 8.0 s from 0.250 s, 6.00 ms late",
        "2, the longest 12.0 ms at 1.500 s",
        "dead       3",
        "masked     5",
    ):
        assert part in text
    assert "6.25 % NaN" in text and "1 gap(s), the longest 0.410 s" in text


def test_raw_rails_are_told_where_the_lfp_was_resampled(tmp_path):
    share = np.full(CHANNELS, 1e-5, np.float32)
    share[[0, 1]] = [1.0, 0.25]
    summary = inspect(written(tmp_path / "a.realm", signal=signal(rail_share=share))).summary
    assert (summary["dead_channels"], summary["saturated_channels"]) == ([0], {"1": 0.25})


def test_pauses_spikes_outside_and_intervals_are_told(tmp_path):
    none = np.zeros(0, np.int64)
    clock = Clock(1000.0, 8000, ((0, 0.25), (3000, 4.5)), none, none)  # 0.25 to 3.25 s, 4.5 to 9.5 s
    path = written(
        tmp_path / "a.realm",
        signal=signal(clock=clock, gaps=()),
        units=Units((np.array([1.0, 3.5, 4.0, 5.0]), np.array([9.0]))),
        intervals={"trials": np.array([[0.5, 1.0], [5.0, 6.0]])},
        invalid=np.array([[2.0, 2.5]]),
    )
    summary = inspect(path).summary
    assert summary["pauses"] == [{"start_s": 3.25, "length_s": 1.25}] and summary["lfp"]["seconds"] == 8.0
    assert summary["units"] == {"count": 2, "electrodes": None, "spikes": 3, "outside": 2, "median_rate_hz": 1.5 / 8}
    assert summary["intervals"] == {"trials": 2} and summary["invalid_times"] == [[2.0, 2.5]]
    text = "\n".join(lines(summary))
    assert "pauses     1, the longest 1.250 s at 3.250 s: a segment starts after each" in text and "gaps       none" in text
    assert "units      2, 3 spikes, median 0.19 Hz; 2 more outside the LFP; of an unknown number of electrodes" in text
    assert "intervals  trials: 2; --segments trials makes them segments" in text and "invalid    1 interval(s)" in text
    assert "40.0 % of the spikes lie outside the LFP" in text


def test_without_spikes_mask_and_behaviour(tmp_path):
    bare = written(tmp_path / "a.realm", units=Units(()), behaviors={}, signal=signal(good=np.ones(CHANNELS, bool)))
    found = inspect(bare)
    assert found.recording.spike_times == () and found.behaviors == {} and found.summary["masked_channels"] == []
    assert found.summary["units"] == {"count": 0, "electrodes": None, "spikes": 0, "outside": 0, "median_rate_hz": None}
    assert list(lines(found.summary))[-1] == "behaviour  none: there is nothing to decode"


def _pixels(path: Path) -> np.ndarray:
    image = matplotlib.image.imread(path)
    assert image.ndim == 3 and image.shape[0] > 500 and image.shape[1] > 1000
    return image[..., :3]


def test_the_picture_shows_the_signals(tmp_path, monday):
    quicklook.draw(monday, tmp_path / "a.png")
    first = _pixels(tmp_path / "a.png")
    red = np.isclose(first, np.array([0xD5, 0x5E, 0x00]) / 255, atol=0.02).all(axis=-1).sum()
    assert red > 200  # the channels with faults
    quicklook.draw(monday, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    other = written(tmp_path / "other.realm", signal=signal(np.flip(lfp(), axis=0).copy()))
    quicklook.draw(inspect(other), tmp_path / "c.png")
    assert (_pixels(tmp_path / "c.png") != first).any()


def test_channels_with_faults_are_among_those_shown():
    assert quicklook._shown_channels(4, {1}).tolist() == [0, 1, 2, 3]
    shown = quicklook._shown_channels(96, {7, 50, 95}).tolist()
    assert len(shown) == 12 == len(set(shown)) and {0, 7, 50, 94, 95} <= set(shown) and shown == sorted(shown)
    assert quicklook._shown_channels(96, set(range(96))).tolist() == [0, 1, 2, 3, 4, 5]


PAUSES = Clock(1000.0, 8000, ((0, 0.25), (3000, 300.0)), np.zeros(0, np.int64), np.zeros(0, np.int64))
LATE = Clock(1000.0, 8000, ((0, 500.0),), np.zeros(0, np.int64), np.zeros(0, np.int64))


@pytest.mark.parametrize(
    "changed",
    [
        {"signal": signal(lfp()[:, :1], unit="a.u.")},
        {"signal": signal(np.zeros((4000, 2), np.int16))},
        {"behaviors": {}},
        {"signal": signal(lfp()[:30])},
        {"signal": signal(clock=PAUSES)},
        {"signal": signal(clock=LATE), "units": Units(())},
    ],
    ids=["one channel", "all dead", "no behaviour", "short", "pause", "other clock"],
)
def test_pictures_of_odd_recordings(tmp_path, changed):
    quicklook.draw(inspect(written(tmp_path / "a.realm", **changed)), tmp_path / "a.png")
    assert _pixels(tmp_path / "a.png").std() > 0.02


@pytest.fixture
def npz(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times = np.arange(0, 30, 0.02)
    rng = np.random.default_rng(0)
    np.savez(
        "monday.npz",
        lfp=rng.integers(-500, 500, (30_000, 4), dtype=np.int16),
        lfp_rate=1000.0,
        behavior=np.sin(times),
        behavior_times=times,
    )
    return Path("monday.npz")


def _invoke(*arguments: str):
    return CliRunner().invoke(cli.main, arguments)


def test_command_inspect(npz):
    result = _invoke("data", "inspect", "monday.npz", "--png", "look/monday.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1] == "LFP        4 channel(s), 1000 Hz, 30.0 s from 0.000 s"
    _pixels(Path("look/monday.png"))
    summary = json.loads(_invoke("data", "inspect", "monday.npz", "--json").stdout)
    assert summary["sha256"] == fingerprint(npz) and list(summary["behaviors"]) == ["behavior"]
    wrong = _invoke("data", "inspect", "tuesday.npz")
    assert (wrong.exit_code, wrong.stderr) == (2, "realm-edge: error: tuesday.npz: no such file\n")
    assert "--session 2: this file holds one session" in _invoke("data", "inspect", "monday.npz", "--session", "2").stderr


def test_command_convert_and_data_on_what_it_wrote(npz):
    assert _invoke("data", "convert", "monday.npz", "monday.realm").exit_code == 0
    assert json.loads(_invoke("data", "inspect", "monday.realm", "--json").stdout)["lfp"]["channels"] == 4
    Path("short.toml").write_text("window_bins = 50")
    for source, out in (("monday.npz", "a"), ("monday.realm", "b")):
        result = _invoke("data", "--data", source, "--config", "short.toml", "--out", out)
        assert result.exit_code == 0, result.output
    with np.load("a/data/monday.npz") as direct, np.load("b/data/monday.npz") as cached:
        for name in ("lfp", "features", "targets"):
            np.testing.assert_array_equal(direct[name], cached[name])
    assert RunDir.open(Path("b")).requested("data")["recordings"] == [["monday.realm", fingerprint(Path("monday.realm"))]]
    again = _invoke("data", "convert", "monday.npz", "monday.realm")
    assert again.exit_code == 2 and again.stderr.startswith("realm-edge: error: monday.realm: exists already")
    wrong = _invoke("data", "convert", "monday.npz", "b.realm", "--behavior", "speed")
    assert wrong.exit_code == 2 and "--behavior speed: no such series" in wrong.stderr and not Path("b.realm").exists()


def test_options_before_a_subcommand_are_refused(npz):
    result = _invoke("data", "--behavior", "speed", "inspect", "monday.npz")
    assert result.exit_code == 2 and "options of 'inspect' come after it" in result.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("monday.npz", "monday.npz: exists, and is no PNG: name another file with --png"),
        ("tiny.toml", "tiny.toml: exists, and is no PNG"),
        ("a.realm/header.json", "a.realm/header.json: lies in a recording"),
        ("a.realm/new.png", "a.realm/new.png: lies in a recording"),
    ],
)
def test_a_picture_takes_the_place_of_nothing_else(npz: Path, name: str, said: str) -> None:
    Path("tiny.toml").write_text("bin_ms = 20\n")
    written(Path("a.realm"))
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    result = _invoke("data", "inspect", "monday.npz", "--png", name)
    assert result.exit_code == 2 and said in result.stderr
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_picture_takes_the_place_of_an_older_one(npz: Path) -> None:
    Path("a.png").write_bytes(b"\x89PNG of old")
    assert _invoke("data", "inspect", "monday.npz", "--png", "a.png").exit_code == 0
    _pixels(Path("a.png"))
