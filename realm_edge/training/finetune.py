"""Supervised fitting of a causal decoder: on the decoded session, or on many sessions before that."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from realm_edge.models.by_segment import Run, over_segments, padded_lengths
from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.segments import within
from realm_edge.settings import FinetuneSettings, FitSettings
from realm_edge.training import members
from realm_edge.training.arrays import SharedStudent
from realm_edge.training.history import History
from realm_edge.training.loop import Phase, fit, masked_mse, seeded
from realm_edge.training.segments import Batch, Series, training_batches

WARM_UP_WINDOWS = 2  # windows run before the scored part, so that validation sees a settled state as streaming does

Module = TypeVar("Module", bound=nn.Module)
Blocks = Sequence[tuple[int, int]]  # first bin and end of each


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
    stop early is not padded with windows that teach nothing. With ``settings.members`` of :class:`FinetuneSettings`, ``module`` learns
    from as many fits beside the labels (:mod:`realm_edge.training.members`); the history counts what they took as part of its first epoch.

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
    one_fit = partial(_fit, out=out, settings=settings, window=window, progress=progress)
    count = settings.members if isinstance(settings, FinetuneSettings) else 1
    if count == 1:
        return one_fit(module, series, series, phase)
    before, said = [], [torch.zeros_like(one.targets[: one.train_end]) for one in series]
    for index in range(count):
        held = [list(members.blocks(one, index, count)) for one in series]
        taught = [members.without(one, blocks) for one, blocks in zip(series, held, strict=True)]
        member = copy.deepcopy(module)
        before.append(one_fit(member, taught, series, phase.part(f"member{index + 1}"), held=held))
        said = [mean + _training_part(partial(out, member), one).to(mean.device) / count for mean, one in zip(said, series, strict=True)]
    learnt = [members.taught_by(one, mean) for one, mean in zip(series, said, strict=True)]
    return one_fit(module, learnt, series, phase).after(before)


def _fit(
    module: Module,
    taught: Sequence[Series],
    series: Sequence[Series],
    phase: Phase,
    *,
    out: Callable[[Module, Tensor, Tensor | None], Tensor],
    settings: FitSettings,
    window: int,
    progress: Progress,
    held: Sequence[Blocks] | None = None,
) -> History:
    """One fit to ``taught``, which the validation parts of ``series`` stop, and what is ``held`` of each."""
    labelled = [replace(one, train_end=_labelled_end(one)) for one in taught]
    longest = min(window, *(one.train_end for one in labelled))

    def loss(module: Module, batch: Batch) -> Tensor:
        decoded = out(module, batch.inputs, padded_lengths(batch.lengths, batch.inputs))
        return masked_mse(decoded, batch.targets, batch.weights)  # targets are NaN in the padding

    def validate(module: Module) -> float:
        return decoding_error(partial(out, module), series, window, held)

    return fit(module, settings, phase, lambda: training_batches(labelled, longest, settings.batch), loss, validate, progress)


def decoding_error(out: Run, series: Sequence[Series], window: int, held: Sequence[Blocks] | None = None) -> float:
    """Mean squared error over the known behaviour of the validation parts.

    A part is decoded from two windows before it, or from where the segment in which it begins starts, if that is later.

    Args:
        out: (batch, bins, n_inputs) z-scores -> (batch, bins, dims) standardised behaviour, from the zero state;
            as :func:`realm_edge.models.by_segment.over_segments` takes it.
        held: for each of ``series`` first bin and end of blocks of the training part, which count as well.
    """
    predicted, known = [], []
    for one, blocks in zip(series, held or [()] * len(series), strict=True):
        parts = [(max(first - WARM_UP_WINDOWS * window, 0), first, stop) for first, stop in (*blocks, (one.train_end, one.validation_end))]
        lengths = [stop - before for before, _, stop in parts]
        # The parts run side by side, each from the zero state, as segments do.
        starts = [at + within(one.starts, before, stop) for at, (before, _, stop) in zip(np.cumsum([0, *lengths]), parts, strict=False)]
        inputs = torch.cat([one.inputs[before:stop] for before, _, stop in parts])
        decoded = over_segments(out, inputs, np.concatenate(starts)).split(lengths)
        predicted += [part[first - before :] for part, (before, first, _) in zip(decoded, parts, strict=True)]
        known += [one.targets[first:stop] for _, first, stop in parts]
    return float(masked_mse(torch.cat(predicted), torch.cat(known)))


@torch.no_grad()
def _training_part(out: Run, series: Series) -> Tensor:
    """What a decoder in evaluation mode on the CPU says of the training part, (train_end, dims)."""
    inputs = series.inputs[: series.train_end].cpu()
    return over_segments(out, inputs, within(series.starts, 0, series.train_end))


def _labelled_end(series: Series) -> int:
    known = torch.isfinite(series.targets[: series.train_end]).all(dim=1)
    return int(known.nonzero()[-1]) + 1  # standardise() made sure that there is one
