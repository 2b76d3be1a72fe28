"""Standardised sessions and the windows that training draws from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from realm_edge.errors import UserError
from realm_edge.models.student import CLIP, Student
from realm_edge.session import Session

MIN_BATCHES = 3  # an epoch


class Statistics(NamedTuple):
    """What a decoder standardises with, float32."""

    input_mean: NDArray[np.float32]  # (n_inputs,)
    input_inv_std: NDArray[np.float32]  # (n_inputs,), 0 for dead inputs
    target_mean: NDArray[np.float32]  # (dims,)
    target_std: NDArray[np.float32]  # (dims,)


@dataclass(frozen=True)
class Series:
    """One session as training sees it, standardised with the statistics of its own training part."""

    name: str
    inputs: Tensor  # (bins, n_inputs) float32, z-scores clipped at +-8, 0 for dead inputs
    targets: Tensor  # (bins, dims) float32, z-scores, NaN where unknown
    train_end: int
    validation_end: int
    input_mean: Tensor  # (n_inputs,)
    input_inv_std: Tensor  # (n_inputs,), 0 for dead inputs
    target_mean: Tensor  # (dims,)
    target_std: Tensor  # (dims,)
    kinds: int = field(default=1, kw_only=True)  # inputs a channel has, kind after kind

    def to(self, device: torch.device) -> "Series":
        """The same with inputs and targets, from which batches are cut, on a device."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))

    @property
    def statistics(self) -> Statistics:
        return Statistics(*(each.numpy() for each in (self.input_mean, self.input_inv_std, self.target_mean, self.target_std)))

    def give_statistics(self, student: Student) -> None:
        """Make this session's statistics the student's frozen ones."""
        student.feature_mean.copy_(self.input_mean)
        student.feature_inv_std.copy_(self.input_inv_std)
        student.target_mean.copy_(self.target_mean)
        student.target_std.copy_(self.target_std)


class Batch(NamedTuple):
    """Windows side by side."""

    inputs: Tensor  # (batch, window, n_inputs)
    targets: Tensor  # (batch, window, dims), NaN where unknown


def standardise(session: Session, inputs: NDArray[np.float32], kinds: int = 1, whole_session: bool = False) -> Series:
    """Standardise one input of a session (its LFP features or its spike counts) and its behaviour.

    Args:
        inputs: (bins, n_inputs).
        kinds: inputs a channel has, kind after kind; divides ``n_inputs``.
        whole_session: take the inputs' statistics from the whole session, as no implant can.

    Raises:
        UserError: the behaviour is unknown or constant over the training part.
    """
    known = inputs[: None if whole_session else session.train_end].astype(np.float64)
    mean, std = known.mean(axis=0), known.std(axis=0)
    dead = std <= 1e-6 * (1.0 + np.abs(mean))  # rounding noise of a constant, not a signal
    inv_std = np.where(dead, 0.0, 1.0 / np.where(dead, 1.0, std))
    behaviour = session.targets[: session.train_end].astype(np.float64)
    if not np.isfinite(behaviour).any(axis=0).all():
        raise UserError(f"{session.name}: behaviour is unknown over the whole training part: use another series or a longer recording")
    target_mean, target_std = np.nanmean(behaviour, axis=0), np.nanstd(behaviour, axis=0)
    if not (target_std > 0).all():
        name = session.target_names[int(np.argmin(target_std))]
        raise UserError(f"{session.name}: behaviour '{name}' is constant over the training part: choose another series")

    statistics = [torch.from_numpy(value.astype(np.float32)) for value in (mean, inv_std, target_mean, target_std)]
    z = (torch.from_numpy(np.asarray(inputs, np.float32)) - statistics[0]) * statistics[1]
    targets = (torch.from_numpy(np.asarray(session.targets, np.float32)) - statistics[2]) / statistics[3]
    return Series(session.name, z.clamp(-CLIP, CLIP), targets, session.train_end, session.validation_end, *statistics, kinds=kinds)


def training_batches(series: Sequence[Series], window: int, batch: int) -> list[Batch]:
    """One epoch: every session's training part cut into windows at a random offset, shuffled. Draws from torch's generator.

    Short recordings are cut again at other offsets until there are :data:`MIN_BATCHES`, or epochs and patience, which are set for
    recordings of minutes, would end training after a few dozen steps. A batch holds windows with one number of inputs.
    """
    windows: list[tuple[Series, int]] = []
    while len(windows) <= (MIN_BATCHES - 1) * batch:
        for one in series:
            spare = one.train_end - window
            offset = int(torch.randint(min(window, spare + 1), ()))
            windows += [(one, start) for start in range(offset, spare + 1, window)]
    shuffled = [windows[index] for index in torch.randperm(len(windows)).tolist()]
    batches = [each[first : first + batch] for each in _by_inputs(shuffled) for first in range(0, len(each), batch)]
    if len({one.inputs.shape[1] for one in series}) > 1:
        batches = [batches[index] for index in torch.randperm(len(batches)).tolist()]
    return [_stack(each, window) for each in batches]


def validation_batches(series: Sequence[Series], window: int) -> list[Batch]:
    """The validation parts, cut into windows of at most ``window`` bins (the last one overlaps the one before it).

    Returns:
        A batch for each number of inputs.
    """
    window = min(window, *(one.validation_end - one.train_end for one in series))
    windows = []
    for one in series:
        last = one.validation_end - window
        windows += [(one, min(start, last)) for start in range(one.train_end, one.validation_end, window)]
    return [_stack(each, window) for each in _by_inputs(windows)]


def mean_over_windows(batches: Sequence[tuple[Tensor, ...]], scores: Sequence[float]) -> float:
    """The mean of the batches' scores, each weighted with its number of windows."""
    total = sum(len(batch[0]) for batch in batches)
    return sum(score * (len(batch[0]) / total) for batch, score in zip(batches, scores, strict=True))


def _by_inputs(windows: Sequence[tuple[Series, int]]) -> list[list[tuple[Series, int]]]:
    groups: dict[int, list[tuple[Series, int]]] = {}
    for one, start in windows:
        groups.setdefault(one.inputs.shape[1], []).append((one, start))
    return list(groups.values())


def _stack(windows: Sequence[tuple[Series, int]], window: int) -> Batch:
    return Batch(
        inputs=torch.stack([one.inputs[start : start + window] for one, start in windows]),
        targets=torch.stack([one.targets[start : start + window] for one, start in windows]),
    )
