"""What ridge tells of inputs that are hidden, from those that are seen: linear, and so a floor under what a network could learn."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm_edge import wiener
from realm_edge.errors import UserError

REACH = 5  # visible bins on each side of a gap that predict what is in it: the nearest one, and the mean of all of them
CHANNEL_FOLDS = 8  # every eighth channel at once is told from the others
FEWEST_BINS = 100  # hidden ones of the training part, below which bins of a distance share the fit of nearer ones
MOST_BINS = 20_000  # hidden ones of the training part that are fitted on, of each class of distances
_BIN_ITSELF = (0, 1)  # a filter of one lag


@dataclass(frozen=True)
class Hidden:
    """Masked bins in order of time, with the bins of their windows that are seen; arrays ``(masked bins,)``, bins of the session.

    A bin may be there several times, from several draws of masks.
    """

    bins: NDArray[np.int64]
    left: NDArray[np.int64]  # the nearest one seen before it; -1: none
    leftmost: NDArray[np.int64]  # first of up to REACH that are seen and end with ``left``
    right: NDArray[np.int64]  # the nearest one seen after it; -1: none
    rightmost: NDArray[np.int64]  # last of up to REACH that are seen and begin with ``right``

    @property
    def distance(self) -> NDArray[np.int64]:
        """To the nearest bin that is seen, ``(masked bins,)``."""
        far = np.iinfo(np.int64).max
        before = np.where(self.left >= 0, self.bins - self.left, far)
        return np.minimum(before, np.where(self.right >= 0, self.right - self.bins, far))

    def at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Hidden":
        return Hidden(self.bins[rows], self.left[rows], self.leftmost[rows], self.right[rows], self.rightmost[rows])


@dataclass(frozen=True)
class Distances:
    """Bins between ``nearest`` and ``farthest`` bins away from the nearest one that is seen are told by one fit."""

    nearest: int
    farthest: int

    def of(self, hidden: Hidden) -> NDArray[np.bool_]:
        return (hidden.distance >= self.nearest) & (hidden.distance <= self.farthest)


def hidden(windows: Sequence[tuple[int, int]], masks: NDArray[np.bool_]) -> Hidden:
    """The masked bins of windows.

    Args:
        windows: first bin and end of each.
        masks: (windows, bins of the longest); True where a bin is masked. At least one bin of each window is not.
    """
    columns = [_in_window(first, ~mask[: stop - first]) for (first, stop), mask in zip(windows, masks, strict=True)]
    rows = np.concatenate(columns, axis=1)
    return Hidden(*rows[:, np.argsort(rows[0], kind="stable")])


def _in_window(first: int, seen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The five arrays of :class:`Hidden`, one a row."""
    left, leftmost = _before(seen)
    after, farthest = (len(seen) - 1 - each[::-1] for each in _before(seen[::-1]))
    there = after < len(seen)
    bins = np.arange(len(seen))
    rows = np.stack([bins, left, leftmost, np.where(there, after, -1), np.where(there, farthest, -1)])[:, ~seen]
    return np.where(rows < 0, -1, rows + first)


