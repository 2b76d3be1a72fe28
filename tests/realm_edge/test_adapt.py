"""Adaptation to a day without labels: what the arms learn from, what decides, which days are refused, and what is written."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from realm_edge import feature_table
from realm_edge import prepared as prepared_sessions
from realm_edge import session as sessions
from realm_edge.app.adapt import day as day_module
from realm_edge.app.adapt import run as adapt_module
from realm_edge.app.adapt.day import Asked, recordings_of
from realm_edge.app.adapt.decision import FORGETS, LastPart, by_behaviour, by_teacher
from realm_edge.app.adapt.form import ADAPTATION, Adaptation
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages import export, quantize, train
from realm_edge.app.stages.data import INDEX
from realm_edge.checkpoint import load_student
from realm_edge.documents import read_document, write_document
from realm_edge.errors import UserError
from realm_edge.metrics import accuracy
from realm_edge.models.student import Student, decode
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Silent
from realm_edge.readers.names import name_of
from realm_edge.recording import Axes
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.sources import Recordings
from realm_edge.training import adapt as training
from realm_edge.training.adapt import Adapted, Basis, adapt
from realm_edge.training.hindsight import Labeller
from realm_edge.training.loop import Phase
from realm_edge.training.segments import Series, behaviour_of, standardise
from tests.feature_file import feature_file

TINY = {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 8}
FIT = {"epochs": 2, "lr": 1e-2, "batch": 4}
SETTINGS = Settings.model_validate(
    {"bin_ms": 100, "window_bins": 40, "teacher": TINY, "student": TINY, "pretrain": FIT, "distil": FIT, "finetune": FIT}
)
BIN_S, BINS, TRAIN, VALIDATION = 0.1, 1000, 360, 450


def a_session(name: str, seed: int, heldout: bool = False, gain: float = 1.0) -> Session:
    """Two channels of two features; the behaviour is what the last second of two of them was."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((BINS, 4)).astype(np.float32)
    slow = np.stack([np.convolve(features[:, at], np.ones(10) / 10)[:BINS] for at in (0, 1)], axis=1)
    return Session(
        name=name, heldout=heldout, synthetic=True, targets=slow.astype(np.float32) + 5, target_names=("x", "y"), target_unit="cm/s",
        train_end=TRAIN, validation_end=VALIDATION, lfp=None, good_channels=np.ones(2, bool), features=gain * features + seed, counts=None,
        spike_source="none", spike_threshold=None, broadband=None,
    )  # fmt: skip


def unlabelled(session: Session, decoded: Session) -> Series:
    blank = dataclasses.replace(session, targets=np.full_like(session.targets, np.nan))
    return standardise(blank, session.features, BIN_S, 2, borrowed=behaviour_of(decoded))


def basis(today: Session) -> Basis:
    other, decoded = a_session("a", 1), a_session("b", 2, heldout=True)
    series = [standardise(one, one.features, BIN_S, 2) for one in (other, decoded)]
    torch.manual_seed(0)
    student, teacher = Student(SETTINGS.student, 4, 2, kinds=2), Teacher(SETTINGS.teacher, [4], kinds=2)
    series[1].give_statistics(student)
    return Basis(student, teacher, (series[0],), series[1], unlabelled(today, decoded))


def phase(name: str) -> Phase:
    return Phase(name, 0)


@pytest.fixture(scope="module")
def adapted() -> tuple[Basis, Adapted]:
    made = basis(a_session("today", 3, gain=2.0))
    return made, adapt(made, SETTINGS, phase, Silent())


def test_every_arm_decodes_with_the_day_s_inputs_and_the_old_behaviour(adapted):
    made, found = adapted
    for name, student in found.students.items():
        inputs = made.decoded if name == "old" else made.today
        torch.testing.assert_close(student.feature_mean, inputs.input_mean)
        torch.testing.assert_close(student.feature_inv_std, inputs.input_inv_std)
        torch.testing.assert_close(student.target_mean, made.decoded.target_mean)
        torch.testing.assert_close(student.target_std, made.decoded.target_std)


