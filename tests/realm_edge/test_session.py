import dataclasses

import numpy as np
import pytest

from realm_edge.app.rundir import RunDir
from realm_edge.app.stages import data as stage
from realm_edge.documents import read_document
from realm_edge.errors import UserError
from realm_edge.frontend import design, lfp_features, running_z
from realm_edge.preparation import prepare
from realm_edge.progress import Silent
from realm_edge.readers.choices import Choices
from realm_edge.recording import Recording
from realm_edge.session import broadband_block, load, save
from realm_edge.settings import SIX_BANDS, Settings, SpikeSettings, SyntheticSettings
from realm_edge.sources import Recordings
from realm_edge.synthetic import generate
from realm_edge.table import Rows
from tests.real_recordings import recording as real_recording

SETTINGS = Settings(
    lfp=SIX_BANDS, window_bins=50, synthetic=SyntheticSettings(sessions=2, seconds=20.0, heldout_seconds=40.0, channels=6, units=3)
)  # window: 1 s
SECONDS = 30


def recording(**changed):
    """Thirty seconds at 2 kHz, and what resampling looks ahead; the behaviour is the time itself, so that alignment shows."""
    rng = np.random.default_rng(0)
    times = np.arange(SECONDS * 50 + 1) / 50
    values = {
        "name": "one",
        "behavior": times[:, None].astype(np.float32),
        "behavior_times": times,
        "behavior_names": ("clock",),
        "behavior_unit": "s",
        "lfp": rng.integers(-500, 500, (SECONDS * 2000 + 20, 4), dtype=np.int16),
        "lfp_rate": 2000.0,
        "spike_times": (np.array([0.001, 0.0199, 0.0201, 29.999]), np.array([])),
        "provenance": {"file": "one.npz"},
    }
    return Recording(**(values | changed))


def unknown(first, last):
    """Behaviour that is NaN from ``first`` to ``last`` seconds."""
    made = recording()
    behavior = made.behavior.copy()
    behavior[(made.behavior_times >= first) & (made.behavior_times <= last)] = np.nan
    return dataclasses.replace(made, behavior=behavior)


def test_bins_align_lfp_behaviour_and_spikes():
    session = prepare(recording(), SETTINGS, heldout=True)
    assert (session.bins, session.targets.dtype, session.target_unit) == (1500, np.float32, "s")
    np.testing.assert_allclose(session.targets[:, 0], 0.02 * np.arange(1, 1501), rtol=1e-6)
    assert session.lfp.shape == (30_000, 4) and session.lfp.dtype == np.int16
    assert session.features.shape == (1500, 4 * (1 + len(SETTINGS.lfp.bands_hz)))
    np.testing.assert_array_equal(session.features, lfp_features(design(SETTINGS, session.good_channels), session.lfp))
    assert session.spike_source == "units" and session.counts.shape == (1500, 2)
    assert session.counts[[0, 1, 1499], 0].tolist() == [2, 1, 1] and session.counts.sum() == 4
    assert 0 < session.resampling_delay_s < 0.01 and "2000 Hz to 1000 Hz" in session.provenance["resampled"]
    assert session.broadband is None and session.spike_threshold is None


def test_counts_of_sorted_units_get_the_running_z_score():
    scored = SETTINGS.model_copy(update={"spike": SpikeSettings(zscore_bins=64)})
    counts = prepare(recording(), SETTINGS, heldout=True).counts
    np.testing.assert_array_equal(prepare(recording(), scored, heldout=True).counts, running_z(counts, 64))


def test_a_later_start_of_one_signal_crops_the_other():
    late = recording(behavior_times=recording().behavior_times + 2.0, lfp_rate=1000.0)  # LFP 0 to 60 s, behaviour 2 to 32 s
    session = prepare(late, SETTINGS, heldout=True)
    assert session.bins == 1500
    np.testing.assert_array_equal(session.lfp, late.lfp[2000:32_000])
    np.testing.assert_allclose(session.targets[:, 0], 0.02 * np.arange(1, 1501), rtol=1e-6)
    assert session.counts[:, 0].sum() == 1  # of the four spikes only the one at 29.999 s comes after 2 s
    assert session.counts[1399, 0] == 1

    late_lfp = prepare(recording(lfp_start=1.0, lfp_rate=1000.0), SETTINGS, heldout=True)
    assert late_lfp.bins == 1450
    assert late_lfp.targets[0, 0] == pytest.approx(1.02)


def test_splits_are_chronological_and_pretraining_sessions_have_no_test_part():
    heldout = prepare(recording(), SETTINGS, heldout=True)
    assert (heldout.train_end, heldout.validation_end) == (1080, 1200)
    pretraining = prepare(recording(), SETTINGS, heldout=False)
    assert (pretraining.train_end, pretraining.validation_end) == (1350, 1500)


