"""What ridge tells of inputs that are hidden, from those that are seen: linear, and so a floor under what a network could learn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from realm_edge import wiener

REACH = 5  # visible bins on each side of a gap that predict what is in it: the nearest one, and the mean of all of them
TURNED = 8  # inputs that the level of chance is taken from
CHANNEL_FOLDS = 8  # every eighth channel at once is told from the others
FARTHEST = (1, 2, 4, 8)  # distances from the nearest visible bin that end a class; one fit tells all bins of a class
FEWEST_BINS = 500  # masked ones of the training part, without which a class shares the fit of the nearer one
FAR = np.iinfo(np.int64).max  # no distance is as large
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
    def distances(self) -> NDArray[np.int64]:
        """To the nearest bins that are seen on the left and on the right, ``(2, masked bins)``; FAR where there is none."""
        left, right = np.where(self.left >= 0, self.bins - self.left, FAR), np.where(self.right >= 0, self.right - self.bins, FAR)
        return np.stack([left, right])

    @property
    def distance(self) -> NDArray[np.int64]:
        """To the nearest bin that is seen, ``(masked bins,)``."""
        nearest: NDArray[np.int64] = self.distances.min(axis=0)
        return nearest

    def at(self, rows: NDArray[np.bool_]) -> "Hidden":
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
    """What is seen around masked bins, (masked bins, 4 n): of each side the nearest bin and the mean of up to REACH, the nearer side first.

    One map then serves a bin at the left end of its gap and one at the right end, as if time could run either way.

    Args:
        x: (bins, n), standardised; 0, the mean, stands for a side of which a window shows nothing.
    """
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0, dtype=np.float64)])
    sides = []
    for near, first, last in ((hidden.left, hidden.leftmost, hidden.left), (hidden.right, hidden.right, hidden.rightmost)):
        mean = (total[last + 1] - total[first]) / (last + 1 - first)[:, None]
        sides.append(np.where((near >= 0)[:, None], np.concatenate([x[near], mean], axis=1), 0.0))
    left, right = hidden.distances
    is_right = (right < left)[:, None]
    return np.concatenate([np.where(is_right, *sides[::-1]), np.where(is_right, *sides)], axis=1).astype(np.float32)


def classes(train: Hidden) -> list[Distances]:
    """Distances that are told by one fit: 1, 2, 3 and 4, 5 to 8, and more, as far as the training part has bins to fit on."""
    nearest = [1, *(farthest + 1 for farthest in FARTHEST)]
    while len(nearest) > 1 and (train.distance >= nearest[-1]).sum() < FEWEST_BINS:
        nearest.pop()
    return [Distances(near, then - 1) for near, then in pairwise([*nearest, FAR])]


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
            fitted_on = train.at(distances.of(train))
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
    x: NDArray[np.float32],
    channels: NDArray[np.int64],
    y: NDArray[np.float32],
    owners: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
) -> NDArray[np.float32]:
    """What ridge tells of ``y`` from ``x`` of other channels in the same bin: of every eighth channel at once, from all the rest.

    Args:
        x, y: (bins, n) and (bins, m), standardised.
        channels, owners: (n,) and (m,), the channel of each column of ``x`` and of ``y``; at least two different ones.
        train, test: bins.

    Returns:
        (bins of ``test``, m).
    """
    names = np.unique(channels)
    folds = min(CHANNEL_FOLDS, len(names))
    told = np.empty((len(test), y.shape[1]), np.float32)
    for fold in range(folds):
        others, own = ~np.isin(channels, names[fold::folds]), np.isin(owners, names[fold::folds])
        if own.any():
            told[:, own] = _told(x[np.ix_(train, others)], y[np.ix_(train, own)], x[np.ix_(test, others)])
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


def turned(x: NDArray[np.float32], shifts: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A few inputs, evenly chosen, after circular shifts: (bins, shifts * inputs), and which input each column is.

    Few are enough for a level of chance, and one fit then tells those of all shifts. The level is a little high that way: what is pooled
    over fewer inputs varies more.
    """
    few = np.unique(np.linspace(0, x.shape[1] - 1, TURNED).astype(np.int64))
    return np.concatenate([np.roll(x[:, few], by, axis=0) for by in shifts], axis=1), np.tile(few, len(shifts))


def greatest_r2(true: NDArray[np.float32], told: NDArray[np.float32], shifts: int) -> float | None:
    """The greatest :func:`pooled_r2` of columns that :func:`turned` gives."""
    parts = (np.split(each, shifts, axis=1) for each in (true, told))
    return max((r2 for one, other in zip(*parts, strict=True) if (r2 := pooled_r2(one, other)) is not None), default=None)


def _told(x: NDArray[np.float32], y: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return wiener.predict(wiener.fit_windows(x, y, len(x), _BIN_ITSELF), other)
