"""Recordings that pause, have trials and come in parts: segments of a session."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from realm_edge.app import cli
from realm_edge.cutting import split
from realm_edge.errors import UserError
from realm_edge.frontend import design, lfp_features
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.recording import Recording
from realm_edge.segments import bounds
from realm_edge.session import load, save
from realm_edge.settings import SIX_BANDS, Settings
from realm_edge.table import Rows
from tests.nwb_file import add_behavior, electrical_series, electrodes, new_file, velocity, write

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

SETTINGS = Settings(lfp=SIX_BANDS, window_bins=26)
COUNTS = np.random.default_rng(0).integers(-500, 500, (40_000, 3), dtype=np.int16)
CLOCK = np.arange(8000) / 100  # s; the behaviour is the time itself, so that alignment shows


def paused(path, rate=1000.0, **more):
    """Forty seconds of LFP with a pause of 10 s after the first 15 s."""
    rows = round(40 * rate)
    lfp = COUNTS if rate == 1000.0 else np.random.default_rng(1).integers(-500, 500, (rows, 3), dtype=np.int16)
    times = np.arange(rows) / rate
    times[round(15 * rate) :] += 10.0
    np.savez(
        path, lfp=lfp, lfp_times=times, behavior=CLOCK, behavior_times=CLOCK, spike_times=[14.99, 20.0, 25.01], spike_index=[3], **more
    )
    return path


def test_a_pause_makes_two_segments(tmp_path):
    recording = read_recording(paused(tmp_path / "a.npz"))
    session = prepare(recording, SETTINGS, heldout=True)
    assert session.starts.tolist() == [0, 750] and session.bins == 2000
    np.testing.assert_array_equal(session.lfp, COUNTS)
    ends = 0.02 * np.arange(1, 2001) + np.where(np.arange(2000) >= 750, 10.0, 0.0)
    np.testing.assert_allclose(session.targets[:, 0], ends, atol=1e-5)
    assert np.flatnonzero(session.counts[:, 0]).tolist() == [749, 750]  # the spike in the pause is nowhere
    frontend = design(SETTINGS, session.good_channels)
    alone = [lfp_features(frontend, session.lfp[a * 20 : b * 20]) for a, b in bounds(session.starts, session.bins)]
    np.testing.assert_array_equal(session.features, np.concatenate(alone))
    assert session.provenance["segments"].startswith("2, of 15 to 25 s; filters, lags and decoder states start anew at each")


@pytest.mark.parametrize("rate", [2000.0, 1017.25, 999.9])
def test_each_side_of_a_pause_is_resampled_by_itself(tmp_path, rate):
    recording = read_recording(paused(tmp_path / "a.npz", rate))
    session = prepare(recording, SETTINGS, heldout=True)
    first, stop, start = recording.stretches[1]
    after = replace(recording, lfp=np.asarray(recording.lfp)[first:stop], lfp_stretches=(), lfp_start=start)
    alone = prepare(after, SETTINGS, heldout=True)
    middle = int(session.starts[1])
    assert 748 <= middle <= 750 and session.bins - middle == alone.bins
    np.testing.assert_array_equal(session.lfp[middle * 20 :], alone.lfp)
    np.testing.assert_array_equal(session.features[middle:], alone.features)


def test_trials_are_segments_and_what_lies_between_is_left_out(tmp_path):
    trials = np.array([[2.0, 6.0], [6.5, 12.0], [13.0, 13.01], [26.0, 47.0]])
    path = paused(tmp_path / "a.npz", trials=trials)
    recording = read_recording(path, Choices(segments="trials"))
    np.testing.assert_array_equal(recording.trials, trials)
    session = prepare(recording, SETTINGS, heldout=True)
    assert np.diff([*session.starts, session.bins]).tolist() == [200, 275, 1050]
    starts = [2.0, 6.5, 26.0]
    for (a, b), start in zip(bounds(session.starts, session.bins), starts, strict=True):
        np.testing.assert_allclose(session.targets[a:b, 0], start + 0.02 * np.arange(1, b - a + 1), atol=0.011)
    np.testing.assert_array_equal(session.lfp[: 200 * 20], COUNTS[2000:6000])
    np.testing.assert_array_equal(session.lfp[475 * 20 :], COUNTS[16_000:37_000])
    assert session.provenance["short_segments"] == "1 shorter than a bin of 20 ms, left out"


def test_a_table_of_segments(tmp_path):
    path = paused(tmp_path / "a.npz")
    table = tmp_path / "laps.csv"
    table.write_text("lap,start,stop\n2,26,45\n1,1,14\n")
    session = prepare(read_recording(path, Choices(segments=str(table))), SETTINGS, heldout=True)
    assert np.diff([*session.starts, session.bins]).tolist() == [650, 950]
    for content, message in (
        ("lap,begin,stop\n1,2,3\n", r"laps\.csv: it has columns lap, begin, stop: intervals need 'start' and 'stop'"),
        ("start,stop\n1,5\n9,7\n", r"laps\.csv: row 1: 9 to 7 s is no interval"),
        ("start,stop\n1,5\n4,7\n", r"--segments .*laps\.csv: the interval from 4 s begins before the one before it ends \(5 s\)"),
    ):
        table.write_text(content)
        with pytest.raises(UserError, match=message):
            read_recording(path, Choices(segments=str(table)))
    with pytest.raises(UserError, match=r"a\.npz: --segments laps: no such table of intervals: use one of \(there is none\), or a \.csv"):
        read_recording(path, Choices(segments="laps"))


def test_trials_of_nwb_through_the_command_line(tmp_path):
    file = new_file()
    file.add_acquisition(electrical_series("lfp", COUNTS, electrodes(file, 3), rate=1000.0))
    add_behavior(file, velocity("hand", np.sin(CLOCK[:4000]), timestamps=CLOCK[:4000]))
    for start in range(0, 40, 4):
        file.add_trial(start_time=float(start), stop_time=start + 3.5)
    file.add_epoch(start_time=1.0, stop_time=39.0, tags=["running"])
    path = write(tmp_path / "tr.nwb", file)
    shown = CliRunner().invoke(cli.main, ["data", "inspect", str(path)])
    assert "intervals  trials: 10; --segments trials makes them segments" in shown.stdout
    (tmp_path / "short.toml").write_text("window_bins = 26")
    arguments = [
        "data",
        "--data",
        str(path),
        "--config",
        str(tmp_path / "short.toml"),
        "--segments",
        "trials",
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 0, result.output
    assert "segments: 10, of 3.5 to 3.5 s" in " ".join(result.stderr.split())
    session = load(tmp_path / "run" / "data" / "tr.npz")
    assert np.diff([*session.starts, session.bins]).tolist() == [175] * 10
    assert session.train_end in session.starts and session.validation_end in session.starts
    assert prepare(read_recording(path, Choices(segments="epochs")), SETTINGS, heldout=True).bins == 1900


def parts_file(tmp_path, **second):
    """Two series that follow one another, the later one first in the file."""
    file = new_file()
    on = electrodes(file, 3)
    values = {"data": COUNTS[15_000:], "starting_time": 25.0, "rate": 1000.0} | second
    file.add_acquisition(electrical_series("a_second", values.pop("data"), on, **values))
    file.add_acquisition(electrical_series("b_first", COUNTS[:15_000], on, starting_time=0.0, rate=1000.0))
    add_behavior(file, velocity("hand", np.sin(CLOCK), timestamps=CLOCK))
    return write(tmp_path / "parts.nwb", file)


def test_several_series_in_a_row(tmp_path):
    recording = read_recording(parts_file(tmp_path), Choices(lfp=("a_second", "b_first")))
    assert recording.stretches == ((0, 15_000, 0.0), (15_000, 40_000, 25.0))
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS)
    np.testing.assert_array_equal(recording.lfp[14_990:15_010], COUNTS[14_990:15_010])
    assert recording.provenance["lfp_series"] == "b_first, a_second"
    session = prepare(recording, SETTINGS, heldout=True)
    assert session.starts.tolist() == [0, 750] and session.bins == 2000


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"rate": 1250.0}, r"a_second: 3 channels at 1250 Hz do not continue 'b_first': leave it out"),
        ({"conversion": 2.0}, r"a_second: its (gains|unit).*|a_second: 3 channels"),
        ({"starting_time": 14.0}, r"a_second: it starts at 14\.000 s, before the series before it ends: leave one of them out"),
    ],
)
def test_series_that_do_not_follow_one_another(tmp_path, second, message):
    with pytest.raises(UserError, match=message):
        read_recording(parts_file(tmp_path, **second), Choices(lfp=("a_second", "b_first")))


@pytest.mark.parametrize(("seconds", "segments"), [(0.005, 1), (0.015, 1), (0.05, 2), (3.0, 2)])
def test_stretches_of_nan(tmp_path, seconds, segments):
    """Up to a bin the sample before is held; a longer one is a pause."""
    lfp = COUNTS.astype(np.float32)
    first, stop = 20_000, 20_000 + round(1000 * seconds)
    lfp[first:stop, 1] = np.nan
    np.savez(tmp_path / "a.npz", lfp=lfp, lfp_rate=1000.0, behavior=CLOCK[:4001], behavior_rate=100.0)
    recording = read_recording(tmp_path / "a.npz")
    assert recording.provenance["nan_samples"].startswith(f"1 stretch(es) of NaN, {seconds:.3f} s in all")
    assert len(recording.stretches) == segments and recording.good_channels.all()
    if segments == 1:
        held = np.asarray(recording.lfp)[first - 1 : stop + 1]
        assert (held[:-1] == held[0]).all() and (held[-1] != held[0]).any()
    else:
        assert recording.stretches == ((0, first, 0.0), (stop, 40_000, pytest.approx(stop / 1000)))
        session = prepare(recording, SETTINGS, heldout=True)
        assert session.starts.tolist() == [0, 1000] and session.bins == 1000 + (40_000 - stop) // 20
        values = np.asarray(session.lfp)[1000 * 20 :] * recording.lfp_scale + recording.lfp_offset
        np.testing.assert_allclose(values, COUNTS[stop:][: len(values)], atol=0.51 * recording.lfp_scale)


def test_a_channel_that_is_nan_throughout_is_left_out(tmp_path):
    lfp = COUNTS.astype(np.float64)
    lfp[:, 2] = np.nan
    np.savez(tmp_path / "a.npz", lfp=lfp, lfp_rate=1000.0, behavior=CLOCK[:4001], behavior_rate=100.0)
    recording = read_recording(tmp_path / "a.npz")
    assert recording.good_channels.tolist() == [True, True, False] and len(recording.stretches) == 1
    assert recording.provenance["nan_channels"] == "2: NaN in more than 20 % of the samples, left out"
    lfp[:] = np.nan
    np.savez(tmp_path / "b.npz", lfp=lfp, lfp_rate=1000.0, behavior=CLOCK[:4001], behavior_rate=100.0)
    with pytest.raises(UserError, match=r"b\.npz: lfp: every channel is NaN in more than 20 % of the samples"):
        read_recording(tmp_path / "b.npz")


def test_a_split_moves_to_a_pause_that_is_near():
    assert split(1000, SETTINGS, True, "a") == (720, 800)
    assert split(1000, SETTINGS, True, "a", (0, 700, 830)) == (700, 830)
    assert split(1000, SETTINGS, True, "a", (0, 600, 900)) == (720, 800)  # none within 5 %
    assert split(1000, SETTINGS, True, "a", (0, 715, 725, 760)) == (715, 760)
    assert split(1000, SETTINGS, True, "a", (0, 760)) == (720, 800)  # one cannot be both
    assert split(1000, SETTINGS, False, "a", (0, 890)) == (890, 1000)


def test_a_session_with_pauses_is_saved_and_loaded(tmp_path):
    session = prepare(read_recording(paused(tmp_path / "a.npz", invalid_times=np.array([[30.0, 31.0]]))), SETTINGS, heldout=True)
    save(session, tmp_path / "s.npz")
    loaded = load(tmp_path / "s.npz")
    assert isinstance(loaded.lfp, Rows) and loaded.starts.tolist() == [0, 750, 1000, 1050]
    np.testing.assert_array_equal(np.asarray(loaded.lfp), session.lfp)
    np.testing.assert_array_equal(loaded.valid, session.valid)
    assert loaded.valid.sum() == session.bins - 50
    save(loaded, tmp_path / "t.npz")
    assert (tmp_path / "s.npz").read_bytes() == (tmp_path / "t.npz").read_bytes()


def test_a_late_answer_does_not_look_into_the_segment_before():
    made = Recording(
        "one",
        CLOCK[:, None].astype(np.float32),
        CLOCK,
        ("clock",),
        "s",
        lfp=COUNTS,
        lfp_rate=1000.0,
        lfp_stretches=((0, 15_000, 0.0), (15_000, 40_000, 25.0)),
    )
    session = prepare(made, Settings(lfp=SIX_BANDS, window_bins=26, output_delay_ms=300), heldout=True)
    unknown = np.flatnonzero(np.isnan(session.targets[:, 0]))
    assert unknown.tolist() == [*range(14), *range(750, 764)]  # before the behaviour, and before the segment, starts
