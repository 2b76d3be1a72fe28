"""The time left of a sweep, against made-up sweeps that are played through to their end."""

import heapq
import random

import pytest

from realm_edge.evaluation import costs
from realm_edge.evaluation.decoders import ALL, decoders
from realm_edge.evaluation.estimate import Pace, Part, seconds_left
from realm_edge.evaluation.forms import CellResult
from realm_edge.settings import Settings, changed
from tests.loose import loose

COMPARE = changed(Settings(), {phase: {"epochs": 400} for phase in ("pretrain", "distil", "finetune")})


def test_workers_take_cells_in_turn_and_wait_for_what_is_shared():
    pace = Pace.of([(Part("slow"), 10.0), (Part("quick"), 1.0), (Part("once"), 30.0)])
    slow, quick = (Part("slow"),), (Part("quick"),)
    assert seconds_left([], [], (), pace) == 0
    assert seconds_left([(slow, 4.0)], [], (), pace) == 6
    assert seconds_left([(slow, 4.0)], [quick, slow], (), pace) == 17  # one worker
    assert seconds_left([(slow, 4.0), (quick, 0.5)], [slow, quick], (), pace) == 10.5
    assert seconds_left([(slow, 14.0)], [quick], (), pace) == 1  # overdue
    first, second = (Part("once", once="a"), Part("quick")), (Part("once", once="b"), Part("quick"))
    assert seconds_left([(first, 0.0), (first, 0.0)], [], (), pace) == 31  # the second one waits
    assert seconds_left([(first, 0.0)], [first, first], (), pace) == 33
    assert seconds_left([(first, 10.0), (second, 0.0)], [], ("b",), pace) == 21


def test_kinds_that_are_not_measured_go_by_their_weight():
    pace = Pace.of([(Part("gru", 2.0), 10.0), (Part("gru", 4.0), 20.0), (Part("lstm", 1.0), 1.0)])
    assert pace.expected(Part("gru", 1.0)) == 5
    assert pace.expected(Part("teacher", 7.0)) == pytest.approx(7 * 31 / 7)
    assert Pace.of([]).expected(Part("teacher", 7.0)) == 0


def played(cells, seconds, workers):
    """What is said after each cell, and what was left then: an event simulation with true seconds instead of expected ones."""
    free, available, ends, begins = [0.0] * workers, {}, [], []
    for parts, own in zip(cells, seconds, strict=True):
        at = heapq.heappop(free)
        begins.append(at)
        for part, took in zip(parts, own, strict=True):
            if part.once in available:
                at = max(at, available[part.once])
            else:
                at += took
                available |= {part.once: at} if part.once else {}
        ends.append(at)
        heapq.heappush(free, at)
    said = []
    for now in sorted(ends)[:-1]:
        done = [index for index, end in enumerate(ends) if end <= now]
        running = [(cells[index], now - begins[index]) for index, end in enumerate(ends) if begins[index] <= now < end]
        waiting = [parts for parts, begin in zip(cells, begins, strict=True) if begin > now]
        ready = {part.once for index in done for part in cells[index] if part.once}
        pace = Pace.of((part, took) for index in done for part, took in zip(cells[index], seconds[index], strict=True))
        said.append((seconds_left(running, waiting, ready, pace), max(ends) - now))
    return said


def sweep(names, sessions, labels, seeds, others, settings, spread, rng):
    """Cells as ``evaluate`` orders them, and seconds around what epochs cost, with stops that are early or late by chance."""
    cells, seconds, early = [], [], {}
    for name in names:
        for session in range(sessions):
            for share in labels:
                for seed in range(seeds):
                    shared = [seed] if others else [seed, session]
                    parts = costs.parts(name, settings, share, shared, shared if others else [*shared, share])
                    took = []
                    for part in parts:
                        # Arms stop early at epochs of their own; cells of one arm differ less.
                        arm = early.setdefault(part.kind, rng.uniform(1 / spread, spread))
                        took.append(0.4 * part.weight * arm * rng.uniform(0.8, 1.25))
                    cells.append(parts)
                    seconds.append(took)
    return cells, seconds


def everything(spikes, others):
    return [arm.name for arm in decoders(double=False, spikes=spikes, others=others)]


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(
    ("names", "sessions", "labels", "seeds", "others", "settings"),
    [
        (everything(True, True), 2, (0.1, 0.25, 1.0), 3, True, COMPARE),
        (everything(True, False), 1, (1.0,), 3, False, COMPARE),
        (everything(False, False), 1, (0.5, 1.0), 2, False, Settings()),
        (["student", "scratch", "gru", "wiener"], 2, (0.1, 1.0), 3, True, COMPARE),
        (["scratch", "wiener"], 4, (1.0,), 5, True, Settings()),
    ],
)
def test_within_a_factor_of_two_after_three_cells(names, sessions, labels, seeds, others, settings, workers):
    for draw in range(10):
        rng = random.Random(draw)
        said = played(*sweep(names, sessions, labels, seeds, others, settings, 1.4, rng), workers)
        total = said[0][1]
        for estimate, left in said[2:]:
            if left > 0.1 * total:  # near the end one cell decides, and a second or two are a factor
                assert left / 2 <= estimate <= 2 * left, (draw, estimate, left)


def test_a_plain_mean_over_cells_would_not_do():
    """The same sweeps, as if all cells were alike: the check above has teeth."""
    cells, seconds = sweep(everything(True, True), 2, (0.1, 0.25, 1.0), 3, True, COMPARE, 1.4, random.Random(0))
    said = played([(Part("cell"),)] * len(cells), [[sum(own)] for own in seconds], 1)
    real = played(cells, seconds, 1)
    assert any(estimate > 2 * left for (estimate, _), (_, left) in zip(said[2:], real[2:], strict=True))


def test_every_arm_has_a_cost_and_its_phases():
    for name in ALL:
        parts = costs.parts(name, COMPARE, 1.0, [0], [0, 1.0])
        assert parts[-1].kind == name and parts[-1].once is None and all(part.weight > 0 for part in parts)
        result = {"training_seconds": 2.0, "pretraining": {part.kind.split(", ")[-1]: {"seconds": 3.0} for part in parts[:-1]}}
        assert costs.spent(name, parts, loose(CellResult, result)) == [*((part, 3.0) for part in parts[:-1]), (parts[-1], 2.0)]
    student, half, teacher = (costs.parts(name, COMPARE, 1.0, [0], [0, 1.0]) for name in ("student", "student_half", "teacher"))
    assert student[0] == half[0] == teacher[0]  # one teacher for all
    assert student[1].once != half[1].once
