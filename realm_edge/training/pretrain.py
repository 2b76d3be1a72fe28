"""Masked autoencoding of the teacher (REALM, arXiv 2605.14867)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from realm_edge.models.by_segment import padded_lengths
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Progress
from realm_edge.settings import ModelSettings, PretrainSettings
from realm_edge.training.history import History
from realm_edge.training.loop import Phase, fit, seeded
from realm_edge.training.reconstruction import goal
from realm_edge.training.segments import Batch, Series, mean_over_bins, training_batches, validation_batches

AMPLITUDE = (0.85, 1.15)  # augmentation: gain of a whole window

Module = TypeVar("Module", bound=nn.Module)


class MaskedBatch(NamedTuple):
    """Windows side by side, with what the teacher may see of them."""

    wanted: Tensor  # (batch, window, n_inputs), to be predicted
    seen: Tensor  # (batch, window, n_inputs), augmented
    masked: Tensor  # (batch, window), bool, never in the padding
    lengths: Tensor  # (batch,), as those of a Batch


def pretrain(
    model: ModelSettings, settings: PretrainSettings, series: Sequence[Series], window: int, phase: Phase, progress: Progress
) -> tuple[Teacher, History]:
    """Train a teacher to predict the normalised features of masked bins from the rest of the window.

    Args:
        series: pretraining sessions, of any numbers of channels; all features of a dropped channel are zeroed together.
        window: bins a training segment.
    """
    with seeded(phase, "init"):
        teacher = Teacher(model, (one.inputs.shape[1] for one in series), settings.dropout, series[0].kinds, settings.drop_path)
    return teacher, autoencode(teacher, Teacher.reconstruct, settings, series, window, phase, progress)


def autoencode(
    module: Module,
    reconstruct: Callable[[Module, Tensor, Tensor, Tensor | None], Tensor],
    settings: PretrainSettings,
    series: Sequence[Series],
    window: int,
    phase: Phase,
    progress: Progress,
) -> History:
    """Train ``module`` in place to predict masked bins; arguments as :func:`pretrain`.

    Args:
        reconstruct: (module, (batch, bins, n_inputs) z-scores, (batch, bins) masked, (batch,) bins before the padding at each window's
            end or None) -> (batch, bins, n_inputs).
    """
    series, kinds = [one.to(phase.fabric.device) for one in series], series[0].kinds
    target = goal(settings, series, window)

    def wanted(batch: Batch) -> Tensor:
        return target.wanted(batch.inputs, batch.lengths)

    def mask(batch: Batch) -> Tensor:
        return mask_blocks(batch.lengths, batch.inputs.shape[1], settings).to(batch.inputs.device)

    held = validation_batches(series, window)
    with seeded(phase, "validation mask"):  # fixed, so that epochs can be compared
        hidden = [mask(batch) for batch in held]

    def corrupt(batch: Batch) -> MaskedBatch:
        masked = mask(batch)
        return MaskedBatch(wanted(batch), augment(batch.inputs, batch.inputs.shape[2] // kinds, settings), masked, batch.lengths)

    def loss(module: Module, batch: MaskedBatch) -> Tensor:
        predicted = reconstruct(module, batch.seen, batch.masked, padded_lengths(batch.lengths, batch.seen))
        return target.error(predicted, batch.wanted, batch.masked, batch.lengths)

    def validate(module: Module) -> float:
        plain = (MaskedBatch(wanted(own), own.inputs, masked, own.lengths) for own, masked in zip(held, hidden, strict=True))
        return mean_over_bins([(batch.lengths, float(loss(module, batch))) for batch in plain])

    def batches() -> Sequence[Batch]:
        return training_batches(series, window, settings.batch, settings.overlap)

    return fit(module, settings, phase, batches, loss, validate, progress, corrupt)


def mask_blocks(lengths: Tensor, bins: int, settings: PretrainSettings) -> Tensor:
    """Mask blocks of uniformly drawn length at uniformly drawn places until at least ``masked_fraction`` of each window is masked.

    Blocks are at most half as long as a window that the longest would fill.

    Args:
        lengths: (batch,), bins of each window before its padding.
        bins: of a window with its padding.

    Returns:
        (batch, bins), bool; at least one bin of each window is left to see, and none is masked in the padding.
    """
    masked = torch.zeros(len(lengths), bins, dtype=torch.bool)
    for padded_row, length in zip(masked, lengths.tolist(), strict=True):
        row, (shortest, longest) = padded_row[:length], settings.block_bins
        if longest >= length:
            longest = length // 2
            shortest = min(shortest, longest)
        while row.sum() < settings.masked_fraction * length and row.sum() < length - longest and longest > 0:
            block = int(torch.randint(shortest, longest + 1, ()))
            start = int(torch.randint(1 - block, length, ()))  # a block may hang over either edge, so that edges are masked as often
            row[max(start, 0) : start + block] = True
    return masked


def augment(inputs: Tensor, channels: int, settings: PretrainSettings) -> Tensor:
    """Drop channels, scale windows and add noise; (batch, window, n_inputs) -> the same shape. Draws on the CPU, whatever the device."""
    batch, _, n_inputs = inputs.shape
    gain = torch.empty(batch, 1, 1).uniform_(*AMPLITUDE)
    kept = torch.rand(batch, 1, channels) >= settings.channel_dropout
    if channels == 1:  # dropping the only channel leaves nothing to learn from
        kept = torch.ones_like(kept)
    scale = gain * kept.repeat(1, 1, n_inputs // channels)
    return inputs * scale.to(inputs.device) + settings.noise_sd * torch.randn(inputs.shape).to(inputs.device)
