"""Tables of evaluations and studies, and what is told of a recording, read back cell by cell from numbers that all differ."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest

from realm_edge.app.inspection_text import lines
from realm_edge.documents import jsonable
from realm_edge.evaluation import stability_output, study_output, summary, table
from realm_edge.evaluation.decoders import ALL
from realm_edge.evaluation.forms import (
    ArrayResult,
    CellResult,
    DayScore,
    Evaluation,
    ScoredRow,
    StudyRow,
    StudySummary,
    TrainedRow,
    ValidatedRow,
)
from realm_edge.evaluation.summary import interval, summarise
from realm_edge.settings import Settings
from tests.loose import loose


def cells(text: str) -> list[list[list[str]]]:
    """Every table of a Markdown text: rows of cells, without the rule below the head."""
    tables: list[list[list[str]]] = [[]]
    for row in text.splitlines():
        if row.startswith("| "):
            tables[-1].append([cell.strip() for cell in row.strip("|").split(" | ")])
        elif tables[-1]:
            tables.append([])
    return [[row for row in each if not row[0].startswith("---")] for each in tables if each]


def row(k: int, **changes: Any) -> dict[str, Any]:
    """Numbers of one row; all of them differ from one another and from those of other rows."""
    at = itertools.count(100 * k + 1)

    def n(scale: float = 1000.0) -> float:
        return next(at) / scale

    made = {
        "decoder": "gru", "label": f"label {k}", "chance": False, "labels": 0.5, "cells": 4,
        "labelled": {"training": 1000 * k, "validation": 100}, "r2": n(), "r2_interval": [n(), n()],
        "r2_with_history": n(), "r2_by_axis": {"vx": n(), "vy": n()}, "r": n(), "student_gain": n(), "student_gain_interval": [-n(), n()],
        "student_gain_test_interval": [-n(), n()], "parameters": 10_000 + next(at), "macs_per_step": 20_000 + next(at),
        "training_seconds": n(10), "pretraining_seconds": n(10), "pretraining_steps": 3000 + next(at), "steps_to_best": 400.0 + next(at),
        "validation_loss": n(), "stopped_early": (1 + k) / 10, "race": None, "variant": f"variant {k}", "at": k, "change": n(),
        "change_interval": [-n(), n()],
    }  # fmt: skip
    return made | changes


def of(kind: type[TrainedRow], rows: list[dict[str, Any]]) -> list[TrainedRow]:
    """The rows as such, without what it does not have."""
    return [loose(kind, {name: value for name, value in one.items() if name in kind.model_fields}) for one in rows]


def signed(value: float, ends: list[float]) -> str:
    return f"{value:+.3f} [{ends[0]:+.3f}, {ends[1]:+.3f}]"


SAID = {"segmented": True, "caption": "caption", "settings": "0123456789abcdef", "command": "the command"}
ABOUT = SAID | {"target_names": ["vx", "vy"]}


def test_every_cell_of_a_comparison():
    rows = [row(1), row(2, student_gain=None, student_gain_test_interval=None, pretraining_seconds=0.0), row(3, labels=1.0)]
    first, second = cells(table.markdown(loose(Evaluation, ABOUT | {"rows": of(ScoredRow, rows)})))
    assert first[0] == second[0]
    assert first[0] == [
        *("decoder", "R²", "R² with history", "R² vx", "R² vy", "Pearson r", "student minus this", "over test data", "parameters"),
        *("MACs per step", "training s", "steps to best", "stopped early"),
    ]

    def expected(one: dict[str, Any]) -> list[str]:
        low, high = one["r2_interval"]
        over = one["student_gain_test_interval"]
        seconds = f"{one['training_seconds']:.1f}"
        return [
            one["label"],
            f"{one['r2']:.3f} [{low:.3f}, {high:.3f}]",
            f"{one['r2_with_history']:.3f}",
            f"{one['r2_by_axis']['vx']:.3f}",
            f"{one['r2_by_axis']['vy']:.3f}",
            f"{one['r']:.3f}",
            "–" if one["student_gain"] is None else signed(one["student_gain"], one["student_gain_interval"]),
            "–" if over is None else f"[{over[0]:+.3f}, {over[1]:+.3f}]",
            f"{one['parameters']:,}",
            f"{one['macs_per_step']:,}",
            seconds + (f" + {one['pretraining_seconds']:.1f} before" if one["pretraining_seconds"] else ""),
            f"{one['steps_to_best']:.0f}",
            f"{100 * one['stopped_early']:.0f} %",
        ]

    assert first[1:] == [expected(one) for one in rows[:2]] and second[1:] == [expected(rows[2])]
    text = table.markdown(loose(Evaluation, ABOUT | {"rows": of(ScoredRow, rows)}))
    assert "Settings 0123456789ab. Command: `the command`" in text
    ways = [line for line in text.splitlines() if line.startswith("##") or " labelled bins " in line]
    assert ways == [
        *("## 50 % of the training labels", "1,500 labelled bins to train on and 100 to validate on, which are 6 % of what is labelled."),
        *("## 100 % of the training labels", "3,000 labelled bins to train on and 100 to validate on, which are 3 % of what is labelled."),
    ]


def test_every_cell_of_a_race():
    race = {
        "cells": 9,
        "best": {"validation_loss": 0.345, "reached": 9, "steps": 61.0, "seconds": 7.5},
        "first": {"reached": 8, "steps": 22.0, "seconds": 3.25},
        "second": {"reached": 0, "steps": None, "seconds": None},
        "ratio": 0.36,
        "repaid_after": 12.4,
    }
    rows = [row(1, decoder="student", student_gain=None), row(2, race=race)]
    _, raced = cells(table.markdown(loose(Evaluation, ABOUT | {"rows": of(ScoredRow, rows)})))
    before = f"{rows[1]['pretraining_steps']:,} steps ({rows[1]['pretraining_seconds']:.1f} s)"
    assert raced[1] == ["label 2", "0.345", "61 (7.5 s)", "22 (3.2 s) [8 of 9]", "0.36", "never [0 of 9]", before, "12 sessions"]
    own = f"The student's pretraining took {rows[0]['pretraining_steps']:,} steps ({rows[0]['pretraining_seconds']:.1f} s)"
    assert own in table.markdown(loose(Evaluation, ABOUT | {"rows": of(ScoredRow, rows)}))


@pytest.mark.parametrize("score", ["r2", "validation_loss"])
def test_every_cell_of_a_study(score):
    rows = [row(1), row(2, labels=1.0), row(3)]
    kind = {"r2": StudyRow, "validation_loss": ValidatedRow}[score]
    summary = loose(StudySummary, SAID | {"rows": of(kind, rows), "question": "Why?", "score": score})
    first, second = cells(study_output.markdown(summary))
    scored = {"r2": ["R²", "R² with history"], "validation_loss": ["validation loss"]}[score]
    gain = ["student minus this"] if score == "r2" else []
    assert first[0] == ["variant", "decoder", *scored, "difference to the first", *gain, "parameters", "steps to best", "stopped early"]

    def expected(one: dict[str, Any]) -> list[str]:
        low, high = one["r2_interval"]
        r2 = [f"{one['r2']:.3f} [{low:.3f}, {high:.3f}]", f"{one['r2_with_history']:.3f}"]
        scores = {"r2": r2, "validation_loss": [f"{one['validation_loss']:.3f}"]}
        gains = [signed(one["student_gain"], one["student_gain_interval"])] if score == "r2" else []
        costs = [f"{one['parameters']:,}", f"{one['steps_to_best']:.0f}", f"{100 * one['stopped_early']:.0f} %"]
        return [one["variant"], one["label"], *scores[score], signed(one["change"], one["change_interval"]), *gains, *costs]

    assert first[1:] == [expected(rows[0]), expected(rows[2])] and second[1:] == [expected(rows[1])]


def test_every_cell_of_the_study_of_stability():
    rows = [
        {
            "input": source,
            "decoder": decoder,
            "statistics": statistics,
            "refit": refit,
            "day": day,
            "r2": 0.001 * k,
            "r": 0.0,
            "array": array,
        }
        for k, (array, source, decoder, statistics, refit, day) in enumerate(
            itertools.product((5, 6, 7), ("LFP", "spikes"), ("student", "Wiener"), ("frozen", "running"), (False, True), (0.0, 3.0)), 1
        )
        if not (refit and day == 0.0)
    ]
    by_array = [[{name: one[name] for name in DayScore.model_fields} for one in rows if one["array"] == seed] for seed in (5, 6, 7)]
    results = [ArrayResult(command="x", seed=seed, seconds=1.0, rows=own) for seed, own in zip((5, 6, 7), by_array, strict=True)]
    made = stability_output.summarise(results, 60.0, 41.0, study="stability", settings="0" * 64, command="x")
    assert made.arrays == (5, 6, 7) and "on the first 60 s" in made.caption and "time constant 41 s" in made.caption
    ((head, *body),) = cells(stability_output.markdown(made))
    assert head == ["input", "decoder", "statistics", "day 0", "day 3"] and len(body) == 16
    for source, decoder, statistics, *days in body:
        kind, _, refit = statistics.partition(", ")
        for day, cell in zip((0.0, 3.0), days, strict=True):
            wanted = {"input": source, "decoder": decoder, "statistics": kind, "refit": bool(refit), "day": day}
            scores = [one["r2"] for one in rows if wanted.items() <= one.items()]
            if not scores:
                assert cell == "–"
                continue
            low, high = interval(scores)
            assert cell == f"{np.mean(scores):.3f} [{low:.3f}, {high:.3f}]"


# --- summaries --------------------------------------------------------------------------------------------------------------------------


def result(decoder: str, session: str, seed: int, k: int) -> dict[str, Any]:
    at = itertools.count(1000 * k + 1)
    losses = [float(next(at)), 0.5 + k, float(next(at))]
    return {
        "decoder": decoder, "session": session, "seed": seed, "labels": 1.0, "synthetic": False, "segments": 1, "bins": 70,
        "labelled": {"training": 100 * k, "validation": 7 * k},
        "r2": next(at) / 1e4, "r2_with_history": next(at) / 1e4, "r2_by_axis": {"vx": next(at) / 1e4, "vy": next(at) / 1e4},
        "r": next(at) / 1e4, "blocks": [[[10.0, 1.0, 20.0, float(next(at))]] * 2] * 6, "parameters": next(at), "macs_per_step": next(at),
        "training_seconds": float(next(at)), "steps_to_best": next(at), "validation_loss": losses, "steps_by_epoch": [2, 2, 2],
        "seconds_by_epoch": [1.0, 1.0, 1.0], "stopped_early": k % 2 == 0,
        "pretraining": {name: {"epochs": 1, "steps": next(at), "seconds": float(next(at)), "stopped_early": True} for name in "ab"},
    }  # fmt: skip


def forms(results: list[dict[str, Any]]) -> tuple[CellResult, ...]:
    return loose(tuple[CellResult, ...], results)


def test_a_row_is_the_mean_over_its_own_cells():
    grid = list(itertools.product(("s1", "s2"), (0, 1)))
    mine = [result("student", session, seed, k) for k, (session, seed) in enumerate(grid, 1)]
    other = [result("gru", session, seed, k) for k, (session, seed) in enumerate(reversed(grid), 11)]
    made = jsonable(summarise(forms([*mine, *other]), [ALL["student"], ALL["gru"]], Settings()))
    assert (made["sessions"], made["seeds"], made["synthetic"], made["segmented"]) == (["s1", "s2"], [0, 1], False, False)

    def mean(results: list[dict[str, Any]], name: str) -> float:
        return float(np.mean([one[name] for one in results]))

    for line, results in zip(made["rows"], (mine, other), strict=True):
        for name in ("r2", "r2_with_history", "r", "training_seconds", "steps_to_best"):
            assert line[name] == pytest.approx(mean(results, name)), name
        for name in ("parameters", "macs_per_step"):
            assert line[name] == round(mean(results, name))
        assert line["r2_by_axis"] == {axis: pytest.approx(np.mean([one["r2_by_axis"][axis] for one in results])) for axis in ("vx", "vy")}
        assert line["r2_interval"] is None  # two sessions and two seeds: four cells, but no three that are independent
        assert line["labelled"] == {part: round(np.mean([one["labelled"][part] for one in results])) for part in ("training", "validation")}
        before = [phase for one in results for phase in one["pretraining"].values()]
        assert line["pretraining_seconds"] == pytest.approx(sum(phase["seconds"] for phase in before) / 4)
        assert line["pretraining_steps"] == round(sum(phase["steps"] for phase in before) / 4)
        assert line["validation_loss"] == pytest.approx(np.mean([min(one["validation_loss"]) for one in results]))
        assert line["stopped_early"] == 0.5 and line["cells"] == 4
    student, gru = made["rows"]
    by_cell = {(one["session"], one["seed"]): one["r2"] for one in mine}
    gains = [by_cell[one["session"], one["seed"]] - one["r2"] for one in other]
    assert student["student_gain"] is None and gru["student_gain"] == pytest.approx(np.mean(gains))
    assert gru["student_gain_interval"] is None
    thirds = [result(name, "s3", seed, 30 + seed + len(name)) for name in ("student", "gru") for seed in (0, 1)]
    student, gru = jsonable(summarise(forms([*mine, *other, *thirds]), [ALL["student"], ALL["gru"]], Settings()))["rows"]
    by_cell |= {(one["session"], one["seed"]): one["r2"] for one in thirds[:2]}
    by_session = [
        np.mean([by_cell[one["session"], one["seed"]] - one["r2"] for one in [*other, *thirds[2:]] if one["session"] == s])
        for s in ("s1", "s2", "s3")
    ]
    assert gru["student_gain_interval"] == pytest.approx(interval(by_session))
    gru = made["rows"][1]
    assert gru["race"]["best"]["validation_loss"] == pytest.approx(np.mean([min(one["validation_loss"]) for one in other]))
    assert summary.CONFIDENCE == 0.95
    values = [0.1, 0.4, 0.2, 0.9]
    assert interval(values) == pytest.approx([np.mean(values) + sign * 3.182446 * np.std(values, ddof=1) / 2 for sign in (-1, 1)], rel=1e-5)


# --- a recording ------------------------------------------------------------------------------------------------------------------------


INSPECTED = {
    "file": "monday.nwb",
    "lfp": {"channels": 31, "rate_hz": 1017.25, "seconds": 345.67, "start_s": 12.345, "delay_ms": 6.08,
            "unit_per_count": 1.95e-7, "unit": "V"},
    "provenance": {"lfp_series": "lfp", "behavior_gaps": "not shown", "scale": "chosen", "trials": "41"},
    "pauses": [{"start_s": 3.5, "length_s": 0.25}, {"start_s": 7.5, "length_s": 1.75}, {"start_s": 9.5, "length_s": 0.5}],
    "gaps": [{"start_s": 4.25, "length_s": 0.012}, {"start_s": 2.125, "length_s": 0.034}],
    "dead_channels": [4, 17],
    "saturated_channels": {"5": 0.0123},
    "masked_channels": [9],
    "units": {"count": 11, "electrodes": 5, "spikes": 2345, "outside": 67, "median_rate_hz": 8.9},
    "behaviors": {
        "hand": {"columns": ["x", "y"], "unit": "mm", "rate_hz": 250.5, "nan_share": 0.034, "infinite": 0,
                 "gaps": 3, "longest_gap_s": 1.625,
                 "outside": "far away"},
        "touch": {"columns": ["z"], "unit": "N", "rate_hz": None, "nan_share": None, "infinite": 0,
                  "gaps": 0, "longest_gap_s": 0.0, "outside": ""},
    },
    "unusable_behaviors": {"pose": "no numbers"},
    "intervals": {"trials": 41},
    "invalid_times": [[1.0, 2.0], [3.0, 4.0]],
}  # fmt: skip


def test_what_is_told_of_a_recording_line_by_line():
    assert list(lines(INSPECTED)) == [
        "monday.nwb",
        "LFP        31 channel(s), 1017.25 Hz, 345.7 s from 12.345 s, 6.08 ms late by resampling",
        "scale      1.95e-07 V a count",
        "           lfp series: lfp",
        "           scale: chosen",
        "           trials: 41",
        "pauses     3, the longest 1.750 s at 7.500 s: a segment starts after each",
        "gaps       2, the longest 34.0 ms at 2.125 s",
        "dead       4, 17",
        "saturated  5 (1.23 % at the rail)",
        "masked     9",
        "units      11, 2345 spikes, median 8.90 Hz; 67 more outside the LFP; of 5 electrode(s)",
        "behaviour  hand: 2 dim(s), mm, 250.5 Hz, 3.4 % NaN, 3 gap(s), the longest 1.625 s; far away",
        "behaviour  touch: 1 dim(s), N, one sample, empty",
        "unusable   pose: no numbers",
        "intervals  trials: 41; --segments trials makes them segments",
        "invalid    2 interval(s): their bins are unknown",
    ]
    bare = copy.deepcopy(INSPECTED) | {"pauses": [], "gaps": [], "behaviors": {}, "dead_channels": list(range(30)), "masked_channels": [30]}
    said = list(lines(bare))
    assert "gaps       none" in said and "behaviour  none: there is nothing to decode" in said
    assert "           every channel is dead or masked: there is nothing to decode from" in said


@pytest.mark.parametrize("module", [table, study_output])
def test_plots_of_several_shares_show_all_that_they_hold(module, monkeypatch):
    figures = []
    monkeypatch.setattr(module, "drawn", lambda figure: figures.append(figure) or {})
    values = {0.1: (0.05, 0.2), 0.5: (0.35, 0.4), 1.0: (0.6, 0.8)}  # each panel beyond the one before
    rows = [
        row(k, labels=share, r2=r2, r2_interval=[r2 - 0.04, r2 + 0.04], decoder=decoder)
        for k, (share, both) in enumerate(values.items(), 1)
        for decoder, r2 in zip(("gru", "lstm"), both, strict=True)
    ]
    kind, form = (ScoredRow, Evaluation) if module is table else (StudyRow, StudySummary)
    said = {"question": "Why?", "axis": "what", "logarithmic": False, "score": "r2", "synthetic": False, "sessions": ["a"]}
    asked = {name: value for name, value in (ABOUT | said).items() if name in form.model_fields}
    module.plot(loose(form, asked | {"rows": of(kind, rows)}))
    (figure,) = figures
    figure.canvas.draw()
    for axis, both in zip(figure.axes, values.values(), strict=True):
        points = sorted(float(y) for line in axis.lines for y in line.get_ydata())
        assert points == list(both)
        low, high = axis.get_ylim()
        assert low < min(both) - 0.04 and max(both) + 0.04 < high
    if module is study_output:
        for axis in figure.axes:
            first, second = (line.get_transform().transform((0, 0.1))[0] for line in axis.lines)
            assert second - first > 3  # decoders at one place stand beside each other