def test_sessions_without_spikes_or_lfp():
    session = prepare(recording(spike_times=()), SETTINGS, heldout=True)
    assert session.spike_source == "none" and session.counts is None
    session = prepare(recording(lfp=None), SETTINGS, heldout=True)
    assert session.lfp is None and session.features is None and session.counts.shape == (1500, 2)


def test_the_log_transform():
    session = prepare(
        recording(behavior=recording().behavior - 1), Settings(lfp=SIX_BANDS, window_bins=50, behavior_transform="log"), heldout=True
    )
    np.testing.assert_allclose(session.targets[:, 0], np.log(np.maximum(0.02 * np.arange(1, 1501) - 1, 0) + 1), atol=1e-5)
    assert session.target_unit == "ln(s + 1)"


def test_a_late_answer_is_the_behaviour_before():
    session = prepare(recording(), Settings(lfp=SIX_BANDS, window_bins=50, output_delay_ms=300), heldout=True)
    assert np.isnan(session.targets[:14]).all()  # before the behaviour starts
    np.testing.assert_allclose(session.targets[15:, 0], 0.02 * np.arange(16, 1501) - 0.3, atol=1e-5)
    np.testing.assert_array_equal(session.features, prepare(recording(), SETTINGS, heldout=True).features)
    with pytest.raises(ValueError, match="output_delay_ms 50 is no multiple of bin_ms 20"):
        Settings(lfp=SIX_BANDS, output_delay_ms=50)


def test_short_gaps_are_interpolated_and_long_ones_stay_unknown():
    session = prepare(unknown(10.0, 10.9), SETTINGS, heldout=True)
    np.testing.assert_allclose(session.targets[:, 0], 0.02 * np.arange(1, 1501), rtol=1e-5)
    assert "interpolated" in session.provenance["behavior_gaps"]
    session = prepare(unknown(10.0, 12.0), SETTINGS, heldout=True)
    times = 0.02 * np.arange(1, 1501)
    inside = (times > 9.99) & (times < 12.01)
    np.testing.assert_array_equal(np.isnan(session.targets[:, 0]), inside)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: unknown(10.0, 17.0), r"behaviour 'clock' is unknown in 23 % of the bins"),
        (lambda: unknown(0.0, 99.0), r"behaviour 'clock' has no sample in which all columns are known"),
        (lambda: recording(lfp=np.full((60_000, 4), -7, np.int16)), r"all 4 LFP channels are constant"),
        (lambda: recording(lfp_rate=300.0), r"LFP at 300 Hz is too slow for a band up to 200 Hz"),
        (lambda: recording(lfp=recording().lfp[:10_020]), r"its 5 s leave 20 bins for the validation part.* a recording of 13 s"),
    ],
)
def test_recordings_that_cannot_be_used(made, message):
    with pytest.raises(UserError, match=rf"^one\.npz: {message}") as caught:
        prepare(made(), SETTINGS, heldout=True)
    assert "\n" not in str(caught.value)


def test_the_needed_length_is_enough():
    lfp = recording().lfp
    assert (
        prepare(recording(lfp=lfp[: 13 * 2000]), SETTINGS, heldout=True).bins == 649
    )  # for the last one the resampler would look beyond the end


def test_constant_and_masked_channels_are_bad():
    lfp = recording().lfp.copy()
    lfp[: 2000 * 25, 1] = 3  # silent in the training part: what comes later must not decide
    lfp[:, 3] = np.where(np.arange(len(lfp)) % 2, 32767, -32768)  # the widest range there is
    session = prepare(recording(lfp=lfp, good_channels=np.array([True, True, False, True])), SETTINGS, heldout=True)
    assert session.good_channels.tolist() == [True, False, False, True]


def assert_equal(one, other):
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(left):
            assert_equal(left, right)
        else:
            np.testing.assert_equal(left, right)
            assert getattr(left, "dtype", None) == getattr(right, "dtype", None)


def test_save_and_load(tmp_path):
    made, broadband = generate(SETTINGS, 0)
    for session in (
        prepare(unknown(10.0, 12.0), SETTINGS, heldout=True),
        prepare(recording(lfp=None), SETTINGS, heldout=False),
        prepare(made, SETTINGS, heldout=False, broadband=broadband),
    ):
        save(session, tmp_path / "s.npz")
        loaded = load(tmp_path / "s.npz")
        assert isinstance(loaded.lfp, Rows) == (session.lfp is not None)  # it stays in the file
        assert_equal(loaded, session)
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


