"""The comparison on sessions of seconds: it resumes, its table is complete, its intervals are those of the textbook."""

import json
import multiprocessing
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.metrics import r2_score

from realm_edge import feature_table
from realm_edge.app import cli
from realm_edge.cutting import split_ends
from realm_edge.documents import jsonable, read_document
from realm_edge.errors import UserError
from realm_edge.evaluation import blocks, cells, pretrained
from realm_edge.evaluation import decoders as arms
from realm_edge.evaluation.bench import Bench, Outcome
from realm_edge.evaluation.convergence import cost_to_reach, race
from realm_edge.evaluation.forms import CellResult, PhaseCost
from realm_edge.evaluation.summary import SYNTHETIC, covered, interval, interval_over, summarise
from realm_edge.evaluation.sweep import Plan, evaluate
from realm_edge.evaluation.table import markdown
from realm_edge.evaluation.tasks import labelled, shifted, tasks, with_labels
from realm_edge.progress import Silent
from realm_edge.readers.choices import Choices
from realm_edge.settings import PRESETS, Settings, SplitSettings
from realm_edge.sources import Recordings
from realm_edge.training.material import gather
from tests.feature_file import feature_file
from tests.loose import loose
from tests.real_recordings import recording as real_recording
from tests.stored_recording import written

TINY = {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 8}
FIT = {"epochs": 2, "lr": 1e-2, "batch": 4}
VALUES = {
    "window_bins": 60, "teacher": TINY, "student": TINY, "pretrain": FIT, "distil": FIT, "finetune": FIT, "transformer_bins": 4,
    "synthetic": {"sessions": 3, "seconds": 22, "heldout_seconds": 22, "channels": 4, "units": 2},
}  # fmt: skip
SETTINGS = Settings.model_validate(VALUES)
NAMES = [arm.name for arm in arms.decoders(double=True, spikes=True, others=True)]
PRETRAINING = {
    "student": {"pretrain", "distil"}, "student_half": {"pretrain", "distil"}, "autoencoded": {"autoencode"}, "supervised": {"supervised"},
    "gru_pretrained": {"supervised"}, "transformer_pretrained": {"supervised"}, "teacher": {"pretrain"}, "teacher_ridge": {"pretrain"},
    "student_ridge": {"pretrain", "distil"},
    "unlabelled": {"pretrain", "distil"}, "hindsight": {"pretrain", "look back 1", "look back 2", "hindsight"},
    "hindsight_own": {"supervised", "twin", "own"},
}  # fmt: skip
WITHOUT_STEPS = ("kalman", "wiener", "wiener_pretrained", "teacher_ridge", "student_ridge", "null")
LABELLED = {"training": 90, "validation": 10}
PLAN = Plan(SETTINGS, seeds=1, heldout=2, labels=(0.5, 1.0), double=True, command="realm-edge evaluate")