def _before(seen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each bin the last one seen up to it, and the first of up to REACH seen that end there; -1 where there is none."""
    bins = np.arange(len(seen))
    last = np.maximum.accumulate(np.where(seen, bins, -1))
    begun = np.maximum.accumulate(np.where(seen, 0, bins + 1))  # where the run of bins that are seen began, up to each
    return last, np.where(last < 0, -1, np.maximum(begun[last], last - REACH + 1))


def around(x: NDArray[np.float32], hidden: Hidden) -> NDArray[np.float32]:
    """What is seen around masked bins, (masked bins, 4 n): of the left and the right side the nearest bin and the mean of up to REACH.

    Args:
        x: (bins, n), standardised; 0, the mean, stands for a side of which a window shows nothing.
    """
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0, dtype=np.float64)])
    columns = []
    for near, first, last in ((hidden.left, hidden.leftmost, hidden.left), (hidden.right, hidden.right, hidden.rightmost)):
        there = (near >= 0)[:, None]
        mean = (total[last + 1] - total[first]) / (last + 1 - first)[:, None]
        columns += [np.where(there, x[near], 0.0), np.where(there, mean, 0.0)]
    return np.concatenate(columns, axis=1).astype(np.float32)


def classes(train: Hidden) -> list[Distances]:
    """Distances that are fitted together: 1, 2, 3 and 4, 5 to 8 and so on, as long as the training part has bins to fit on.

    Raises:
        UserError: it has hardly any at all.
    """
    if len(train.bins) < FEWEST_BINS:
        raise UserError(f"only {len(train.bins)} masked bins in the training part: use a longer recording or raise pretrain.masked_fraction")
    found, farthest = [Distances(1, 1)], 1
    while (train.distance > farthest).sum() >= FEWEST_BINS:
        found.append(Distances(farthest + 1, 2 * farthest))
        farthest *= 2
    most = np.iinfo(np.int64).max
    if found[0].of(train).sum() < FEWEST_BINS:
        return [Distances(1, most)]
    while found[-1].of(train).sum() < FEWEST_BINS:
        found.pop()
    return [*found[:-1], Distances(found[-1].nearest, most)]


def of_masked(x: NDArray[np.float32], y: NDArray[np.float32], train: Hidden, other: Hidden) -> NDArray[np.float32]:
    """What ridge, fitted on the masked bins ``train``, tells of ``y`` in the masked bins ``other`` from ``x`` in what is seen around them.

    A fit for each of :func:`classes`; its penalty is chosen over blocks of ``train``.

    Args:
        x, y: (bins, n) and (bins, m), standardised.

    Returns:
        (masked bins of ``other``, m).
    """
    told = np.empty((len(other.bins), y.shape[1]), np.float32)
    for distances in classes(train):
        there = distances.of(other)
        if there.any():
            fitted_on = train.at(_spread(np.flatnonzero(distances.of(train))))
            told[there] = _told(around(x, fitted_on), y[fitted_on.bins], around(x, other.at(there)))
    return told


def in_halves(x: NDArray[np.float32], train: Hidden) -> NDArray[np.float32]:
    """What :func:`of_masked` tells of ``x`` itself in ``train``, each half (in time) by a fit to the other one."""
    middle = np.median(train.bins)
    told = np.empty((len(train.bins), x.shape[1]), np.float32)
    for half in (train.bins <= middle, train.bins > middle):
        told[half] = of_masked(x, x, train.at(~half), train.at(half))
    return told


def of_channels(
    x: NDArray[np.float32], y: NDArray[np.float32], channels: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> NDArray[np.float32]:
    """What ridge tells of each channel's ``y`` from ``x`` of other channels in the same bin: one in eight channels from all the rest.

    Args:
        x, y: (bins, n), standardised.
        channels: (n,), of each input; at least two different ones.
        train, test: bins.

    Returns:
        (bins of ``test``, n).
    """
    names = np.unique(channels)
    folds = min(CHANNEL_FOLDS, len(names))
    told = np.empty((len(test), y.shape[1]), np.float32)
    for fold in range(folds):
        own = np.isin(channels, names[fold::folds])
        told[:, own] = _told(x[np.ix_(train, ~own)], y[np.ix_(train, own)], x[np.ix_(test, ~own)])
    return told


def of_target(x: NDArray[np.float32], target: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """What ridge tells of the behaviour from the bin itself, (rows of ``other``, dims); rows whose target is NaN are not fitted on."""
    return _told(x, target, other)


def leading(inputs: int) -> Iterator[int]:
    """Numbers of leading components: 1, 2, 4 and so on, and all."""
    k = 1
    while k < inputs:
        yield k
        k *= 2
    yield inputs


def pooled_r2(true: NDArray[np.float32], told: NDArray[np.float32]) -> float | None:
    """Share of the variance of all columns together, (rows, n), that is told; None where none of them changes."""
    spread = np.square(true - true.mean(axis=0, dtype=np.float64)).sum()
    return float(1 - np.square(true.astype(np.float64) - told).sum() / spread) if spread > 0 else None


def chance(score: Callable[[int], float | None], shifts: Sequence[int]) -> float | None:
    """The greatest of the scores after circular shifts."""
    return max((found for found in map(score, shifts) if found is not None), default=None)


def _told(x: NDArray[np.float32], y: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return wiener.predict(wiener.fit_windows(x, y, len(x), _BIN_ITSELF), other)


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most MOST_BINS of the rows, evenly over all."""
    return rows if len(rows) <= MOST_BINS else rows[np.linspace(0, len(rows) - 1, MOST_BINS).astype(np.int64)]
