"""The project's own format: what is written is read again, and damage is found."""

import json
from pathlib import Path

import numpy as np
import pytest

from realm_edge.errors import UserError
from realm_edge.readers import cache
from realm_edge.readers.cache import check_free
from realm_edge.readers.choices import Choices
from realm_edge.readers.clock import Clock
from realm_edge.readers.contents import Units
from realm_edge.readers.reading import read_recording
from realm_edge.recording import Recording
from realm_edge.seal import sealed
from realm_edge.table import Rows
from tests import stored_recording
from tests.stored_recording import CHANNELS, SPIKES, behaviors, lfp, signal, stored, written


@pytest.fixture
def monday(tmp_path):
    return written(tmp_path / "monday.realm")


def test_a_stored_recording_is_the_same_and_stays_in_its_file(monday):
    recording = read_recording(monday, Choices(("force",)))
    assert isinstance(recording.lfp, Rows)
    np.testing.assert_array_equal(np.asarray(recording.lfp), lfp())
    np.testing.assert_array_equal(recording.lfp[70:90], lfp()[70:90])
    np.testing.assert_array_equal(recording.good_channels, np.arange(CHANNELS) != 5)
    assert (recording.name, recording.lfp_rate, recording.lfp_start, recording.lfp_scale) == ("monday", 1000.0, 0.25, 2.5e-7)
    assert (recording.lfp_unit, recording.lfp_delay_s, recording.lfp_gaps) == ("V", 0.006, ((1.5, 0.012), (3.25, 0.004)))
    assert recording.channels[:2] == ("ch0", "ch1") and not recording.synthetic
    assert [list(times) for times in recording.spike_times] == [list(times) for times in SPIKES]
    was = behaviors()["force"]
    np.testing.assert_array_equal(recording.behavior, was.values)
    np.testing.assert_array_equal(recording.behavior_times, was.times)
    assert (recording.behavior_names, recording.behavior_unit) == (("force",), "N")
    assert recording.provenance["converted_from"] == "monday.nwb" and recording.provenance["file"] == str(monday)
    with pytest.raises(UserError, match=r"several behaviour series.*force, hand"):
        read_recording(monday)


def test_pauses_offsets_intervals_and_observed_times_stay(tmp_path):
    none = np.zeros(0, np.int64)
    clock = Clock(1000.0, 8000, ((0, 0.25), (3000, 4.5)), none, none)
    trials, invalid = np.array([[0.5, 1.0], [4.75, 6.0]]), np.array([[2.0, 2.5]])
    observed = (np.array([[0.0, 4.0]]), np.zeros((0, 2)), np.array([[0.0, 1.0], [2.0, 3.0]]))
    path = written(
        tmp_path / "a.realm",
        signal=signal(clock=clock, offset=np.arange(CHANNELS) * 1e-6),
        units=Units(SPIKES, observed),
        intervals={"trials": trials, "laps": trials[:1]},
        invalid=invalid,
    )
    recording = read_recording(path, Choices(("hand",), segments="trials"))
    assert recording.stretches == ((0, 3000, 0.25), (3000, 8000, 4.5))
    np.testing.assert_array_equal(recording.lfp_offset, np.arange(CHANNELS) * 1e-6)
    np.testing.assert_array_equal(recording.trials, trials)
    np.testing.assert_array_equal(recording.invalid, invalid)
    for was, now in zip(observed, recording.spike_observed, strict=True):
        np.testing.assert_array_equal(was, now)
    np.testing.assert_array_equal(read_recording(path, Choices(("hand",), segments="laps")).trials, trials[:1])


def test_without_spikes_and_behaviour(tmp_path):
    bare = written(tmp_path / "a.realm", units=Units(()), behaviors={})
    with pytest.raises(UserError, match=r"a\.realm: no behaviour series"):
        read_recording(bare)
    never = written(tmp_path / "b.realm", units=Units((np.zeros(0),)))  # a unit that never fired
    assert [len(times) for times in read_recording(never, Choices(("force",))).spike_times] == [0]


@pytest.mark.parametrize("array", ["lfp", "spike_times", "behavior_0_values", "good_channels"])
def test_a_flipped_byte_is_found(monday, array):
    file = monday / f"{array}.npy"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"{array}\.npy: damaged between byte 0 and 16777216 .*data convert") as caught:
        read_recording(monday, Choices(("hand",)))
    assert "\n" not in str(caught.value)


def test_the_damaged_chunk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_CHUNK", 4096)
    file = written(tmp_path / "a.realm") / "lfp.npy"
    content = bytearray(file.read_bytes())
    content[9000] ^= 128
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"lfp\.npy: damaged between byte 8192 and 12288"):
        read_recording(tmp_path / "a.realm", Choices(("hand",)))
    file.write_bytes(content[:8192])  # whole chunks
    with pytest.raises(UserError, match=r"lfp\.npy: cut short or lengthened"):
        read_recording(tmp_path / "a.realm", Choices(("hand",)))