def test_statistics_alone_leave_the_weights_as_they_were_and_all_else_trains(adapted):
    made, found = adapted
    changed = {name: bool((student.head.weight != made.student.head.weight).any()) for name, student in found.students.items()}
    assert changed == {"old": False, "statistics": False, "hindsight": True, "own": True, "no_teacher": True}
    assert found.errors["statistics"] == found.errors["old"] and found.steps["statistics"] == 0


def test_as_many_steps_are_taken_without_the_teacher(adapted):
    found = adapted[1]
    epoch = 3  # batches of the labelled session
    assert abs(found.steps["no_teacher"] - found.steps["hindsight"]) <= epoch
    assert found.steps["hindsight"] > found.steps["own"] > 0


def test_labels_are_the_teacher_s_for_one_and_the_student_s_own_for_the_other(monkeypatch):
    said: list[tuple[str, Labeller]] = []
    real = training.relabelled

    def noting(labeller, series, of):
        said.append((of.name, labeller))
        return real(labeller, series, of)

    monkeypatch.setattr(training, "relabelled", noting)
    adapt(basis(a_session("today", 3)), SETTINGS, phase, Silent())
    (first, teacher), (second, own) = said
    assert (first, second) == ("hindsight_labels", "own_labels")
    assert not isinstance(teacher.module, Student) and isinstance(own.module, Student)
    drops = [each.p for each in own.module.modules() if isinstance(each, torch.nn.Dropout)]
    assert drops and set(drops) == {SETTINGS.finetune.dropout}  # or it would be sure of all that it says


def test_nothing_of_the_last_part_of_the_day_is_learnt_from(adapted):
    today = a_session("today", 3, gain=2.0)
    other = today.features.copy()
    other[VALIDATION:] = np.random.default_rng(9).normal(40, 9, other[VALIDATION:].shape)
    again = adapt(basis(dataclasses.replace(today, features=other)), SETTINGS, phase, Silent())
    for name, student in adapted[1].students.items():
        for key, tensor in student.state_dict().items():
            assert torch.equal(tensor, again.students[name].state_dict()[key]), (name, key)
    assert not torch.equal(again.hindsight[VALIDATION:], adapted[1].hindsight[VALIDATION:])


# --- what decides -----------------------------------------------------------------------------------------------------------------------

TRUE = np.stack([np.sin(np.arange(1000) / 7), np.cos(np.arange(1000) / 11)], axis=1).astype(np.float32)


def last_part(bins: int = 1000, **errors: float) -> LastPart:
    """Decoded with errors of these sizes; 0.1 where none is named."""
    rng = np.random.default_rng(0)
    arms = ("old", "statistics", "hindsight", "own", "no_teacher")
    decoded = {name: (TRUE + errors.get(name, 0.1) * rng.standard_normal(TRUE.shape)).astype(np.float32)[:bins] for name in arms}
    return LastPart(decoded, TRUE[:bins], BIN_S, np.zeros(1, np.int64))


def made_up(teacher: float = 0.3, old: float = 0.4, new: float = 0.4, alone: float = 0.35) -> Adapted:
    return Adapted({}, {}, {"old": old, "hindsight": new, "no_teacher": alone}, teacher, torch.zeros(0), 1.0)


BETTER = {"hindsight": 0.1, "statistics": 0.5, "own": 0.5, "old": 0.5, "no_teacher": 0.5}


def test_all_conditions_hold_for_a_better_student():
    checks = by_teacher(made_up(), last_part(**BETTER), "monday")
    assert [check.holds for check in checks] == [True] * 4
    assert "the teacher errs 0.300" in checks[0].text and checks[0].text.endswith("0.350: less than both") and "monday" in checks[0].text
    assert checks[1].interval[0] > 0 and checks[1].difference == pytest.approx(2 * (0.25 - 0.01), rel=0.1)
    assert "0.400 and the old one 0.400: not more than 0.05 worse" not in checks[2].text and "not more than 0.05 worse" in checks[3].text


