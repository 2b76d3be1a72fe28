"""The arms of hindsight distillation, and their controls: the student's own pseudo-labels, and as much training without a teacher."""

import dataclasses
from contextlib import ExitStack
from typing import cast

from realm_edge.baselines import scratch
from realm_edge.evaluation.bench import Bench, Outcome, facts
from realm_edge.evaluation.forms import PhaseCost
from realm_edge.evaluation.pretrained import finetuned, labels_of, of_student, pretrained_teacher, supervised
from realm_edge.models.looking_back import ReadOut
from realm_edge.models.student import Student
from realm_edge.progress import Silent
from realm_edge.training.distil import distil, tokenizer_kept
from realm_edge.training.finetune import finetune
from realm_edge.training.hindsight import Labeller, known, look_back, relabelled, twin
from realm_edge.training.history import History
from realm_edge.training.loop import Phase
from realm_edge.training.segments import Series

RESTARTS = 3  # trainings without a teacher: about as many steps as fine-tuning it, distillation and the student's own, and shorter ones
_LABELS = ("student", "teacher", "pretrain", "distil", "finetune", "output_delay_ms")


def hindsight(bench: Bench) -> Outcome:
    """The student learns what the fine-tuned teacher says of all that has no label."""
    labeller, before = _teacher(bench)
    return _learnt_from_teacher(bench, labeller, before)


def own(bench: Bench) -> Outcome:
    """A control: the same with labels by a causal twin of the student, which sees no future."""
    settings, inputs = bench.settings, bench.material.inputs.shape[1]
    student, fitted, before = _twin(bench)
    before |= {"twin": facts(fitted, settings.finetune)} if fitted else {}
    series = _relabelled(bench, twin(student, _series(bench), bench.window), "own")
    with bench.once("own", _LABELS, inputs=inputs, labels=labels_of(_series(bench))) as phase:
        made, history = scratch.fit(settings.student, settings.distil, series, inputs, bench.window, phase, Silent())
    return finetuned(bench, made, series[-1], {**before, "own": facts(history, settings.distil)})


def restarted(bench: Bench) -> Outcome:
    """A control: :data:`RESTARTS` trainings with the labels there are, the one that validates best is kept."""
    tried = [_twin(dataclasses.replace(bench, seed=bench.seed + 10_000 * number)) for number in range(RESTARTS)]
    errors = [twin(student, _series(bench), bench.window).error for student, _, _ in tried]
    best, costs = errors.index(min(errors)), dict[str, PhaseCost]()
    for at, (_, fitted, before) in enumerate(tried):
        lost = {"twin": facts(fitted, bench.settings.finetune)} if fitted and at != best else {}
        costs |= {f"{phase} {at + 1}": cost for phase, cost in (before | lost).items()}
    return of_student(bench, tried[best][0], tried[best][1], costs)


def safe(bench: Bench) -> Outcome:
    """Hindsight where the teacher decodes validation parts better than the student's causal twin, else that twin: known beforehand."""
    labeller, before = _teacher(bench)
    student, fitted, alone = _twin(bench)
    before |= alone
    if labeller.error < twin(student, _series(bench), bench.window).error:
        lost = {"twin": facts(fitted, bench.settings.finetune)} if fitted else {}
        return _learnt_from_teacher(bench, labeller, before | lost)
    return of_student(bench, student, fitted, before)


def _series(bench: Bench) -> tuple[Series, ...]:
    return (*bench.material.pretraining, bench.material.decoded)


def _teacher(bench: Bench) -> tuple[Labeller, dict[str, PhaseCost]]:
    settings, series = bench.settings, _series(bench)
    teacher, taught = pretrained_teacher(bench)
    with ExitStack() as stack:
        phases: list[Phase] = [
            stack.enter_context(bench.once(name, _LABELS, labels=labels_of(labelled)))
            for name, labelled in (("look_back_others", series[:-1]), ("look_back", series))
        ]
        labeller, histories = look_back(teacher, settings, series, bench.window, (phases[0], phases[1]), Silent())
    fits = [settings.distil] * any(known(one) for one in series[:-1]) + [settings.finetune] * known(series[-1])
    costs = {f"look back {at + 1}": facts(history, fit) for at, (history, fit) in enumerate(zip(histories, fits, strict=True))}
    return labeller, {"pretrain": facts(taught, settings.pretrain), **costs}


def _learnt_from_teacher(bench: Bench, labeller: Labeller, before: dict[str, PhaseCost]) -> Outcome:
    settings, inputs = bench.settings, bench.material.inputs.shape[1]
    series = _relabelled(bench, labeller, "hindsight")
    teacher = cast(ReadOut, labeller.module).teacher
    with bench.once("hindsight", _LABELS, inputs=inputs, labels=labels_of(_series(bench))) as phase:
        made, history = distil(teacher, settings.student, settings.distil, series, inputs, bench.window, phase, Silent())
    with tokenizer_kept(made, settings.distil):
        return finetuned(bench, made, series[-1], {**before, "hindsight": facts(history, settings.distil)})


def _relabelled(bench: Bench, labeller: Labeller, name: str) -> tuple[Series, ...]:
    phase = bench.phase(f"{name} labels")
    return tuple(relabelled(labeller, one, phase) for one in _series(bench))


def _twin(bench: Bench) -> tuple[Student, History | None, dict[str, PhaseCost]]:
    """The student with the labels there are, and no teacher: those of the other sessions, then the decoded one's; what the last fit did."""
    settings, decoded = bench.settings, bench.material.decoded
    labelled = tuple(one for one in bench.material.pretraining if known(one))
    if not labelled:
        inputs, phase = bench.material.inputs.shape[1], bench.phase("scratch")
        return (*scratch.fit(settings.student, settings.finetune, [decoded], inputs, bench.window, phase, Silent()), {})
    student, _, before = supervised(bench, labelled)
    if not known(decoded):
        decoded.give_statistics(student)
        return student, None, before
    return student, finetune(student, settings.finetune, [decoded], bench.window, bench.phase("finetune"), Silent()), before