def test_an_edit_of_the_header_is_found(monday):
    header = monday / "recording.json"
    was = header.read_text()
    for before, after in (('"lfp_scale": 2.5e-07', '"lfp_scale": 3.5e-07'), ('"ch1"', '"ch9"'), ('"digest": "', '"digest": "0')):
        assert before in was
        header.write_text(was.replace(before, after, 1))
        with pytest.raises(UserError, match=r"recording\.json: damaged or edited .*data convert"):
            read_recording(monday, Choices(("hand",)))
    values = json.loads(was)
    del values["digest"]
    header.write_text(json.dumps(values))
    with pytest.raises(UserError, match="damaged or edited"):
        read_recording(monday, Choices(("hand",)))
    header.write_text(was)
    read_recording(monday, Choices(("hand",)))


def _broken(path: Path, kind: str) -> None:
    header = path / "recording.json"
    match kind:
        case "no header":
            header.unlink()
        case "no array":
            (path / "lfp.npy").unlink()
        case "no json":
            header.write_text("{")
        case _:
            values = json.loads(header.read_text())
            if kind == "version":
                values["version"] = 1
            elif kind == "path":
                values["sha256"]["../lfp.npy"] = []
            elif kind == "starts":
                values["lfp_starts"] = []
            elif kind == "chunks":
                values["chunk_bytes"] = 1 << 62
            elif kind == "gaps":
                values["lfp_gaps"] = [[1e308, -1]]
            else:
                values["behaviors"]["hand"]["values"] = "elsewhere.npy"
            header.write_text(json.dumps(sealed({name: value for name, value in values.items() if name != "digest"})))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no header", r"monday\.realm: recording\.json is missing in it"),
        ("no array", r"lfp\.npy: missing"),
        ("no json", r"recording\.json: not readable as JSON"),
        ("version", r"recording\.json: version: .*make it again"),
        ("path", r"recording\.json: sha256\.\.\./lfp\.npy"),
        ("reference", r"monday\.realm: its files do not fit together"),
        ("chunks", r"recording\.json: chunk_bytes: Input should be less than or equal to 1073741824: make it again"),
        ("gaps", r"recording\.json: lfp_gaps\.0\.0: Input should be less than or equal to 1"),
        ("starts", r"monday\.realm: its files do not fit together"),
    ],
)
def test_broken_directories(monday, kind, message):
    _broken(monday, kind)
    with pytest.raises(UserError, match=message) as caught:
        read_recording(monday, Choices(("hand",)))
    assert "\n" not in str(caught.value)


def test_nothing_is_overwritten_and_nothing_half_written_stays(monday, monkeypatch):
    with pytest.raises(UserError, match=r"monday\.realm: exists already"):
        cache.write(stored(), monday)
    with pytest.raises(UserError, match=r"monday\.h5: .* use .*monday\.realm"):
        cache.write(stored(), monday.with_suffix(".h5"))

    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(cache, "write_npy", full)
    with pytest.raises(OSError, match="disk full"):
        cache.write(stored(), monday.with_name("b.realm"))
    assert [path.name for path in monday.parent.iterdir()] == ["monday.realm"]


def test_a_recording_needs_a_signal_and_behaviour_of_one_shape():
    times = np.zeros(3)
    with pytest.raises(UserError, match="a: neither LFP nor spike times"):
        Recording("a", np.zeros((3, 1), np.float32), times, ("x",), "m")
    with pytest.raises(UserError, match=r"a: behaviour has shape \(3, 1\), expected \(3, 2\)"):
        Recording("a", np.zeros((3, 1), np.float32), times, ("x", "y"), "m", spike_times=(times,))
    assert len(lfp()) == stored_recording.RATE * stored_recording.SECONDS


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("n" * 249, "use .*n.realm"),
        ("n" * 250, "use a shorter name, such as a.realm"),
        ("é" * 125, "use a shorter name, such as a.realm"),  # two bytes each
        (".", "use a shorter name"),
        ("/", "use a shorter name"),
    ],
)
def test_a_name_without_the_suffix_gets_one_that_can_be_made(tmp_path, monkeypatch, name, remedy):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"converted to a directory with the suffix .realm: {remedy}"):
        check_free(Path(name))


def test_the_longest_name_that_a_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 249 + ".realm")
    written(path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert read_recording(path, Choices(("hand",))).lfp is not None
    with pytest.raises(OSError) as caught:
        written(tmp_path / ("n" * 250 + ".realm"))
    assert Path(caught.value.filename).name == "n" * 250 + ".realm"  # and not the one that is put together first
