"""The cache format, and what is said about a recording before it is used."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge import cli, quicklook
from realm_edge.errors import UserError
from realm_edge.inspection import SATURATED, describe, inspect, lines
from realm_edge.readers import Choices, cache, fingerprint, read_recording
from realm_edge.readers.contents import Contents, without_behavior
from realm_edge.readers.rails import Rails, rail_share
from realm_edge.recording import BehaviorSeries, Recording
from realm_edge.rundir import RunDir

RATE, SECONDS, CHANNELS = 1000.0, 8, 16
SPIKES = (np.array([0.5, 1.0, 7.5]), np.array([]), np.array([2.0]))


def lfp():
    rng = np.random.default_rng(0)
    t = np.arange(round(SECONDS * RATE)) / RATE
    x = 80 * rng.standard_normal((len(t), CHANNELS)).cumsum(axis=0) / 20 + 200 * np.sin(2 * np.pi * 20 * t)[:, None]
    x = x + rng.normal(0, 20, x.shape)
    x[:, 3] = 5  # dead
    x[:, 9] = np.clip(x[:, 9] * 3, -300, 300)  # clips
    return x.round().astype(np.int16)


def contents(**changed):
    times = np.arange(SECONDS * 100) / 100
    hand = np.stack([np.sin(times), np.cos(times)], axis=1).astype(np.float32)
    hand[100:150] = np.nan
    late = np.delete(times, slice(300, 340))
    values = {
        "name": "monday",
        "lfp": lfp(),
        "lfp_rate": RATE,
        "lfp_start": 0.25,
        "lfp_scale": 2.5e-7,
        "lfp_unit": "V",
        "lfp_gaps": ((1.5, 0.012), (3.25, 0.004)),
        "lfp_delay_s": 0.006,
        "good_channels": np.arange(CHANNELS) != 5,
        "spike_times": SPIKES,
        "provenance": {"file": "monday.nwb", "sha256": "0" * 64, "lfp_series": "lfp"},
    } | changed
    behaviors = {
        "hand": BehaviorSeries(hand, times, ("hand_x", "hand_y"), "cm/s"),
        "force": BehaviorSeries(np.abs(np.sin(late))[:, None].astype(np.float32), late, ("force",), "N"),
    }
    return Contents(Recording(**without_behavior(), **values), behaviors)


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "monday.realm"
    cache.write(contents(), path)
    return path


def test_a_stored_recording_is_the_same_and_mapped_into_memory(stored):
    was, recording = contents(), read_recording(stored, Choices(("force",)))
    assert isinstance(recording.lfp, np.memmap) and not recording.lfp.flags.writeable
    np.testing.assert_array_equal(recording.lfp, was.signals.lfp)
    np.testing.assert_array_equal(recording.good_channels, was.signals.good_channels)
    for name in ("name", "lfp_rate", "lfp_start", "lfp_scale", "lfp_unit", "lfp_gaps", "lfp_delay_s", "synthetic"):
        assert getattr(recording, name) == getattr(was.signals, name), name
    assert [list(times) for times in recording.spike_times] == [list(times) for times in SPIKES]
    np.testing.assert_array_equal(recording.behavior, was.behaviors["force"].values)
    np.testing.assert_array_equal(recording.behavior_times, was.behaviors["force"].times)
    assert (recording.behavior_names, recording.behavior_unit) == (("force",), "N")
    assert recording.provenance["converted_from"] == "monday.nwb" and recording.provenance["file"] == str(stored)
    with pytest.raises(UserError, match=r"several behaviour series.*force, hand"):
        read_recording(stored)


def test_without_spikes_mask_and_behaviour(tmp_path):
    bare = contents(spike_times=(), good_channels=None)
    cache.write(Contents(bare.signals, {}), tmp_path / "a.realm")
    summary, again = inspect(tmp_path / "a.realm")
    assert again.signals.spike_times == () and again.signals.good_channels is None and again.behaviors == {}
    assert summary["units"] == {"count": 0, "spikes": 0, "median_rate_hz": None}
    assert list(lines(summary))[-1] == "behaviour  none: there is nothing to decode"
    cache.write(contents(spike_times=(np.zeros(0),)), tmp_path / "b.realm")  # a unit that never fired
    assert [len(times) for times in read_recording(tmp_path / "b.realm", Choices(("force",))).spike_times] == [0]


@pytest.mark.parametrize("array", ["lfp", "spike_times", "behavior_0_values", "good_channels"])
def test_a_flipped_byte_is_found(stored, array):
    file = stored / f"{array}.npy"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"{array}\.npy: damaged between byte 0 and 16777216 .*data convert") as caught:
        read_recording(stored, Choices(("hand",)))
    assert "\n" not in str(caught.value)


def test_the_damaged_chunk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_CHUNK", 4096)
    cache.write(contents(), tmp_path / "a.realm")
    file = tmp_path / "a.realm" / "lfp.npy"
    content = bytearray(file.read_bytes())
    content[9000] ^= 128
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"lfp\.npy: damaged between byte 8192 and 12288"):
        read_recording(tmp_path / "a.realm", Choices(("hand",)))
    file.write_bytes(content[:8192])  # whole chunks
    with pytest.raises(UserError, match=r"lfp\.npy: cut short or lengthened"):
        read_recording(tmp_path / "a.realm", Choices(("hand",)))


def _broken(stored: Path, kind: str) -> None:
    header = stored / "recording.json"
    match kind:
        case "no header":
            header.unlink()
        case "no array":
            (stored / "lfp.npy").unlink()
        case "no json":
            header.write_text("{")
        case _:
            values = json.loads(header.read_text())
            if kind == "version":
                values["version"] = 2
            elif kind == "path":
                values["sha256"]["../lfp.npy"] = []
            else:
                values["behaviors"]["hand"]["values"] = "elsewhere.npy"
            header.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no header", r"monday\.realm: recording\.json is missing in it"),
        ("no array", r"lfp\.npy: missing"),
        ("no json", r"recording\.json: not readable as JSON"),
        ("version", r"recording\.json: version: "),
        ("path", r"recording\.json: sha256\.\.\./lfp\.npy"),
        ("reference", r"monday\.realm: its files do not fit together"),
    ],
)
def test_broken_directories(stored, kind, message):
    _broken(stored, kind)
    with pytest.raises(UserError, match=message) as caught:
        read_recording(stored, Choices(("hand",)))
    assert "\n" not in str(caught.value)


def test_nothing_is_overwritten_and_nothing_half_written_stays(stored, monkeypatch):
    with pytest.raises(UserError, match=r"monday\.realm: exists already"):
        cache.write(contents(), stored)
    with pytest.raises(UserError, match=r"monday\.h5: .* use .*monday\.realm"):
        cache.write(contents(), stored.with_suffix(".h5"))

    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="disk full"):
        cache.write(contents(), stored.with_name("b.realm"))
    assert [path.name for path in stored.parent.iterdir()] == ["monday.realm"]


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


def test_what_is_said():
    summary = describe(contents())
    json.dumps(summary, allow_nan=False)
    assert (
        summary["lfp"] | {"channels": 16, "samples": 8000, "rate_hz": 1000.0, "seconds": 8.0, "unit": "V", "delay_ms": 6.0}
        == summary["lfp"]
    )
    assert summary["gaps"] == [{"start_s": 1.5, "length_s": 0.012}, {"start_s": 3.25, "length_s": 0.004}]
    assert summary["dead_channels"] == [3] and summary["masked_channels"] == [5]
    assert list(summary["saturated_channels"]) == ["9"] and summary["saturated_channels"]["9"] > 10 * SATURATED
    assert summary["units"] == {"count": 3, "spikes": 4, "median_rate_hz": 1 / 8}
    hand, force = summary["behaviors"]["hand"], summary["behaviors"]["force"]
    assert (hand["columns"], hand["unit"], hand["nan_share"], hand["gaps"]) == (["hand_x", "hand_y"], "cm/s", 50 / 800, 0)
    assert hand["rate_hz"] == pytest.approx(100) and (force["gaps"], force["longest_gap_s"]) == (1, pytest.approx(0.41))
    text = "\n".join(lines(summary))
    for part in ("16 channel(s), 1000 Hz, 8.0 s from 0.250 s", "2, the longest 12.0 ms at 1.500 s", "dead       3", "masked     5"):
        assert part in text
    assert "6.2 % NaN" in text and "1 gap(s), the longest 0.410 s" in text


def test_raw_rails_are_told_where_the_lfp_was_resampled():
    share = np.full(CHANNELS, 1e-5, np.float32)
    share[[0, 1]] = [1.0, 0.25]
    summary = describe(contents(rail_share=share))
    assert (summary["dead_channels"], summary["saturated_channels"]) == ([0], {"1": 0.25})


def _pixels(path: Path) -> np.ndarray:
    image = matplotlib.image.imread(path)
    assert image.ndim == 3 and image.shape[0] > 500 and image.shape[1] > 1000
    return image[..., :3]


def test_the_picture_shows_the_signals(tmp_path):
    made = contents()
    quicklook.draw(made, describe(made), tmp_path / "a.png")
    first = _pixels(tmp_path / "a.png")
    red = np.isclose(first, np.array([0xD5, 0x5E, 0x00]) / 255, atol=0.02).all(axis=-1).sum()
    assert red > 200  # the channels with faults
    quicklook.draw(made, describe(made), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    other = contents(lfp=np.flip(lfp(), axis=0).copy())
    quicklook.draw(other, describe(other), tmp_path / "c.png")
    assert (_pixels(tmp_path / "c.png") != first).any()


def test_channels_with_faults_are_among_those_shown():
    assert quicklook._shown_channels(4, {1}).tolist() == [0, 1, 2, 3]
    shown = quicklook._shown_channels(96, {7, 50, 95}).tolist()
    assert len(shown) == 12 == len(set(shown)) and {0, 7, 50, 94, 95} <= set(shown) and shown == sorted(shown)
    assert quicklook._shown_channels(96, set(range(96))).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["one channel", "all dead", "no behaviour", "short", "other clock"])
def test_pictures_of_odd_recordings(tmp_path, kind):
    made = contents()
    match kind:
        case "one channel":
            made = contents(lfp=lfp()[:, :1], good_channels=None, lfp_unit="a.u.")
        case "all dead":
            made = contents(lfp=np.zeros((4000, 2), np.int16), good_channels=None)
        case "no behaviour":
            made = Contents(made.signals, {})
        case "short":
            made = contents(lfp=lfp()[:30])
        case "other clock":
            made = contents(lfp_start=500.0)
    quicklook.draw(made, describe(made), tmp_path / "a.png")
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
    assert wrong.exit_code == 2 and "no behaviour series 'speed'" in wrong.stderr and not Path("b.realm").exists()


def test_options_before_a_subcommand_are_refused(npz):
    result = _invoke("data", "--behavior", "speed", "inspect", "monday.npz")
    assert result.exit_code == 2 and "options of 'inspect' come after it" in result.stderr