def test_broken_session_files(tmp_path):
    path = tmp_path / "s.npz"
    with pytest.raises(UserError, match=r"s\.npz: no such file: run 'realm-edge data'"):
        load(path)
    save(prepare(recording(), SETTINGS, heldout=True), path)
    content = path.read_bytes()
    for broken in (b"", content[:1000], content[: len(content) // 2]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"s\.npz: not readable as a session"):
            load(path)
    np.savez(path, targets=np.zeros(3))
    with pytest.raises(UserError, match=r"s\.npz: not readable as a session"):
        load(path)


def test_recorded_sessions_have_no_broadband():
    with pytest.raises(ValueError, match="no broadband"):
        broadband_block(prepare(recording(), SETTINGS, heldout=True), SETTINGS, 0, 1)


def recordings(*files, behavior=None):
    return Recordings(files, Choices(() if behavior is None else (behavior,)))


def write(path, channels=4, dims=2, seconds=30):
    rng = np.random.default_rng(len(path.stem))
    np.savez(
        path,
        lfp=rng.integers(-500, 500, (seconds * 1000, channels), dtype=np.int16),
        lfp_rate=1000,
        behavior=rng.standard_normal((seconds * 100 + 1, dims)),
        behavior_rate=100,
    )
    return path


def test_stage_on_synthetic_recordings(tmp_path):
    run = RunDir.create(tmp_path / "run", SETTINGS)
    summary = stage.run(run, Silent(), Recordings())
    assert run.is_complete("data") and run.summary("data") == summary
    assert summary.synthetic and not summary.single_recording
    assert [each.name for each in summary.sessions] == ["synthetic_0", "synthetic_heldout"]
    heldout = summary.sessions[1]
    # A bin less than 40 s: the resampler looks ahead. Two small units for each of the sorted ones.
    assert (heldout.seconds, heldout.bins, heldout.channels, heldout.units) == (39.98, 1999, 6, 3 * 3)
    assert len(heldout.bad_channels) == 1 and heldout.spike_source == "broadband"
    assert (heldout.train_bins, heldout.validation_bins, heldout.test_bins) == (1439, 160, 400)
    sessions = stage.load_sessions(run)
    assert [session.heldout for session in sessions] == [False, True]
    assert isinstance(sessions[0].features, Rows) and sessions[0].lfp is None  # what pretrains stays in its file
    alone, broadband = generate(SETTINGS, 1)
    assert_equal(sessions[1], prepare(alone, SETTINGS, heldout=True, broadband=broadband))


def test_stage_on_files(tmp_path):
    run = RunDir.create(tmp_path / "run", SETTINGS)
    summary = stage.run(run, Silent(), recordings(write(tmp_path / "monday.npz"), write(tmp_path / "tuesday.npz")))
    index = read_document(run.file("data", "index.json"), "realm-edge sessions/1", dict, "")
    assert index == {"sessions": ["monday.npz", "tuesday.npz"], "heldout": "tuesday"}
    assert not summary.synthetic and [each.heldout for each in summary.sessions] == [False, True]
    summary = stage.run(run, Silent(), recordings(tmp_path / "monday.npz"))
    assert summary.single_recording and [session.heldout for session in stage.load_sessions(run)] == [True]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"dims": 1}, r"b\.npz: 1 targets, but .*a\.npz has 2"),
        ({"seconds": 5}, r"b\.npz: its 5 s leave 20 bins for the validation part"),
    ],
)
def test_stage_on_files_that_do_not_fit_together(tmp_path, second, message):
    run = RunDir.create(tmp_path / "run", SETTINGS)
    with pytest.raises(UserError, match=message):
        stage.run(run, Silent(), recordings(write(tmp_path / "a.npz"), write(tmp_path / "b.npz", **second)))
    assert not run.is_complete("data")


def test_sessions_may_have_other_numbers_of_channels(tmp_path):
    run = RunDir.create(tmp_path / "run", SETTINGS)
    stage.run(run, Silent(), recordings(write(tmp_path / "a.npz"), write(tmp_path / "b.npz", channels=3)))
    assert [len(session.good_channels) for session in stage.load_sessions(run)] == [4, 3]


def test_stage_on_wrong_arguments(tmp_path):
    run = RunDir.create(tmp_path / "run", SETTINGS)
    path = write(tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"the name 'a' is taken"):
        stage.run(run, Silent(), recordings(path, path))
    with pytest.raises(UserError, match=r"--behavior speed: the synthetic"):
        stage.run(run, Silent(), recordings(behavior="speed"))
    with pytest.raises(UserError, match=r"index\.json: no such file"):
        stage.load_sessions(run)


def test_stage_on_the_shared_rodent_recording(tmp_path):
    run = RunDir.create(tmp_path / "run", Settings(lfp=SIX_BANDS))
    (session,) = stage.run(run, Silent(), recordings(real_recording("rodent_running_a.nwb"), behavior="speed")).sessions
    assert (session.bins, session.channels, session.units, session.spike_source) == (29_999, 1, 15, "units")
    assert session.resampling_delay_ms == pytest.approx(6.25, abs=0.01)
    (loaded,) = stage.load_sessions(run)
    assert np.isfinite(loaded.features).all() and np.isfinite(loaded.targets).all()