@pytest.mark.parametrize(
    ("broken", "about", "errors"),
    [
        (0, {"old": 0.3, "new": 0.3}, {}),
        (0, {"alone": 0.3}, {}),
        (1, {}, {"statistics": 0.09}),
        (2, {}, {"own": 0.09}),
        (3, {"new": 0.4 + FORGETS + 0.01}, {}),
    ],
    ids=["a teacher no better", "nor than training on", "no nearer than by statistics", "no nearer than by its own labels", "it forgets"],
)
def test_each_condition_can_keep_the_old_student(broken, about, errors):
    checks = by_teacher(made_up(**about), last_part(**(BETTER | errors)), "monday")
    assert [check.holds for check in checks] == [at != broken for at in range(4)], [check.text for check in checks]


def test_with_behaviour_the_old_student_alone_is_to_be_beaten():
    checks = by_behaviour(last_part(**(BETTER | {"statistics": 0.09})), TRUE)
    assert [check.holds for check in checks] == [True, False, True, True]
    assert "higher with the new student than with the old student; the interval over blocks" in checks[0].text
    worse = by_behaviour(last_part(hindsight=0.5), TRUE)[0]
    assert not worse.holds and "lower with the new student" in worse.text and "lies below 0" in worse.text


def test_what_blocks_leave_open_decides_nothing():
    last = last_part()
    errors = np.random.default_rng(1).standard_normal(TRUE.shape) * np.where(np.arange(1000) // 100 % 2, 0.02, 0.3)[:, None]
    last.decoded["old"][:] = TRUE + errors
    last.decoded["hindsight"][:] = TRUE + np.roll(errors, 100, axis=0) * 0.97  # better over all, and worse in every other block
    check = by_behaviour(last, TRUE)[0]
    assert check.difference > 0 and not check.holds and "lies on both sides of 0" in check.text


def test_a_few_blocks_decide_nothing():
    [check, *_] = by_behaviour(last_part(400, **BETTER), TRUE[:400])
    assert not check.holds and check.interval is None and "too few blocks" in check.text


# --- which days are taken ---------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Requested:
    """A run that remembers what its recordings were."""

    request: dict
    settings: Settings = SETTINGS

    def requested(self, stage: str) -> dict:
        assert stage == "data"
        return self.request


def a_file(folder: Path, name: str = "today.npz", seconds: float = 90.0, channels: int = 2, **more: np.ndarray) -> Path:
    """Voltage at 500 Hz, as the front end has it, and no behaviour."""
    rng = np.random.default_rng(0)
    np.savez(folder / name, lfp=rng.normal(0, 99, (round(500 * seconds), channels)).astype(np.int16), lfp_rate=500.0, **more)
    return folder / name


def test_the_run_s_choices_are_the_day_s(tmp_path):
    path = a_file(tmp_path)
    request = {"recordings": [["monday.npz", "0" * 64]], "lfp": ["lfp"], "channels": ["0"], "segments": "trials", "behavior": "hand"}
    found = recordings_of(Asked((path,)), Requested(request))
    assert (found.choices.lfp, found.choices.channels, found.choices.segments, found.choices.behavior) == (("lfp",), ("0",), "trials", ())
    assert recordings_of(Asked((path,), segments="epochs"), Requested(request)).choices.segments == "epochs"


@pytest.mark.parametrize(
    ("request_", "asked", "said"),
    [
        ({}, {"data": ()}, "--data: given 0 times"),
        ({}, {"data": (Path("a.npz"), Path("b.npz"))}, "--data: given 2 times: a student is adapted to one day"),
        ({}, {"sync_offset": 1.5}, "--sync-offset 1.5: it shifts the times of --behavior-file"),
        ({"segments": "trials.csv"}, {}, "the run's segments come from trials.csv"),
        ({"recordings": [["today.nwb", "0" * 64]]}, {}, "a recording of the run has this name"),
        ({"recordings": [["monday.npz", "itself"]]}, {}, "it is monday.npz, which the run was trained on"),
    ],
)
def test_days_that_are_none_are_refused(request_, asked, said, tmp_path):
    path = a_file(tmp_path)
    sha256 = Recordings((path,)).fingerprint(0)
    request_["recordings"] = [[name, sha256 if given == "itself" else given] for name, given in request_.get("recordings", [])]
    with pytest.raises(UserError, match=said):
        recordings_of(Asked(**({"data": (path,)} | asked)), Requested(request_))


VOLTAGE = Settings.model_validate(
    {"bin_ms": 100, "window_bins": 40, "lfp": {"bands_hz": [[40.0, 60.0]]}, "split": {"train": 0.3, "validation": 0.1}}
)


def read_day(path: Path, decoded: Session, asked: Asked | None = None) -> Session:
    asked = asked or Asked((path,))
    return day_module.read(recordings_of(asked, Requested({})), asked, Requested({}, VOLTAGE), decoded, Silent())


@pytest.fixture
def array() -> Session:
    """What the run decodes: two channels, of which it left one out."""
    one = a_session("monday", 2, heldout=True)
    return dataclasses.replace(one, lfp=np.zeros((1, 2), np.int16), good_channels=np.array([True, False]))


def test_a_day_without_behaviour_is_all_of_its_lfp_as_the_implant_has_it(tmp_path, array):
    path = a_file(tmp_path)
    day = read_day(path, array)
    assert (day.bins, day.target_names, day.target_unit) == (900, ("x", "y"), "cm/s") and np.isnan(day.targets).all()
    assert day.good_channels.tolist() == [True, False] and not day.features[:, 1].any()  # the run's front end leaves it out
    times = np.arange(0, 90.01, 0.05)
    known = a_file(tmp_path, "known.npz", behavior=np.sin(times), behavior_times=times)
    labelled = sessions.load(prepared_sessions.prepared(Recordings((known,)), 0, VOLTAGE, True))
    np.testing.assert_allclose(day.features[:, [0, 2]], labelled.features[:, [0, 2]], atol=1e-5)
    assert np.isnan(read_day(known, array).targets).all()  # behaviour that was not asked for


@pytest.mark.parametrize(
    ("more", "asked", "said"),
    [
        ({"channels": 3}, {}, "3 channels, but the run's student reads the 2 of monday"),
        ({"seconds": 70.0}, {}, r"its 70 s leave 4 block\(s\) of 10 s to test on, and 5 say something: use a day of 83 s or more"),
        ({"seconds": 20.0}, {}, "less than one training window"),
        (
            {"behavior": np.arange(900.0), "behavior_rate": 10.0},
            {"behavior": ("behavior",)},
            "name the same series with --behavior, or none",
        ),
    ],
    ids=["channels", "blocks", "windows", "axes"],
)
def test_days_that_do_not_fit_are_refused(more, asked, said, tmp_path, array):
    path = a_file(tmp_path, **more)
    with pytest.raises(UserError, match=said):
        read_day(path, array, Asked((path,), **asked))


def test_features_without_behaviour(tmp_path):
    path = feature_file(tmp_path / "day.nwb")
    day, bin_s = feature_table.read(path, "power", Axes(("grip",), "N"), SETTINGS, lambda bins: (500, 600))
    assert (day.target_names, day.targets.shape, bin_s) == (("grip",), (700, 1), pytest.approx(0.1))
    known, _ = feature_table.read(path, "power", "force", SETTINGS, lambda bins: (500, 600))
    np.testing.assert_array_equal(day.features, known.features)
    assert np.isnan(day.targets).all() and not np.isnan(known.targets).all()


# --- what is written --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDir:
    """Trained and quantised on two made-up sessions of features."""
    made = RunDir.create(tmp_path_factory.mktemp("adapt") / "run", SETTINGS)
    recorded = [a_session("a", 1), a_session("b", 2, heldout=True)]
    files = [made.file("data", f"{one.name}.npz") for one in recorded]
    for one, file in zip(recorded, files, strict=True):
        sessions.save(one, file)
    write_document(made.file("data", "index.json"), INDEX, {"sessions": [file.name for file in files], "heldout": "b"})
    made.request("data", {})
    made.complete("data", [made.file("data", "index.json"), *files], {})
    for stage in (train, export, quantize):
        stage.run(made, Silent())
    return made


def a_day(recordings: Recordings, asked: Asked, *_) -> Session:
    """As it would be read: its behaviour is known where it is asked for."""
    day = a_session(name_of(recordings.files[0]), 3, gain=2.0)
    return day if asked.checks else dataclasses.replace(day, targets=np.full_like(day.targets, np.nan))


@pytest.fixture(scope="module")
def today(tmp_path_factory) -> Iterator[Path]:
    """A file of the day, which is read as a made-up session; nothing is compiled."""
    path = tmp_path_factory.mktemp("day") / "today.npz"
    path.write_bytes(b"a day")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt_module.firmware, "write", lambda *of: (0.01, {}))
        patch.setattr(adapt_module, "read", a_day)
        yield path


