"""A new student for a day without labels: the old one, trained on by what the teacher says of that day in hindsight; and its controls.

The pretrained teacher is fine-tuned with the labels that the old student had, and relabels the day. Beside the student that learns from
that there are three: the old one with the day's own statistics, the old one trained by labels of its own, and the old one trained for as
many steps without a teacher. What the first is worth is what it has more than they do.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Progress
from realm_edge.settings import Settings
from realm_edge.training.finetune import finetune
from realm_edge.training.hindsight import Labeller, look_back, relabelled, twin
from realm_edge.training.loop import Phase, one_thread, seeded
from realm_edge.training.segments import Series, training_batches

Arm = Literal["old", "statistics", "hindsight", "own", "no_teacher"]


@dataclass(frozen=True)
class Basis:
    """What an adaptation starts from; series are standardised, each with its own statistics."""

    student: Student  # the old one, trained on ``decoded``
    teacher: Teacher  # pretrained without labels; is changed
    others: tuple[Series, ...]  # of the run, with as many or other inputs
    decoded: Series  # of the run, with labels
    today: Series  # as many inputs as ``decoded``, no label, and the target statistics of ``decoded``


@dataclass(frozen=True)
class Adapted:
    """The arms, and who labelled the day."""

    students: Mapping[Arm, Student]  # each with the statistics that it decodes the day with
    steps: Mapping[Arm, int]  # of the optimiser; the teacher's count for "hindsight"
    errors: Mapping[Arm, float]  # on the validation part of ``decoded``, as Labeller.error
    teacher_error: float  # there too
    hindsight: Tensor  # (bins, dims), what the teacher says of the whole day, standardised
    trust: float  # mean weight of its labels


def adapt(basis: Basis, settings: Settings, phase: Callable[[str], Phase], progress: Progress) -> Adapted:
    """Train all arms. Nothing of the day's test part is seen by any of them; it is only answered by ``hindsight``.

    Args:
        phase: by name, one for each fit.
    """
    window, decoded = settings.window_bins, basis.decoded
    looking = phase("look_back_others"), phase("look_back")
    teacher, looked = look_back(basis.teacher, settings, (*basis.others, decoded), window, looking, progress)
    with one_thread():
        hindsight = teacher.over(basis.today.inputs[:], basis.today.starts)

    def learnt(labeller: Labeller, name: Arm) -> tuple[Student, int, Series]:
        day = relabelled(labeller, basis.today, phase(f"{name}_labels"))
        student = copy.deepcopy(basis.student)
        history = finetune(student, settings.finetune, [decoded, day], window, phase(name), progress)
        return student, sum(history.steps), day

    ours, fitted, day = learnt(teacher, "hindsight")
    taught = fitted + sum(sum(history.steps) for history in looked)
    own, own_steps, _ = learnt(_twin(basis, settings), "own")
    alone, alone_steps = _without_teacher(basis, settings, taught, phase("no_teacher"), progress)
    shifted = copy.deepcopy(basis.student)
    basis.today.give_statistics(shifted)
    students: dict[Arm, Student] = {"old": basis.student, "statistics": shifted, "hindsight": ours, "own": own, "no_teacher": alone}
    return Adapted(
        students=students,
        steps={"old": 0, "statistics": 0, "hindsight": taught, "own": own_steps, "no_teacher": alone_steps},
        errors={name: twin(student, [decoded], window).error for name, student in students.items()},
        teacher_error=teacher.error,
        hindsight=hindsight,
        trust=_trust(day),
    )


def _twin(basis: Basis, settings: Settings) -> Labeller:
    """The old student as it was trained, with dropout: a checkpoint has none."""
    student = copy.deepcopy(basis.student)
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = settings.finetune.dropout
    return twin(student, [basis.decoded], settings.window_bins)


def _without_teacher(basis: Basis, settings: Settings, steps: int, phase: Phase, progress: Progress) -> tuple[Student, int]:
    """The old student, trained for about as many ``steps`` with the labels that it had; what validates best of it is kept."""
    labelled, student = [basis.decoded], copy.deepcopy(basis.student)
    with seeded(phase, "epoch"):
        epoch = len(training_batches(labelled, settings.window_bins, settings.finetune.batch))
    epochs = max(1, round(steps / epoch))
    fit = settings.finetune.model_copy(update={"epochs": epochs, "patience": epochs})
    history = finetune(student, fit, labelled, settings.window_bins, phase, progress)
    basis.today.give_statistics(student)
    return student, sum(history.steps)


def _trust(day: Series) -> float:
    stop = day.validation_end
    labelled = torch.isfinite(day.targets[:stop]).all(dim=1)
    return float(day.weights[:stop][labelled].mean()) if day.weights is not None else 1.0
