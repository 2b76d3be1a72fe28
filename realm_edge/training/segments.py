"""Standardised sessions and the windows that training draws from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from realm_edge.errors import UserError
from realm_edge.models.by_segment import TOGETHER_BINS, inside, side_by_side
from realm_edge.models.student import CLIP, Student
from realm_edge.segments import bounds, never_changes, one_segment, with_history, within
from realm_edge.session import Session
from realm_edge.table import Table
from realm_edge.training.bins import Bins, bins_of

MIN_BATCHES = 3  # an epoch


class Statistics(NamedTuple):
    """What a decoder standardises with, float32."""

    input_mean: NDArray[np.float32]  # (n_inputs,)
    input_inv_std: NDArray[np.float32]  # (n_inputs,), 0 for dead inputs
    target_mean: NDArray[np.float32]  # (dims,)
    target_std: NDArray[np.float32]  # (dims,)

    def in_units(self, decoded: NDArray[np.floating]) -> NDArray[np.float32]:
        """What was decoded as z-scores, (bins, dims), in units of the behaviour."""
        return (decoded * self.target_std + self.target_mean).astype(np.float32)


class Behaviour(NamedTuple):
    """Statistics of the behaviour, float64."""

    mean: NDArray[np.float64]  # (dims,)
    std: NDArray[np.float64]  # (dims,)


@dataclass(frozen=True)
class Series:
    """One session as training sees it, standardised with the statistics of its own training part."""

    name: str
    inputs: Bins  # (bins, n_inputs) float32, z-scores clipped at +-8, 0 for dead inputs; in a file, as a stored session's are
    targets: Bins  # (bins, dims) float32, z-scores, NaN where unknown; likewise
    train_end: int
    validation_end: int
    input_mean: Tensor  # (n_inputs,)
    input_inv_std: Tensor  # (n_inputs,), 0 for dead inputs
    target_mean: Tensor  # (dims,)
    target_std: Tensor  # (dims,)
    kinds: int = field(default=1, kw_only=True)  # inputs a channel has, kind after kind
    starts: NDArray[np.int64] = field(default_factory=one_segment, kw_only=True)  # as the session's
    valid: NDArray[np.bool_] | None = field(default=None, kw_only=True)  # (bins,), False where nothing can be learnt; None: nowhere
    weights: Tensor | None = field(default=None, kw_only=True)  # (bins,) float32, how far a label is trusted; None: all of them fully

    def to(self, device: torch.device) -> "Series":
        """The same with inputs and targets, from which batches are cut, on a device."""
        weights = None if self.weights is None else self.weights.to(device)
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device), weights=weights)

    @property
    def statistics(self) -> Statistics:
        return Statistics(*(each.numpy() for each in (self.input_mean, self.input_inv_std, self.target_mean, self.target_std)))

    def give_statistics(self, student: Student) -> None:
        """Make this session's statistics the student's frozen ones."""
        student.feature_mean.copy_(self.input_mean)
        student.feature_inv_std.copy_(self.input_inv_std)
        student.target_mean.copy_(self.target_mean)
        student.target_std.copy_(self.target_std)


class Window(NamedTuple):
    """Bins of one segment."""

    series: Series
    start: int
    stop: int


class Batch(NamedTuple):
    """Windows side by side, padded at their ends to the longest."""

    inputs: Tensor  # (batch, window, n_inputs), 0 in the padding
    targets: Tensor  # (batch, window, dims), NaN where unknown and in the padding
    lengths: Tensor  # (batch,) int64, always on the CPU: bins of each window before its padding
    weights: Tensor  # (batch, window), how far a label is trusted; 0 in the padding


def standardise(
    session: Session,
    inputs: Table,
    bin_s: float,
    kinds: int = 1,
    whole_session: bool = False,
    borrowed: Behaviour | None = None,
) -> Series:
    """Standardise one input of a session (its LFP features or its spike counts) and its behaviour.

    The inputs' statistics are taken over the training bins with a second of history, where the front end's filters have settled: one
    channel with an offset makes their start-up larger than all that follows. Where no bin has a second of history, all bins count.

    Args:
        inputs: (bins, n_inputs) float32; of a stored session they stay in its file.
        bin_s: seconds per bin.
        kinds: inputs a channel has, kind after kind; divides ``n_inputs``.
        whole_session: take the inputs' statistics from the whole session, as no implant can.
        borrowed: the behaviour's statistics, of other sessions, where it is unknown over the whole training part.

    Raises:
        UserError: the behaviour is constant over the training part, or unknown and nothing is ``borrowed``.
    """
    # A second is enough for filters; the decoder's state settles in longer, which quantization.calibrate leaves out.
    valid = np.ones(session.bins, bool) if session.valid is None else session.valid
    part = slice(None if whole_session else session.train_end)
    settled = (with_history(session.starts, session.bins, bin_s) & valid)[part]
    known = inputs[part][settled if settled.any() else valid[part]].astype(np.float64)
    if not len(known):
        raise UserError(f"{session.name}: the whole training part lies in invalid times: correct the recording")
    mean, std = known.mean(axis=0), known.std(axis=0)
    dead = never_changes(known)
    inv_std = np.where(dead, 0.0, 1.0 / np.where(dead, 1.0, std))
    behaviour = borrowed if borrowed is not None and not has_labels(session) else behaviour_of(session)

    statistics = [torch.from_numpy(value.astype(np.float32)) for value in (mean, inv_std, *behaviour)]
    z = bins_of(inputs, lambda rows: ((rows - statistics[0]) * statistics[1]).clamp(-CLIP, CLIP))
    targets = bins_of(session.targets, lambda rows: (rows - statistics[2]) / statistics[3])
    ends = session.train_end, session.validation_end
    return Series(session.name, z, targets, *ends, *statistics, kinds=kinds, starts=session.starts, valid=valid)


def has_labels(session: Session) -> bool:
    """Whether a bin of the training part has a known behaviour."""
    return bool(np.isfinite(session.targets[: session.train_end]).all(axis=1).any())


def behaviour_of(session: Session) -> Behaviour:
    """Mean and deviation of the behaviour over the training part.

    Raises:
        UserError: it is unknown or constant there.
    """
    known = session.targets[: session.train_end].astype(np.float64)
    if not np.isfinite(known).any(axis=0).all():
        raise UserError(f"{session.name}: behaviour is unknown over the whole training part: use another series or a longer recording")
    mean, std = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    if not (std > 0).all():
        name = session.target_names[int(np.argmin(std))]
        raise UserError(f"{session.name}: behaviour '{name}' is constant over the training part: choose another series")
    return Behaviour(mean, std)


class Batches(Sequence[Batch]):
    """Batches that are cut from their sessions when they are asked for: an epoch is never in memory as a whole."""

    def __init__(self, windows: Sequence[Sequence[Window]]) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    @overload
    def __getitem__(self, at: int) -> Batch: ...

    @overload
    def __getitem__(self, at: slice) -> "Batches": ...

    def __getitem__(self, at: int | slice) -> "Batch | Batches":
        return Batches(self._windows[at]) if isinstance(at, slice) else _stack(self._windows[at])


def training_batches(series: Sequence[Series], window: int, batch: int, overlap: float = 0.0) -> Batches:
    """One epoch: every segment of the training parts cut into windows at a random offset, shuffled. Draws from torch's generator.

    A segment shorter than a window is one window, padded; no window is longer than the longest segment. Every segment but a session's
    first also gives the window at its start in every epoch: decoding starts there again and again, and from the same state. What depends
    on all that has happened since a segment's start is still learnt best with windows as long as segments.

    Short recordings are cut again at other offsets until there are :data:`MIN_BATCHES`, or epochs and patience, which are set for
    recordings of minutes, would end training after a few dozen steps. A batch holds windows with one number of inputs.

    Args:
        overlap: share of a window that the next one shows again.
    """
    segments = [Window(one, *ends) for one in series for ends in _segments(one, 0, one.train_end)]
    window = min(window, max(segment.stop - segment.start for segment in segments))
    step = max(round((1.0 - overlap) * window), 1)
    windows: list[Window] = []
    while len(windows) <= (MIN_BATCHES - 1) * batch:
        for one, first, stop in segments:
            spare = max(stop - window - first, 0)
            offset = int(torch.randint(min(step, spare + 1), ()))
            starts = [*([first] if first and offset else []), *range(first + offset, first + spare + 1, step)]
            windows += [Window(one, start, min(start + window, stop)) for start in starts]
    shuffled = [windows[index] for index in torch.randperm(len(windows)).tolist()]
    batches = [each[first : first + batch] for each in _by_inputs(shuffled) for first in range(0, len(each), batch)]
    if len({one.inputs.shape[1] for one in series}) > 1:
        batches = [batches[index] for index in torch.randperm(len(batches)).tolist()]
    return Batches(batches)


def validation_batches(series: Sequence[Series], window: int) -> Batches:
    """The segments of the validation parts, cut into windows of at most ``window`` bins (the last one overlaps the one before it).

    Returns:
        Batches of one number of inputs, in the order of the sessions that have it first, of no more bins than also decode together.
    """
    window = min(window, *(one.validation_end - one.train_end for one in series))
    windows = [each for one in series for each in windows_of(one, one.train_end, one.validation_end, window)]
    most = max(1, TOGETHER_BINS // window)
    return Batches([each[first : first + most] for each in _by_inputs(windows) for first in range(0, len(each), most)])


def windows_of(series: Series, first: int, stop: int, window: int) -> list[Window]:
    """The segments of the part ``[first, stop)``, cut into windows of at most ``window`` bins.

    The last window of a segment overlaps the one before it; a segment shorter than a window is one.
    """
    return [
        Window(series, at, min(at + window, end))
        for begin, end in _segments(series, first, stop)
        for at in (min(start, max(end - window, begin)) for start in range(begin, end, window))
    ]


def unpadded(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(batch, window, n) -> (bins, n), those of all windows before their padding; the same as it was where nothing is padded."""
    return x if lengths is None else x[inside(lengths, x.shape[1]).to(x.device)]


