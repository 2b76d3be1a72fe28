"""Supervised fitting of a causal decoder: on the decoded session, or on many sessions before that."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from realm_edge.models.by_segment import Run, over_segments, padded_lengths
from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.segments import within
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
    return supervise(shared, lambda module, inputs, lengths: module.decode(inputs), settings, series, window, phase, progress)


def supervise(
    module: Module,
    out: Callable[[Module, Tensor, Tensor | None], Tensor],
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
        out: (module, (batch, bins, n_inputs) z-scores, (batch,) bins before the padding at each window's end or None) ->
            (batch, bins, dims) standardised behaviour, from the zero state.
        series: sessions with the same behaviour axes. Nothing from ``validation_end`` on is read.
        window: bins a training window; shorter where a labelled part is.
    """
    for each in module.modules():
        if isinstance(each, nn.Dropout):
            each.p = settings.dropout
    series = [one.to(phase.fabric.device) for one in series]
    labelled = [replace(one, train_end=_labelled_end(one)) for one in series]
    longest = min(window, *(one.train_end for one in labelled))

    def loss(module: Module, batch: Batch) -> Tensor:
        decoded = out(module, batch.inputs, padded_lengths(batch.lengths, batch.inputs))
        return masked_mse(decoded, batch.targets, batch.weights)  # targets are NaN in the padding

    def validate(module: Module) -> float:
        return decoding_error(partial(out, module), series, window)

    return fit(module, settings, phase, lambda: training_batches(labelled, longest, settings.batch), loss, validate, progress)


def decoding_error(out: Run, series: Sequence[Series], window: int) -> float:
    """Mean squared error over the known behaviour of the validation parts, each segment decoded in one go.

    The segment in which a validation part begins is decoded from two windows before that, or from its start where that is later.

    Args:
        out: (batch, bins, n_inputs) z-scores -> (batch, bins, dims) standardised behaviour, from the zero state;
            as :func:`realm_edge.models.by_segment.over_segments` takes it.
    """
    predicted, known = [], []
    for one in series:
        first = max(one.train_end - WARM_UP_WINDOWS * window, 0)
        decoded = over_segments(out, one.inputs[first : one.validation_end], within(one.starts, first, one.validation_end))
        predicted.append(decoded[one.train_end - first :])
        known.append(one.targets[one.train_end : one.validation_end])
    return float(masked_mse(torch.cat(predicted), torch.cat(known)))


def _labelled_end(series: Series) -> int:
    known = torch.isfinite(series.targets[: series.train_end]).all(dim=1)
    return int(known.nonzero()[-1]) + 1  # standardise() made sure that there is one
