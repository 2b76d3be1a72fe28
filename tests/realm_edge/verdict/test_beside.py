from pathlib import Path

import pytest

from realm_edge.app.rundir import RunDir
from realm_edge.app.stages import data, stage_of
from realm_edge.app.verdict import beside as module
from realm_edge.app.verdict.beside import accuracies, beside, recordings_of
from realm_edge.app.workflow import Workflow
from realm_edge.errors import UserError
from realm_edge.progress import Silent
from realm_edge.readers.choices import Choices
from realm_edge.session import load
from realm_edge.settings import Settings, changed, preset
from realm_edge.sources import Recordings
from tests.made_up import MadeUpRun

TINY = {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 4}
FIT = {"epochs": 3, "patience": 3, "batch": 4}
SYNTHETIC = {"version": 2, "sessions": 2, "seconds": 20.0, "heldout_seconds": 24.0, "channels": 5, "units": 4}
SETTINGS = changed(
    preset("demo"),
    {
        "window_bins": 50,
        "lfp": {"bands_hz": [[15.0, 35.0], [70.0, 200.0]]},
        "synthetic": SYNTHETIC,
        "teacher": TINY,
        "student": TINY,
        "pretrain": {**FIT, "block_bins": [2, 6]},
        "distil": FIT,
        "finetune": FIT,
    },
)


def asked(path: Path, recordings: Recordings, settings: Settings = SETTINGS) -> RunDir:
    """A run whose data stage is asked for, and not done."""
    run = RunDir.create(path, settings)
    run.request("data", recordings.request())
    run.remember("data", recordings.options())
    return run


@pytest.fixture
def done(monkeypatch):
    """Stages count as done, and what they are asked for is noted."""
    performed: list = []
    monkeypatch.setattr(RunDir, "require", lambda run, *stages: None)
    monkeypatch.setattr(
        Workflow, "resume", lambda work, stage, *given, **named: performed.append((work.run, stage, given, named.get("request")))
    )
    return performed


@pytest.fixture
def written(tmp_path) -> Recordings:
    """Recordings that nobody opens, and all that can be chosen of them."""
    names = ("monday.npz", "tuesday.npz", "behaviour 1.csv", "behaviour 2.csv", "units 1.npz", "units 2.npz")
    files = [tmp_path / name for name in names]
    for file in files:
        file.write_bytes(file.name.encode())
    choices = Choices(("x", "y"), ("probe",), ("0-3", "good=True"), ("2",), "trials", spike_electrodes=7)
    return Recordings(tuple(files[:2]), choices, tuple(files[2:4]), tuple(files[4:]), (0.5, -0.25))


def test_a_run_remembers_its_recordings(tmp_path, written):
    assert recordings_of(asked(tmp_path / "run", written)) == written
    features = Recordings((tmp_path / "monday.npz",), Choices(("v",)), features="waveforms")
    assert recordings_of(asked(tmp_path / "other", features)) == features
    assert recordings_of(asked(tmp_path / "synthetic", Recordings())) == Recordings()


@pytest.mark.parametrize("kept", ["gone", "of another", "nonsense"])
def test_a_run_that_forgot_where_they_are_says_so(tmp_path, written, kept):
    run = asked(tmp_path / "run", written)
    run.remember("data", {"gone": [], "of another": ["--data", "/tmp/sunday.npz"], "nonsense": ["--what", "--data"]}[kept])
    with pytest.raises(UserError, match=r"does not say any more where monday.npz, tuesday.npz lie\(s\): name the recordings with --data"):
        recordings_of(run)


def test_other_recordings_than_the_runs_are_refused(tmp_path, written, done):
    run = asked(tmp_path / "run", written)
    written.files[1].write_bytes(b"another Tuesday")
    with pytest.raises(UserError, match="its recordings are others than it was made from: run 'realm-edge data --data"):
        beside(run, "sbp", Silent())


def test_voltage_that_is_too_slow_is_a_text(tmp_path, written, done, monkeypatch):
    first = changed(SETTINGS, {"synthetic": {"version": 1}})
    found = beside(asked(tmp_path / "synthetic", Recordings(), first), "sbp", Silent())
    assert found == "the recording's voltage has 1,000 Hz: spiking-band power needs 2,500"
    rates = {written.files[0]: 30_000.0, written.files[1]: 1017.25}
    monkeypatch.setattr(module, "apart", lambda function, path, *_, files: rates[path])
    run = asked(tmp_path / "run", written)
    assert beside(run, "sbp", Silent()) == "the recording's voltage has 1,017.25 Hz: spiking-band power needs 2,500"
    rates[written.files[1]] = 2499.99  # of a clock that is not exact
    assert isinstance(beside(run, "sbp", Silent()), RunDir)
    done.clear()
    rates[written.files[1]] = 150.0
    assert beside(run, "lfp-200", Silent()) == "the recording's voltage has 150 Hz: LFP at 200 Hz needs 200"
    assert not done


def test_features_hold_no_other_signal(tmp_path, done):
    file = tmp_path / "monday.npz"
    file.write_bytes(b"")
    run = asked(tmp_path / "run", Recordings((file,), features="waveforms"))
    assert beside(run, "sbp", Silent()) == "the recording holds features, and no voltage that spiking-band power could be computed from"