class Counting(Silent):
    """Counts the cells that are computed, and can stop after some of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.cells, self.stop = 0, stop

    def track(self, items, description, total=None, estimate=True):
        for item in items:
            if description == "decoders":
                self.cells += 1
            yield item
            if self.cells == self.stop:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swept")
    evaluate(PLAN, out, Silent())
    return out


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "results").iterdir()}


def scores(out: Path) -> dict[str, float]:
    return {name: json.loads(content)["r2"] for name, content in files(out).items()}


def test_every_cell_has_a_result_and_every_decoder_a_row(swept: Path) -> None:
    results = [json.loads(content) for content in files(swept).values()]
    sessions = ("synthetic_1", "synthetic_heldout")
    assert len(results) == len(NAMES) * 2 * 2
    assert Counter((one["session"], one["seed"], one["labels"]) for one in results) == {
        (session, 0, share): len(NAMES) for session in sessions for share in (0.5, 1.0)
    }
    for one in results:
        assert one["made_from"]["settings"] == SETTINGS.digest() and one["command"] == "realm-edge evaluate"
        assert one["made_from"]["recordings"]["pretraining"] == [["synthetic_0", None]]  # neither of the two that are decoded
        assert one["r2"] == pytest.approx(np.mean(list(one["r2_by_axis"].values())))
        assert one["parameters"] > 0 and one["macs_per_step"] > 0 and one["training_seconds"] > 0
        assert (one["steps_to_best"] is None) == (one["decoder"].removeprefix("spike_") in WITHOUT_STEPS)
        if one["steps_to_best"] is not None:
            best = int(np.argmin(one["validation_loss"]))
            assert one["steps_to_best"] == sum(one["steps_by_epoch"][: best + 1])
        if one["decoder"] == "hindsight_safe":  # as hindsight or its causal twin, and both were weighed
            assert {"pretrain", "look back 1", "look back 2", "supervised"} <= set(one["pretraining"])
        elif one["decoder"] == "restarted":  # all but the last fit of the one that is kept
            assert Counter(phase.partition(" ")[0] for phase in one["pretraining"]) == {"supervised": 3, "twin": 2}
        else:
            assert set(one["pretraining"]) == PRETRAINING.get(one["decoder"], set())
        assert all(phase["seconds"] > 0 and phase["steps"] > 0 for phase in one["pretraining"].values())

    summary = read_document(swept / "evaluation.json", "realm-edge evaluation/2", dict, "")
    assert [(row["labels"], row["decoder"]) for row in summary["rows"]] == [(share, name) for share in (0.5, 1.0) for name in NAMES]
    text = (swept / "evaluation.md").read_text()
    for row in summary["rows"]:
        assert row["cells"] == 2
        raced = row["decoder"] != "student" and row["steps_to_best"] is not None
        assert text.count(f"| {row['label']} |") == 2 * (1 + raced)  # one table a share of labels, and that of the steps
        assert (row["race"] is not None) == raced
    gru, doubled = (next(row for row in summary["rows"] if row["decoder"] == name) for name in ("gru", "gru_x2"))
    student = next(row for row in summary["rows"] if row["decoder"] == "student")
    assert gru["parameters"] / student["parameters"] == pytest.approx(1, abs=0.15)
    assert doubled["parameters"] / student["parameters"] == pytest.approx(2, abs=0.15)
    assert (swept / "evaluation.png").read_bytes().startswith(b"\x89PNG") and b"</svg>" in (swept / "evaluation.svg").read_bytes()


def test_synthetic_figures_say_so(swept: Path) -> None:
    told = read_document(swept / "evaluation.json", "realm-edge evaluation/2", dict, "")["caption"]
    assert SYNTHETIC in (swept / "evaluation.md").read_text() and SYNTHETIC in told
    assert "synthetic, no evidence about brains" in (swept / "evaluation.svg").read_text()
    one = json.loads(next(iter(files(swept).values())))
    given = {name: value for name, value in one.items() if name not in ("made_from", "digest")}
    results = [CellResult(**given | {"decoder": name, "synthetic": False}) for name in NAMES]
    real = summarise(results, arms.decoders(True, True, True), SETTINGS)
    assert not real.synthetic and "ynthetic recordings" not in markdown(real)


def shared(out: Path) -> Counter[str]:
    return Counter(path.name.split("-")[0] for path in (out / "pretrained").glob("*.safetensors"))


def expected_once(plan: Plan) -> int:
    """Models that cells share, as the estimate of the time left counts them."""
    todo = tasks(plan.recordings, plan.settings, plan.heldout, Silent())
    given = cells.Conditions(plan.settings, plan.recordings, "", Path(), Path())
    chosen = arms.decoders(plan.double, todo[0].decoded.counts is not None, bool(todo[0].others))
    every = [cells.Cell(given, task, arm.name, share, 0) for arm in chosen for task in todo for share in plan.labels]
    return len({part.once for cell in every for part in cell.parts if part.once is not None})


def test_a_teacher_is_trained_once_for_all_sessions_and_labels(swept: Path) -> None:
    assert shared(swept) == {
        "pretrain": 1, "distil": 3, "supervised": 3, "autoencode": 1, "gru_pretrained": 1, "transformer_pretrained": 1,
        "look_back_others": 1, "look_back": 4, "hindsight": 4, "own": 4,
    }  # fmt: skip  # distilled: the student, its half, without labels; supervised: three seeds; the last three by session and share
    assert expected_once(PLAN) == 8


def test_a_second_run_computes_nothing(swept: Path) -> None:
    before, progress = files(swept), Counting()
    evaluate(PLAN, swept, progress)
    assert progress.cells == 0 and files(swept) == before


FEW = ("student", "gru", "wiener")


def test_an_interrupted_sweep_goes_on_to_the_same_scores(swept: Path, tmp_path: Path) -> None:
    plan, done = replace(PLAN, labels=(1.0,), decoders=FEW), 3
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, tmp_path, Counting(stop=done))
    assert len(files(tmp_path)) == done and not (tmp_path / "evaluation.json").exists()
    progress = Counting()
    evaluate(plan, tmp_path, progress)
    expected = {name: score for name, score in scores(swept).items() if "labels100" in name and name.split(".")[1] in FEW}
    assert progress.cells == len(expected) - done
    assert scores(tmp_path) == expected


@pytest.mark.slow
def test_workers_give_the_scores_of_one_process_and_share_a_teacher(swept: Path, tmp_path: Path) -> None:
    summary = evaluate(replace(PLAN, labels=(1.0,), decoders=("wiener", "student"), workers=2), tmp_path, Silent())
    assert [row.decoder for row in summary.rows] == ["student", "wiener"]
    assert scores(tmp_path) == {name: scores(swept)[name] for name in scores(tmp_path)} and len(scores(tmp_path)) == 4
    seconds = {
        json.loads(content)["pretraining"]["pretrain"]["seconds"] for name, content in files(tmp_path).items() if ".student." in name
    }
    assert len(seconds) == 1  # trained by one worker while the other waited


@pytest.mark.slow
def test_what_ends_one_process_ends_the_workers_too(tmp_path: Path) -> None:
    plan = replace(PLAN, labels=(1.0,), decoders=("wiener", "kalman"), workers=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, tmp_path, Counting(stop=1))
    with pytest.raises(UserError, match="behaviour is unknown over the whole training part"):
        evaluate(replace(plan, labels=(1e-4, 1.0)), tmp_path, Silent())
    assert not multiprocessing.active_children() and not list(tmp_path.rglob(".*.partial-*"))


def test_results_of_other_settings_are_refused(swept: Path) -> None:
    other = replace(PLAN, settings=SETTINGS.model_copy(update={"transformer_bins": 1}))
    with pytest.raises(UserError, match=r"results/.*json: made with other settings or recordings, .*: name another --out"):
        evaluate(other, swept, Silent())


def test_paired_differences_and_intervals_by_hand() -> None:
    assert interval([0.1, 0.2, 0.3]) == pytest.approx([0.2 - 4.302653 * 0.1 / 3**0.5, 0.2 + 4.302653 * 0.1 / 3**0.5])
    assert interval([0.3, 0.4]) is None
    chosen = [arm for arm in arms.decoders(False, False, False) if arm.name in ("student", "gru", "wiener")]
    r2 = {"student": [0.6, 0.7, 0.5, 0.6], "gru": [0.5, 0.5, 0.5, 0.5], "wiener": [0.3, 0.3, 0.4, 0.4]}
    results = [
        made({
            "decoder": name, "session": session, "seed": seed, "labels": 1.0, "synthetic": True, "r2": value, "r2_by_axis": {"x": value},
            "r": 0.5, "bins": 10, "labelled": LABELLED,
            "blocks": [[[1, 0, 1, 1]]], "segments": 1, "r2_with_history": None, "parameters": 5, "macs_per_step": 5,
            "training_seconds": 1.0, "pretraining": {}, "steps_to_best": None, "stopped_early": None,
        })
        for name, values in r2.items()
        for (session, seed), value in zip([("a", 0), ("a", 1), ("b", 0), ("b", 1)], values, strict=True)
    ]  # fmt: skip
    student, gru, wiener = summarise(results[::-1], chosen, SETTINGS).rows  # the order of the files does not matter
    assert student.r2 == pytest.approx(0.6) and student.student_gain is None
    assert gru.student_gain == pytest.approx(0.1)
    assert gru.student_gain_interval is None  # two sessions, two seeds: four cells, and no three that are independent
    assert wiener.r2_interval is None


def test_cells_of_one_session_are_no_independent_observations() -> None:
    cells = [made({"session": session, "seed": seed}) for session in "abc" for seed in range(4)]
    values = [base + 0.01 * seed for base in (0.2, 0.5, 0.8) for seed in range(4)]
    assert interval_over(cells, values) == pytest.approx(interval([0.215, 0.515, 0.815]))  # not over twelve
    assert interval_over(cells[:8], values[:8]) == pytest.approx(interval([0.35, 0.36, 0.37, 0.38]))  # of two sessions: over seeds
    assert interval_over(cells[:4], [0.3] * 4) is None  # the same at every seed is one observation
    assert covered("abc", range(4)) == "over 3 sessions, of each the mean over seeds"
    assert covered("ab", range(4)).startswith("over 4 seed(s), of each the mean over sessions: they cover chance in training and not")


def test_block_sums_give_r2_and_its_spread_over_test_data() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal([1, 2], 1, (3000, 2))
    true[100:150] = np.nan
    good, bad = true + 0.5 * rng.standard_normal((3000, 2)), true + 0.7 * rng.standard_normal((3000, 2))
    good[100:150] = bad[100:150] = 0.0
    sums = [np.array(blocks.block_sums(true, predicted, 0.1, (0,))) for predicted in (good, bad)]
    assert sums[0].shape == (30, 2, 4) and sums[0][:, 0, 0].tolist() == [100, 50, *[100] * 28]
    known = np.isfinite(true).all(axis=1)
    exact = [r2_score(true[known], predicted[known]) for predicted in (good, bad)]
    n, y, square, error = np.moveaxis(sums[0].sum(axis=0), -1, 0)
    assert np.mean(1 - error / (square - y**2 / n)) == pytest.approx(exact[0])
    ragged = blocks.block_sums(true[:2950], good[:2950], 0.1, (0,))
    assert [int(block[0][0]) for block in ragged][-2:] == [100, 150]

    low, high = blocks.difference_interval([(sums[0][None], sums[1][None])])
    assert low < exact[0] - exact[1] < high and 0.02 < high - low < 0.1
    # One standard error from the blocks' own differences, as block errors are independent here.
    errors = (sums[1] - sums[0])[:, :, 3].mean(axis=1) / 100
    assert high - low == pytest.approx(2 * 1.96 * errors.std(ddof=1) / 30**0.5, rel=0.2)
    assert blocks.difference_interval([(sums[0][None], sums[0][None])]) == (0.0, 0.0)
    assert blocks.difference_interval([(sums[0][None, :4], sums[1][None, :4])]) is None


def test_blocks_begin_with_segments_and_short_segments_share_one() -> None:
    def bins(starts: tuple[int, ...], total: int) -> list[int]:
        true = np.random.default_rng(0).standard_normal((total, 1))
        return [int(block[0][0]) for block in blocks.block_sums(true, true, 0.1, starts)]  # blocks of 100 bins

    assert bins((0,), 350) == [100, 100, 150] and bins((0,), 60) == [60]
    assert bins((0, 250), 550) == [100, 150, 100, 100, 100]  # one segment's rest is not the next one's beginning
    assert bins(tuple(range(0, 400, 40)), 400) == [120, 120, 160]  # whole trials of 4 s
    assert bins((0, 40, 290), 330) == [100, 230]  # a long segment that begins within a block is cut, and what is left joins the last


def made(content: dict[str, Any]) -> CellResult:
    return loose(CellResult, content)


def cell(r2: float, losses: list[float]) -> dict[str, Any]:
    epochs = len(losses)
    return {
        "r2": r2, "validation_loss": losses, "steps_by_epoch": [2] * epochs, "seconds_by_epoch": [1.0, 2.0, 3.0, 4.0][:epochs],
        "steps_to_best": 2 * (losses.index(min(losses)) + 1), "training_seconds": 1.0, "pretraining": {},
    }  # fmt: skip


def test_steps_to_the_others_best_by_hand() -> None:
    fast, slow = made(cell(0.6, [0.5, 0.4, 0.45, 0.46])), made(cell(0.5, [0.9, 0.7, 0.5, 0.6]))
    equal = (made(cell(0.6, [0.3, 0.5])), made(cell(0.5, [0.3, 0.3])))
    assert [cost_to_reach(fast, loss) for loss in (0.5, 0.4, 0.3)] == [(2, 1.0), (4, 3.0), None]
    found = jsonable(race([(fast, slow), equal]))
    assert found["best"] == {"validation_loss": pytest.approx(0.4), "reached": 2, "steps": 4, "seconds": pytest.approx((6 + 1) / 2)}
    assert found["first"] == {"reached": 2, "steps": 2, "seconds": pytest.approx(1)}
    assert found["second"] == {"reached": 1, "steps": 2, "seconds": pytest.approx(1)}  # the slow one never is as good
    assert found["cells"] == 2 and found["ratio"] == pytest.approx(((2 / 6) * (2 / 2)) ** 0.5)
    phases = {"pretrain": loose(PhaseCost, {"seconds": 20.0}), "distil": loose(PhaseCost, {"seconds": 10.0})}
    taught = made(cell(0.6, [0.4]) | {"pretraining": phases})
    assert jsonable(race([(taught, slow)]))["repaid_after"] == pytest.approx(30 / (6 - 1))
    assert jsonable(race([(taught, slow), (taught, equal[1])]))["repaid_after"] is None  # in one cell it is never as good
    assert found["repaid_after"] == 0  # nothing was spent, and 5 of 6 s are saved in one of two cells
    never = jsonable(race([(slow, fast)]))
    assert never["first"] == {"reached": 0, "steps": None, "seconds": None} and never["ratio"] is None


def test_what_did_not_stop_early_is_named() -> None:
    (arm,) = arms.chosen(("gru",), spikes=False, others=False)
    one = cell(0.5, [0.5, 0.4]) | {
        "decoder": "gru", "session": "a", "seed": 0, "labels": 1.0, "synthetic": False, "r2_by_axis": {"x": 0.5}, "r": 0.5, "bins": 10,
            "labelled": LABELLED,
        "blocks": [[[1, 0, 1, 1]]], "segments": 1, "r2_with_history": None, "parameters": 5, "macs_per_step": 5, "pretraining": {},
    }  # fmt: skip
    late = summarise([made(one | {"stopped_early": False}), made(one | {"seed": 1, "stopped_early": True})], [arm], SETTINGS)
    assert "more epochs might change them: GRU (100 %)." in late.caption and late.rows[0].stopped_early == 0.5
    assert late.rows[0].student_gain is None and late.rows[0].race is None  # there is no student
    assert "more epochs" not in summarise([made(one | {"stopped_early": True})], [arm], SETTINGS).caption


def test_every_arm_starts_anew_with_segments_and_tables_say_how_it_does_with_history(tmp_path: Path) -> None:
    (task,) = tasks(Recordings(), SETTINGS, 1, Silent())
    session = task.decoded
    starts = np.array([0, 300, 330, session.validation_end + 20, session.validation_end + 120])
    conditions = cells.Conditions(SETTINGS, Recordings(), "", tmp_path, tmp_path)
    chosen = arms.chosen(("student", "gru", "transformer", "kalman", "teacher", "teacher_ridge", "autoencoded"), spikes=True, others=True)

    def computed(**changes: Any) -> list[CellResult]:
        changed = replace(task, decoded=replace(session, **changes))
        return [cells.Cell(conditions, changed, arm.name, 1.0, 0).compute() for arm in chosen]

    for one in computed(starts=starts):
        history = [k + 1 - max(start for start in starts if start <= k) for k in range(session.validation_end, session.bins)]
        assert one.segments == 5 and one.bins_with_history == sum(bins >= 50 for bins in history) < one.bins - 40
        assert np.isfinite(one.r2_with_history) and one.r2_with_history != one.r2
    results = [one.model_copy(update={"decoder": arm.name}) for arm, one in zip(chosen, computed(starts=starts), strict=True)]
    text = markdown(summarise(results, chosen, SETTINGS))
    assert "| decoder | R² | R² with history |" in text and "decoders start anew with every segment" in text
    assert f"| Kalman | {results[-3].r2:.3f} | {results[-3].r2_with_history:.3f} |" in text
    plain = markdown(summarise([one.model_copy(update={"segments": 1}) for one in results], chosen, SETTINGS))
    assert "history" not in plain and "anew" not in plain


def test_half_the_student_is_about_half(tmp_path: Path) -> None:
    session = tasks(Recordings(), SETTINGS, 1, Silent())[0].decoded
    material = gather([session], session, "features", 0.02)
    for name, preset in PRESETS.items():
        kinds = 1 + len(preset.lfp.bands_hz)
        inputs = np.zeros((1, kinds * preset.synthetic.channels), np.float32)
        wide = replace(material, inputs=inputs, decoded=replace(material.decoded, kinds=kinds))
        bench = Bench(preset, wide, 60, 0, tmp_path, {})
        half = pretrained.halved(bench)
        assert bench.parameters(half) / bench.student_parameters == pytest.approx(0.5, abs=0.08), name
        assert half.d_inner % half.headdim == 0


def test_one_recording_has_no_other_labels_and_no_spikes_leave_those_arms_out() -> None:
    with pytest.raises(UserError, match="--decoders supervised: it learns from other sessions and there is one recording"):
        arms.chosen(("supervised",), spikes=True, others=False)
    with pytest.raises(UserError, match="--decoders spike_gru: a recording has no spikes"):
        arms.chosen(("spike_gru",), spikes=False, others=True)
    assert not any(arm.needs_others or arm.inputs == "counts" for arm in arms.decoders(True, False, False))


def test_without_a_label_of_the_decoded_session_others_teach(tmp_path: Path) -> None:
    plan = Plan(SETTINGS, seeds=1, labels=(0.0,), decoders=("hindsight", "wiener_pretrained", "gru"))
    summary = evaluate(plan, tmp_path, Silent())
    assert [(row.decoder, row.labelled.training, row.labelled.validation) for row in summary.rows] == [
        ("hindsight", 0, 0), ("wiener_pretrained", 0, 0),
    ]  # fmt: skip
    assert summary.rows[1].r > 0.3  # behaviour of the same kind
    with pytest.raises(UserError, match="none of the decoders learns without a label of the decoded session"):
        evaluate(replace(plan, decoders=("gru", "scratch")), tmp_path, Silent())


def test_each_session_in_turn() -> None:
    everyone = tasks(Recordings(), SETTINGS, None, Silent())
    assert [(task.decoded.name, [other.name for other in task.others]) for task in everyone] == [
        ("synthetic_0", ["synthetic_1", "synthetic_heldout"]),
        ("synthetic_1", ["synthetic_0", "synthetic_heldout"]),
        ("synthetic_heldout", ["synthetic_0", "synthetic_1"]),
    ]
    assert all(task.decoded.validation_end < task.decoded.bins for task in everyone)
    with pytest.raises(UserError, match=r"--heldout 3: of 3 session\(s\) 1 to 2 can be held out, or all"):
        tasks(Recordings(), SETTINGS, 3, Silent())


def test_labels_are_hidden_in_the_training_part_alone_and_the_null_is_turned_by_ten_seconds() -> None:
    (task,) = tasks(Recordings(), SETTINGS, 1, Silent())
    session = task.decoded
    few = with_labels(session, 0.25)
    known = np.isfinite(few.targets).all(axis=1)
    assert known[: round(0.25 * session.train_end)].all() and not known[round(0.25 * session.train_end) : session.train_end].any()
    np.testing.assert_array_equal(few.targets[session.train_end :], session.targets[session.train_end :])
    assert jsonable(labelled(few)) == {
        "training": int(known[: session.train_end].sum()),
        "validation": int(np.isfinite(session.targets[session.train_end : session.validation_end]).all(axis=1).sum()),
    }
    for seed in range(20):
        turned = shifted(session, 0.02, seed).targets
        by = next(k for k in range(session.bins) if np.array_equal(np.roll(session.targets, k, axis=0), turned))
        assert 500 <= by <= session.bins - 500
    with pytest.raises(UserError, match="too short for a circular shift"):
        shifted(session, 0.005, 0)


def test_features_enter_at_the_decoder(tmp_path: Path) -> None:
    path = feature_file(tmp_path / "grip.nwb")
    split = SETTINGS.model_copy(update={"split": SplitSettings(train=0.68, validation=0.12)})
    session, bin_s = feature_table.read(path, "power", None, split, partial(split_ends, settings=split))
    assert (session.bins, session.train_end, session.validation_end, session.synthetic) == (700, 476, 560, False)
    (divided,) = tasks(Recordings((path,), features="power"), split, 1, Silent())
    assert (divided.decoded.train_end, divided.decoded.validation_end) == (476, 560)  # the settings' parts, not some of its own
    assert bin_s == pytest.approx(0.1) and session.target_names == ("force",) and session.features.shape == (700, 5)
    (task,) = tasks(Recordings((path,), features="power"), SETTINGS, 1, Silent())
    assert task.window == 50 and not task.others

    out = tmp_path / "out"
    plan = Plan(SETTINGS, Recordings((path,), Choices(("force",)), features="power"), seeds=1, labels=(0.5, 1.0))
    summary = jsonable(evaluate(plan, out, Silent()))
    assert expected_once(plan) == 7
    assert shared(out) == {  # alone, the session distils with the labels that are known, or with none
        "pretrain": 1, "distil": 5, "autoencode": 1, "look_back": 2, "hindsight": 2, "own": 2,
    }  # fmt: skip
    rows = {row["decoder"]: row for row in summary["rows"] if row["labels"] == 0.5}
    assert not any(name.startswith("spike") for name in rows) and not summary["synthetic"]
    assert rows["wiener"]["r2"] > 0.7 > 0.3 > rows["null"]["r2"]
    assert all(row["r2_interval"] is None for row in rows.values())  # one seed, one session


def test_sessions_of_different_tasks_are_not_averaged(tmp_path: Path) -> None:
    flat = feature_file(tmp_path / "flat.nwb")
    deep = feature_file(tmp_path / "deep.nwb", force=np.sin(np.arange(1400.0)).reshape(700, 2))
    third = feature_file(tmp_path / "third.nwb")
    with pytest.raises(UserError, match="deep: its behaviour is force_x, force_y, but flat has force: compare sessions of one task"):
        tasks(Recordings((third, flat, deep), Choices(("force",)), features="power"), SETTINGS, 2, Silent())


def test_recordings_of_features_that_are_too_short(tmp_path: Path) -> None:
    short = feature_file(tmp_path / "short.nwb", rows=200)
    with pytest.raises(UserError, match=r"short: a part of 1\.6 s is shorter than one training window of 5\.0 s"):
        tasks(Recordings((short,), features="power"), SETTINGS, 1, Silent())


def test_ridge_on_the_human_recording_reaches_its_floor(tmp_path: Path) -> None:
    """The floor was measured outside, with 100 ms bins, 80/20 in order of time: 0.40 to 0.43 from the ECoG features alone."""
    path = real_recording("human_grip_force_features.nwb")
    (task,) = tasks(Recordings((path,), Choices(("grip_force",)), features="features"), Settings(), 1, Silent())
    assert (task.decoded.bins, task.decoded.validation_end, task.bin_s) == (2810, 2248, pytest.approx(0.1))
    conditions = cells.Conditions(Settings(), Recordings((path,), Choices(("grip_force",)), features="features"), "", tmp_path, tmp_path)
    assert cells.Cell(conditions, task, "wiener", 1.0, 0).compute().r2 > 0.3


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = feature_file(tmp_path / "grip.nwb")
    (tmp_path / "tiny.toml").write_text(
        "window_bins = 60\ntransformer_bins = 4\n" + "".join(f"[{part}]\nepochs = 1\n" for part in ("pretrain", "distil", "finetune"))
    )
    given = ["evaluate", "--config", "tiny.toml", "--data", path.name, "--behavior", "force", "--features", "power", "--seeds", "1"]
    shown = CliRunner().invoke(cli.main, [*given, "--out", "here", "--json"])
    assert shown.exit_code == 0, shown.output
    summary = json.loads(shown.stdout)
    assert summary["command"] == "realm-edge " + " ".join([*given, "--heldout", "1", "--labels", "1.0"])
    assert read_document(Path("here/evaluation.json"), "realm-edge evaluation/2", dict, "") == summary
    table = CliRunner().invoke(cli.main, [*given, "--out", "here"])
    assert table.exit_code == 0 and re.search(r"\| Wiener \| 0\.\d+ \|", table.stdout) and "0 cells" not in table.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "a,b"], "--labels a: use shares such as 0.1,0.25,1.0"),
        (["--labels", "0.5,1.5"], "--labels 1.5: a share of the labels lies from 0 to 1"),
        (["--heldout", "some"], "--heldout some: use a number of sessions, or all"),
        (["--labels", ""], "--labels '': use shares such as 0.1,0.25,1.0"),
        (["--seeds", "0"], "--seeds 0: use 1 to 1000"),
        (["--seeds", "999999999"], "--seeds 999999999: use 1 to 1000"),
        (["--decoders", "student,"], "--decoders '': no such decoder: use some of student,student_half,"),
        (["--features", "power"], "--features power: the synthetic recordings have one of each"),
        (["--behavior", "speed"], "--behavior speed: the synthetic recordings have one of each"),
        (["--decoders", "student,svm"], "--decoders svm: no such decoder: use some of student,student_half,"),
        (["--workers", "0"], "--workers 0: use 1 to 1000"),
        (["--data", "none.nwb"], "none.nwb: no such file"),
        (["--data", "a/x.npz", "--data", "b/x.npz"], "two recordings are named x"),
    ],
)
def test_wrong_input_is_one_line_with_status_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.main, ["evaluate", *arguments])
    assert result.exit_code == 2 and result.stdout == ""
    assert message in " ".join(result.stderr.split()) and "Traceback" not in result.stderr


def test_a_gpu_that_is_not_there_is_told_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=r"--device cuda: 1 process\(es\) but 0 GPU\(s\)"):
        Plan(SETTINGS, device="cuda")


def test_a_plan_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="labels: name at least one share"):
        evaluate(Plan(SETTINGS, labels=()), tmp_path, Silent())


@pytest.mark.parametrize("heldout", [0, -5, 2])
def test_of_one_recording_one_is_decoded(tmp_path: Path, heldout: int) -> None:
    one = Recordings((written(tmp_path / "a.realm"),), Choices(("hand",)))
    with pytest.raises(UserError, match=rf"--heldout {heldout}: of 1 session\(s\) 1 can be held out, or all"):
        tasks(one, SETTINGS, heldout, Silent())


def test_the_null_is_scored_against_the_behaviour_that_it_was_fitted_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks(Recordings(), SETTINGS, 2, Silent())[1]
    turned = shifted(task.decoded, task.bin_s, 0)
    bench_targets = []

    def perfect(bench: Bench) -> Outcome:
        bench_targets.append(bench.material.decoded.targets)
        return Outcome(turned.targets, 1, 1, 0.0)

    monkeypatch.setitem(arms.ALL, "null", replace(arms.ALL["null"], fit=perfect))
    conditions = cells.Conditions(SETTINGS, Recordings(), "", tmp_path, tmp_path)
    assert cells.Cell(conditions, task, "null", 1.0, 0).compute().r2 == pytest.approx(1.0)
    train = turned.targets[: turned.train_end]
    np.testing.assert_allclose(bench_targets[0][: turned.train_end], (train - train.mean(0)) / train.std(0), atol=1e-3)