def mean_over_bins(scored: Sequence[tuple[Tensor, float]]) -> float:
    """The mean of batches' scores, each weighted with the bins in it; ``scored``: the lengths of a batch's windows, and its score."""
    bins = [int(lengths.sum()) for lengths, _ in scored]
    return sum(score * (own / sum(bins)) for own, (_, score) in zip(bins, scored, strict=True))


def _segments(series: Series, first: int, stop: int) -> Iterator[tuple[int, int]]:
    """First bin and end of each segment of the part ``[first, stop)`` that is not invalid as a whole."""
    ends = ((first + start, first + end) for start, end in bounds(within(series.starts, first, stop), stop - first))
    return ((start, end) for start, end in ends if series.valid is None or series.valid[start:end].any())


def _by_inputs(windows: Sequence[Window]) -> list[list[Window]]:
    groups: dict[int, list[Window]] = {}
    for window in windows:
        groups.setdefault(window.series.inputs.shape[1], []).append(window)
    return list(groups.values())


def _stack(windows: Sequence[Window]) -> Batch:
    inputs, weights = [], []
    for one, start, stop in windows:
        inputs.append(one.inputs[start:stop])
        weights.append(inputs[-1].new_ones(stop - start) if one.weights is None else one.weights[start:stop])
    return Batch(
        inputs=side_by_side(inputs),
        targets=side_by_side([one.targets[start:stop] for one, start, stop in windows], torch.nan),
        lengths=torch.tensor([stop - start for _, start, stop in windows]),
        weights=side_by_side(weights),
    )
