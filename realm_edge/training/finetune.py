"""Supervised fitting of a student: on the decoded session, or on many sessions before that."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.settings import FitSettings
from realm_edge.training.loop import History, Phase, fit, masked_mse
from realm_edge.training.segments import Batch, Series, training_batches

WARM_UP_WINDOWS = 2  # windows run before the scored part, so that validation sees a settled state as streaming does


def finetune(student: Student, settings: FitSettings, series: Sequence[Series], window: int, phase: Phase, progress: Progress) -> History:
    """Fit ``student`` in place to the behaviour of the training parts; early stopping on the validation parts.

    Its statistics buffers become those of the last of ``series``.

    Args:
        series: sessions with the student's inputs and behaviour axes. Nothing from ``validation_end`` on is read.
        window: bins a training segment.
    """
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = settings.dropout
    series[-1].give_statistics(student)

    def loss(module: Student, batch: Batch) -> Tensor:
        return masked_mse(_out(module, batch.inputs), batch.targets)

    def validate(module: Student) -> float:
        out, known = [], []
        for one in series:
            start = max(one.train_end - WARM_UP_WINDOWS * window, 0)
            out.append(_out(module, one.inputs[None, start : one.validation_end])[0, one.train_end - start :])
            known.append(one.targets[one.train_end : one.validation_end])
        return float(masked_mse(torch.cat(out), torch.cat(known)))

    return fit(student, settings, phase, lambda: training_batches(series, window, settings.batch), loss, validate, progress)


def _out(student: Student, normalised: Tensor) -> Tensor:
    hidden, _ = student.encode(normalised, student.initial_state(len(normalised)))
    return student.read_out(hidden)