def adapt_to(run: RunDir, path: Path, out: Path | None = None, **more) -> tuple[Adaptation, Path]:
    return adapt_module.adapt_run(run, Asked((path,), **more), out, ("rv32imc",), Silent())


def judging(monkeypatch, holds: bool) -> None:
    """What the conditions are told to have found."""
    monkeypatch.setattr(adapt_module, "by_teacher", lambda *of: tuple(one.model_copy(update={"holds": holds}) for one in by_teacher(*of)))


@pytest.fixture(scope="module")
def kept(run, today) -> tuple[Adaptation, Path]:
    """An adaptation in the run that keeps the old student."""
    with pytest.MonkeyPatch.context() as patch:
        judging(patch, False)
        return adapt_to(run, today)


def test_a_student_that_is_kept_leaves_a_report_alone(run, kept):
    found, out = kept
    assert out == run.path / "adapted" / "today" and {path.name for path in out.iterdir()} == {"adaptation.json", "adaptation.md"}
    assert read_document(out / "adaptation.json", ADAPTATION, Adaptation, "") == found
    assert (found.winner, found.updates, found.behaviour_checks) == ("old", {}, ())
    text = (out / "adaptation.md").read_text()
    assert "**The old student is kept** for today." in text and "no behaviour of the day was seen" in text and text.count("not given") == 5
    assert not out.with_name("today.training").exists()
    assert RunDir.open(run.path).is_complete("quantize")  # a run may hold it


