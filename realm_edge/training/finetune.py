"""Supervised fitting of a causal decoder: on the decoded session, or on many sessions before that."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.settings import FitSettings
from realm_edge.training.arrays import SharedStudent
from realm_edge.training.history import History
from realm_edge.training.loop import Phase, fit, masked_mse, seeded
from realm_edge.training.segments import Batch, Series, training_batches

WARM_UP_WINDOWS = 2  # windows run before the scored part, so that validation sees a settled state as streaming does

Module = TypeVar("Module", bound=nn.Module)


def finetune(student: Student, settings: FitSettings, series: Sequence[Series], window: int, phase: Phase, progress: Progress) -> History:
    """Fit ``student`` in place to the behaviour of the training parts, as :func:`supervise` does.

    Its statistics buffers become those of the last of ``series`` with as many inputs; sessions of other arrays train all but its
    input layer.
    """
    own = [one for one in series if one.inputs.shape[1] == len(student.feature_mean)]
    if own:
        own[-1].give_statistics(student)
    with seeded(phase, "arrays"):
        shared = SharedStudent(student, (one.inputs.shape[1] for one in series), series[0].kinds)
    return supervise(shared, SharedStudent.decode, settings, series, window, phase, progress)


def supervise(
    module: Module,
    out: Callable[[Module, Tensor], Tensor],
    settings: FitSettings,
    series: Sequence[Series],
    window: int,
    phase: Phase,
    progress: Progress,
) -> History:
    """Fit ``module`` in place to the behaviour of the training parts; early stopping on the validation parts.

    Training windows end with the last bin of the training part whose behaviour is known, so that a training part whose labels
    stop early is not padded with windows that teach nothing.

    Args:
        out: (module, (batch, bins, n_inputs) z-scores) -> (batch, bins, dims) standardised behaviour, from the zero state.
        series: sessions with the same behaviour axes. Nothing from ``validation_end`` on is read.
        window: bins a training segment; shorter where a labelled part is.
    """
    for each in module.modules():
        if isinstance(each, nn.Dropout):
            each.p = settings.dropout
    series = [one.to(phase.fabric.device) for one in series]
    labelled = [replace(one, train_end=_labelled_end(one)) for one in series]
    segment = min(window, *(one.train_end for one in labelled))

    def loss(module: Module, batch: Batch) -> Tensor:
        return masked_mse(out(module, batch.inputs), batch.targets)

    def validate(module: Module) -> float:
        return decoding_error(lambda inputs: out(module, inputs), series, window)

    return fit(module, settings, phase, lambda: training_batches(labelled, segment, settings.batch), loss, validate, progress)


def decoding_error(out: Callable[[Tensor], Tensor], series: Sequence[Series], window: int) -> float:
    """Mean squared error over the known behaviour of the validation parts, each decoded in one go behind two windows of warm-up.

    Args:
        out: (1, bins, n_inputs) z-scores -> (1, bins, dims) standardised behaviour, from the zero state.
    """
    predicted, known = [], []
    for one in series:
        start = max(one.train_end - WARM_UP_WINDOWS * window, 0)
        predicted.append(out(one.inputs[None, start : one.validation_end])[0, one.train_end - start :])
        known.append(one.targets[one.train_end : one.validation_end])
    return float(masked_mse(torch.cat(predicted), torch.cat(known)))


def _labelled_end(series: Series) -> int:
    known = torch.isfinite(series.targets[: series.train_end]).all(dim=1)
    return int(known.nonzero()[-1]) + 1  # standardise() made sure that there is one