def test_a_run_beside_is_asked_for_the_same_without_spikes(tmp_path, done):
    run = asked(tmp_path / "run", Recordings())
    other = beside(run, "lfp-200", Silent(), "cpu", "bf16-mixed")
    assert other.path == run.path / "verdict" / "lfp-200"
    assert other.settings == changed(SETTINGS, {"lfp": {"rate_hz": 200, "bands_hz": [[15.0, 35.0], [70.0, 80.0]]}})
    assert [(stage, given) for _, stage, given, _ in done] == [
        ("data", (Recordings(), False)),
        ("train", ("cpu", "bf16-mixed")),
        ("export", ()),
        ("quantize", ()),
    ]
    assert done[0][3] == {**run.requested("data"), "spikes": False}
    assert all(each.path == other.path for each, *_ in done)


def test_a_run_of_the_signals_own_settings_needs_none_beside(tmp_path, done):
    own = changed(SETTINGS, {"lfp": {"rate_hz": 200, "bands_hz": [[15.0, 35.0]]}})
    run = asked(tmp_path / "run", Recordings(), own)
    assert beside(run, "lfp-200", Silent()) is run and not done


def test_one_of_other_filters_is_made_anew(tmp_path, done):
    run = asked(tmp_path / "run", Recordings())
    earlier = RunDir.create(run.path / "verdict" / "sbp", changed(SETTINGS, {"lfp": {"rate_hz": 3000}}))
    (earlier.path / "metrics.json").write_text("{}")
    other = beside(run, "sbp", Silent())
    assert other.settings.lfp.rate_hz == 2500 and not (other.path / "metrics.json").exists()


def test_spikes_are_left_out_of_sessions(tmp_path):
    run = asked(tmp_path / "run", Recordings())
    summary = data.run(run, Silent(), Recordings(), False)
    assert [(each.spike_source, each.units, each.spike_electrodes) for each in summary.sessions] == [("none", 0, None)] * 2
    session = load(run.path / "data" / "synthetic_heldout.npz")
    assert session.counts is None and session.broadband is None and session.features.shape == (session.bins, 15)


def a_run(path: Path, bins: tuple[int, int, int], **r2: tuple[float, float]) -> MadeUpRun:
    parts = dict(zip(("train_bins", "validation_bins", "test_bins"), bins, strict=True))
    heldout = {"heldout": True, "name": "friday", "channels": 12, **parts}
    quantised = {name: {"scored_bins": 1200, "r2": {"float": one, "int8": other}} for name, (one, other) in r2.items()}
    return MadeUpRun(path, SETTINGS, {"data": {"sessions": [{"heldout": False, "channels": 3}, heldout]}, "quantize": quantised})


def test_every_signal_has_its_accuracy_or_a_reason(tmp_path):
    run = a_run(tmp_path, (700, 80, 1300), lfp=(0.61, 0.6), spike=(0.71, 0.7))
    other = a_run(tmp_path, (699, 81, 1300), lfp=(0.51, 0.5))
    found = accuracies(run, {"lfp-200": other, "sbp": "too slow"})
    rows = {each.signal: (each.channels, each.r2_float, each.r2_int8) for each in found}
    assert rows == {"lfp": (12, 0.61, 0.6), "lfp-200": (12, 0.51, 0.5), "sbp": (None, None, None), "spike": (12, 0.71, 0.7)}
    texts = {each.signal: each.text for each in found}
    scored = "over 1,200 bins of the test part of session friday"
    assert texts["lfp"] == texts["spike"] == scored
    assert texts["sbp"] == "too slow"
    assert texts["lfp-200"] == f"{scored}; bins for training, validation and test: 699, 81, 1,300, where the run has 700, 80, 1,300"
    assert run.required == ["quantize"] * 2 and other.required == ["quantize"]


def test_without_spikes_or_a_run_beside_it_is_said(tmp_path):
    found = {each.signal: each for each in accuracies(a_run(tmp_path, (7, 8, 9), lfp=(0.6, 0.5)), {})}
    assert (found["spike"].text, found["spike"].r2_int8) == ("the recording has no spikes", None)
    assert found["sbp"].text == found["lfp-200"].text == "no decoder was trained for it"


@pytest.mark.slow
def test_runs_beside_a_run_from_end_to_end_and_again_without_work(tmp_path, monkeypatch):
    run = RunDir.create(tmp_path / "run", SETTINGS)
    work, none = Workflow(run, Silent(), stage_of), Recordings()
    work.resume("data", none, False, request=none.request(), options=none.options())
    found = {signal: beside(run, signal, Silent(), "cpu") for signal in module.SIGNALS}
    for signal, rate, kinds in (("lfp-200", 200, 3), ("sbp", 2500, 2)):
        other = found[signal]
        session = load(other.path / "data" / "synthetic_heldout.npz")
        assert len(session.lfp) == session.bins * rate // 50 and session.features.shape[1] == 5 * kinds
        assert set(other.summary("quantize")) == {"lfp"}
    for stage in ("train", "export", "quantize"):
        work.resume(stage, *(("cpu", "32") if stage == "train" else ()))
    rows = accuracies(run, found)
    assert [each.signal for each in rows if each.r2_int8 is not None] == ["lfp", "lfp-200", "sbp"]

    def stale(verb):
        raise AssertionError(f"{verb} was performed again")

    monkeypatch.setattr(module, "stage_of", stale)
    assert accuracies(run, {signal: beside(run, signal, Silent(), "cpu") for signal in module.SIGNALS}) == rows
    RunDir.erase(run.path)
    assert not (run.path / "verdict").exists()