def test_behaviour_scores_every_arm_and_decides_and_trains_nothing(run, today, kept, tmp_path):
    found, _ = adapt_to(run, today, tmp_path / "out", behavior=("hand",))
    day = a_session("today", 3, gain=2.0)
    assert all(row.r2 is not None for row in found.rows) and found.winner == ("hindsight" if found.behaviour_checks[0].holds else "old")
    old = decode(load_student(run.file("student.safetensors")), torch.from_numpy(day.features)).numpy()
    assert found.rows[0].r2 == pytest.approx(np.mean(accuracy(day.targets[VALIDATION:], old[VALIDATION:]).r2))
    assert [(row.near, row.old_error) for row in found.rows] == [(row.near, row.old_error) for row in kept[0].rows]


def test_a_new_student_is_written_whole_or_not_at_all(run, today, tmp_path, monkeypatch):
    def fails(folder, *_):
        assert load_student(folder / "student.safetensors")
        raise UserError("it differs")

    judging(monkeypatch, True)
    with monkeypatch.context() as patch:
        patch.setattr(adapt_module.firmware, "write", fails)
        with pytest.raises(UserError, match="it differs"):
            adapt_to(run, today, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert adapt_to(run, today, tmp_path / "out")[0].nrmse_int8_float == 0.01  # from what was trained already
    student = load_student(tmp_path / "out" / "student.safetensors")
    assert not torch.equal(student.head.weight, load_student(run.file("student.safetensors")).head.weight)


def test_an_interrupted_adaptation_goes_on(run, today, kept, tmp_path, monkeypatch):
    class StopsIn(Silent):
        def track(self, items, description, total=None, estimate=True):
            for count, item in enumerate(items):
                if description == "adapt_own" and count == 1:
                    raise KeyboardInterrupt
                yield item

    judging(monkeypatch, False)
    with pytest.raises(KeyboardInterrupt):
        adapt_module.adapt_run(run, Asked((today,)), tmp_path / "cut", ("rv32imc",), StopsIn())
    done = {path.stem for path in (tmp_path / "cut.training").iterdir()}
    assert {"look_back_others", "look_back", "hindsight", "own"} <= done and not (tmp_path / "cut").exists()
    assert adapt_to(run, today, tmp_path / "cut")[0] == kept[0]


def test_files_of_others_are_not_replaced(run, today, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="mine: not empty, and no earlier adaptation"):
        adapt_to(run, today, tmp_path / "mine")
