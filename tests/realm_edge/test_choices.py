"""What is taken of a recording: channels, and behaviour and spikes from other files."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from realm_edge.app import cli
from realm_edge.errors import UserError
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import fingerprint, lfp_rate, read_recording
from realm_edge.session import load
from realm_edge.settings import Settings
from realm_edge.sources import Recordings, fitted
from tests.nwb_file import add_behavior, add_lfp, electrical_series, electrodes, new_file, region, velocity, write

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

SETTINGS = Settings(window_bins=26)
COUNTS = np.random.default_rng(0).integers(-500, 500, (30_000, 6), dtype=np.int16)
T = np.arange(1500) / 50
SPIKES = [np.array([1.0, 2.5, 29.0]), np.array([7.25])]


@pytest.fixture
def arrays(tmp_path):
    """Six channels on electrodes that have labels and groups, without behaviour and spikes."""
    file = new_file()
    electrodes(file, 6)
    file.add_electrode_column(name="label", description="names", data=["a1", "a2", "a3", "b1", "b2", "ref"])
    file.add_electrode_column(name="shank", description="of the probe", data=[0, 0, 1, 1, 1, 1])
    file.add_acquisition(electrical_series("lfp", COUNTS, region(file, range(6)), rate=1000.0, conversion=2e-7))
    return write(tmp_path / "arrays.nwb", file)


@pytest.fixture
def hand(tmp_path):
    """The behaviour of the recording, from 0 s on."""
    pd.DataFrame({"time": T, "x": np.sin(T), "y": np.cos(T)}).to_csv(tmp_path / "hand.csv", index=False)
    return tmp_path / "hand.csv"


@pytest.mark.parametrize(
    ("take", "leave", "expected"),
    [
        ((), (), [0, 1, 2, 3, 4, 5]),
        (("0",), (), [0]),
        (("2-4",), (), [2, 3, 4]),
        (("0,2-3", "5"), (), [0, 2, 3, 5]),
        (("b2, a1",), (), [0, 4]),  # in the file's order
        (("shank=1",), (), [2, 3, 4, 5]),
        (("shank=1",), ("ref",), [2, 3, 4]),
        ((), ("ref", "0-1"), [2, 3, 4]),
        (("label=a3",), (), [2]),
        (("id=4",), (), [4]),
    ],
)
def test_channels(arrays, hand, take, leave, expected):
    recording = read_recording(arrays, Choices(channels=take, without_channels=leave, behavior_file=hand, behavior=("x",)))
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS[:, expected])
    assert recording.channels == tuple(np.array(["a1", "a2", "a3", "b1", "b2", "ref"])[expected])
    assert recording.good_channels.shape == (len(expected),)
    assert recording.provenance.get("channels") == (None if len(expected) == 6 else f"{len(expected)} of 6 taken")


@pytest.mark.parametrize(
    ("take", "leave", "message"),
    [
        (
            ("7",),
            (),
            r"arrays\.nwb: lfp: --channels 7: no such channel: use numbers or ranges from 0 to 5, names \(a1, a2, a3, b1, b2, ref\)",
        ),
        (("4-2",), (), "--channels 4-2: no such channel"),
        (("c1",), (), "--channels c1: no such channel: .* or column=value with one of id, .*shank"),
        (("shank=9",), (), "--channels shank=9: no such channel"),
        ((), ("0-5",), "no channel is left of 6: take fewer out with --without-channels"),
        ((), ("x",), "--without-channels x: no such channel"),
    ],
)
def test_channels_that_are_not_there(arrays, hand, take, leave, message):
    with pytest.raises(UserError, match=message):
        read_recording(arrays, Choices(channels=take, without_channels=leave, behavior_file=hand))


def test_the_command_line_takes_channels(arrays, hand, tmp_path):
    (tmp_path / "short.toml").write_text("window_bins = 26\n[lfp]\nrate_hz = 1000")
    given = ["data", "--data", str(arrays), "--behavior-file", str(hand), "--config", str(tmp_path / "short.toml"), "--channels", "shank=1"]
    result = CliRunner().invoke(cli.main, [*given, "--without-channels", "ref", "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    session = load(tmp_path / "run" / "data" / "arrays.npz")
    np.testing.assert_array_equal(np.asarray(session.lfp), COUNTS[: session.bins * 20, 2:5])
    assert session.target_names == ("x", "y")  # all columns of a table that was named for its behaviour
    again = CliRunner().invoke(cli.main, [*given, "--out", str(tmp_path / "run")])
    assert again.exit_code == 2 and "this run was made from arrays.nwb" in again.stderr  # other channels are another run


def behavior_file(tmp_path, kind, times):
    path = tmp_path / f"hand.{kind}"
    values = np.stack([np.sin(T), np.cos(T)], axis=1)
    table = pd.DataFrame({"Time": times, "x": values[:, 0], "y": values[:, 1], "note": "text"})
    match kind:
        case "npz":
            np.savez(path, behavior=values, behavior_times=times)
        case "csv":
            table.to_csv(path, index=False)
        case "tsv":
            table.to_csv(path, index=False, sep="\t")
        case "parquet":
            pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'realm-edge[formats]'")
            table.to_parquet(path)
        case "nwb":
            file = new_file()
            add_behavior(file, velocity("hand", values, timestamps=times))
            write(path, file)
    return path


@pytest.mark.parametrize("kind", ["npz", "csv", "tsv", "parquet", "nwb"])
@pytest.mark.parametrize("offset", [0.0, 100.0, -3.25])
def test_behaviour_from_another_file_on_another_zero(arrays, tmp_path, kind, offset):
    path = behavior_file(tmp_path, kind, T - offset)
    recording = read_recording(arrays, Choices(behavior_file=path, sync_offset=offset))
    np.testing.assert_allclose(recording.behavior, np.stack([np.sin(T), np.cos(T)], axis=1), atol=1e-6)
    np.testing.assert_allclose(recording.behavior_times, T, atol=1e-9)
    assert recording.provenance["behavior_file"] == str(path)
    session = prepare(recording, SETTINGS, heldout=True)
    np.testing.assert_allclose(session.targets[:1400, 1], np.cos(0.02 * np.arange(1, 1401)), atol=0.021)
    if offset == 100.0:
        with pytest.raises(UserError, match=r"100 % of the behaviour samples lie outside .*--behavior-file and --sync-offset 100"):
            read_recording(arrays, Choices(behavior_file=path))


def units_file(tmp_path, kind, offset=0.0):
    path = tmp_path / f"units.{kind}"
    spikes, ends = np.concatenate(SPIKES) - offset, np.cumsum([len(unit) for unit in SPIKES])
    table = pd.DataFrame({"times": spikes, "cluster": np.repeat([3, 8], [3, 1])}).sample(frac=1.0, random_state=0)
    match kind:
        case "npz":
            np.savez(path, spike_times=spikes, spike_index=ends)
        case "csv":
            table.to_csv(path, index=False)
        case "parquet":
            pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'realm-edge[formats]'")
            table.to_parquet(path)
        case "nwb":
            file = new_file()
            for unit in np.split(spikes, ends[:-1]):
                file.add_unit(spike_times=unit)
            write(path, file)
    return path


@pytest.mark.parametrize("kind", ["npz", "csv", "parquet", "nwb"])
@pytest.mark.parametrize("offset", [0.0, -2000.0])
def test_spikes_from_another_file(arrays, hand, tmp_path, kind, offset):
    path = units_file(tmp_path, kind, offset)
    shifted = behavior_file(tmp_path, "npz", T - offset)  # one offset is for both files
    recording = read_recording(arrays, Choices(behavior_file=shifted, units_file=path, sync_offset=offset))
    for found, expected in zip(recording.spike_times, SPIKES, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
    counts = prepare(recording, SETTINGS, heldout=True).counts
    assert [np.flatnonzero(column).tolist() for column in counts.T] == [[50, 125, 1450], [362]]


def test_other_files_through_the_command_line(arrays, tmp_path):
    hand, units = behavior_file(tmp_path, "csv", T - 5.0), units_file(tmp_path, "csv", 5.0)
    (tmp_path / "short.toml").write_text("window_bins = 26")
    given = ["data", "--data", str(arrays), "--behavior-file", str(hand), "--units-file", str(units), "--sync-offset", "5"]
    result = CliRunner().invoke(cli.main, [*given, "--config", str(tmp_path / "short.toml"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    session = load(tmp_path / "run" / "data" / "arrays.npz")
    assert session.counts.sum() == 4 and session.target_names == ("x", "y")
    shown = CliRunner().invoke(cli.main, ["data", "inspect", str(arrays), "--behavior-file", str(hand), "--sync-offset", "5"])
    assert shown.exit_code == 0 and "behaviour  x: 1 dim(s), a.u., 50 Hz" in shown.stdout
    converted = CliRunner().invoke(cli.main, ["data", "convert", str(arrays), str(tmp_path / "a.realm"), *given[3:]])
    assert converted.exit_code == 0, converted.output
    recording = read_recording(tmp_path / "a.realm", Choices(("x", "y")))
    np.testing.assert_allclose(recording.behavior_times, T, atol=1e-9)
    assert [len(unit) for unit in recording.spike_times] == [3, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("frame,x\n1,2\n2,3\n", r"hand\.csv: it has columns frame, x, and none of times: call it 'time', in s"),
        ("time,x\n1,2\n1,3\n", r"hand\.csv: time 1\.0 of sample 1 does not follow the one before"),
        ("time,note\n1,a\n2,b\n", r"hand\.csv: no behaviour series"),
        ("time,x\n", r"hand\.csv: an empty table"),
    ],
)
def test_tables_that_hold_no_behaviour(arrays, tmp_path, content, message):
    (tmp_path / "hand.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_recording(arrays, Choices(behavior_file=tmp_path / "hand.csv"))


def test_files_that_are_not_what_they_are_named_for(arrays, hand, tmp_path):
    with pytest.raises(UserError, match=r"hand\.csv: it has columns .* none that names the unit of each spike: call it 'unit'"):
        read_recording(arrays, Choices(behavior_file=hand, units_file=hand))
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        read_recording(arrays, Choices(behavior_file=tmp_path / "none.csv"))
    (tmp_path / "hand.parquet").write_text("text")
    with pytest.raises(UserError, match=r"hand\.parquet: (not readable as a table|Parquet is read by pyarrow)"):
        read_recording(arrays, Choices(behavior_file=tmp_path / "hand.parquet"))


def test_the_fingerprint_is_of_all_files(arrays, hand, tmp_path):
    alone = fingerprint(arrays)
    both = fingerprint(arrays, Choices(behavior_file=hand))
    assert alone != both
    hand.write_text(hand.read_text() + "30.0,1,1\n")
    assert fingerprint(arrays, Choices(behavior_file=hand)) not in (alone, both)
    (tmp_path / "laps.csv").write_text("start,stop\n1,2\n")
    assert fingerprint(arrays, Choices(segments=str(tmp_path / "laps.csv"))) != alone
    assert fingerprint(arrays, Choices(segments="trials")) == alone


REAL_RATES = [
    2500.0159,
    2499.9904,
    1249.9978,
    1250.0053,
    1017.252604,
    2034.505208,
    1526.0,
    999.9996,
    1000.002,
    1000.02,
    2000.0093,
    625.00213,
]


@pytest.mark.parametrize("rate", REAL_RATES)
def test_calibrated_rates_are_decoded(tmp_path, rate):
    """SpikeGLX's, Allen's, TDT's and drifting clocks, which were refused once."""
    file = new_file()
    samples = round(20 * rate)
    add_lfp(file, np.random.default_rng(0).integers(-500, 500, (samples, 2), dtype=np.int16), rate=rate)
    add_behavior(file, velocity(seconds=20.0))
    path = write(tmp_path / "rate.nwb", file)
    assert lfp_rate(path) == rate
    (tmp_path / "short.toml").write_text("window_bins = 26\n[lfp]\nrate_hz = 1000")
    result = CliRunner().invoke(
        cli.main, ["data", "--data", str(path), "--config", str(tmp_path / "short.toml"), "--out", str(tmp_path / "run")]
    )
    assert result.exit_code == 0, result.output
    session = load(tmp_path / "run" / "data" / "rate.npz")
    assert session.bins in (998, 999, 1000)
    resampled = abs(rate / 1000 - 1) * samples > 0.5
    assert ("resampled" in session.provenance) == resampled == (session.resampling_delay_s > 0)
    said = " ".join(result.stderr.split())
    assert ("which counts as latency" in said) == resampled


def test_bands_that_the_rate_cannot_hold_are_left_out_and_said(tmp_path):
    file = new_file()
    add_lfp(file, np.random.default_rng(0).integers(-500, 500, (5000, 2), dtype=np.int16), rate=250.0)
    add_behavior(file, velocity(seconds=20.0))
    path = write(tmp_path / "slow.nwb", file)
    (tmp_path / "short.toml").write_text("window_bins = 26")
    given = ["data", "--data", str(path), "--config", str(tmp_path / "short.toml")]
    result = CliRunner().invoke(cli.main, [*given, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    assert "LFP at 250 Hz has no 70 to 200 Hz: left out of the preset's bands; lfp.bands_hz in --config sets others" in said
    assert load(tmp_path / "run" / "data" / "slow.npz").features.shape[1] == 2 * 4
    (tmp_path / "short.toml").write_text("window_bins = 26\n[lfp]\nbands_hz = [[2.0, 150.0]]")  # who asks for a band is told
    result = CliRunner().invoke(cli.main, [*given, "--out", str(tmp_path / "other")])
    assert result.exit_code == 2 and "LFP at 250 Hz is too slow for a band up to 150 Hz: lower lfp.bands_hz" in result.stderr


def test_a_rate_in_khz_and_an_offset_that_is_no_number_are_refused(arrays, hand, tmp_path):
    values = np.random.default_rng(0).integers(-500, 500, (30_000, 2)).astype(np.int16)
    np.savez(tmp_path / "khz.npz", lfp=values, lfp_rate=1.0, behavior=np.sin(T), behavior_times=T)
    with pytest.raises(UserError, match=r"khz\.npz: LFP at 1 Hz is too slow for every band .* in kHz"):
        fitted(SETTINGS, Recordings((tmp_path / "khz.npz",)))
    with pytest.raises(UserError, match=r"--sync-offset nan: use a number of seconds"):
        Recordings((arrays,), Choices(), (hand,), sync_offsets=(float("nan"),)).check()


@pytest.mark.parametrize(("part", "interval"), [("training", (0.0, 22.0)), ("test", (24.0, 30.0))])
def test_a_part_of_which_nothing_is_known_is_refused(tmp_path, part, interval):
    values = np.random.default_rng(0).integers(-500, 500, (30_000, 2)).astype(np.int16)
    path = tmp_path / "void.npz"
    np.savez(path, lfp=values, lfp_rate=1000, behavior=np.sin(T), behavior_times=T, invalid_times=np.array([interval]))
    with pytest.raises(UserError, match=rf"void\.npz: the behaviour of the whole {part} part .* is unknown"):
        prepare(read_recording(path), SETTINGS, heldout=True)
