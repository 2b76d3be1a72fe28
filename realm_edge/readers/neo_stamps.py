"""Runs of samples out of what acquisition systems write about time: stamps of blocks of samples, and numbers of samples."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm_edge.table import blocks

_GAP = 0.5  # periods by which a stamp must differ from what follows from the one before, so that a run ends there
_JITTERS = 6.0  # ... and by which it must exceed the stamps' own jitter, in its standard deviations
_MAD_TO_SD = 1.4826  # of Gaussian jitter
_EXACT = 0.01  # periods, below which the first stamp of a run is its start: what is less says nothing
_FEW = 8  # blocks, below which their steps do not say how long a period is: each may hold a pause
_WRONG = 0.05  # by which a rate that stamps give may differ from the nominal one: more is a pause


@dataclass(frozen=True)
class Stamped:
    """What is known of the times of a segment's samples."""

    starts: list[tuple[int, float]]  # first recorded sample of each run, and its time in s
    measured: tuple[int, float] | None = None  # samples, and the seconds that they took, where stamps say so


def of_blocks(firsts: NDArray[np.int64], times: NDArray[np.float64], rate: float) -> Stamped:
    """Runs of blocks of samples that have one time stamp each.

    A run ends where a stamp is off by more than half a period and by more than stamps jitter. The rate is one line of least squares
    through the stamps of all runs, and so is each run's start.

    Args:
        firsts: ``(blocks,)`` recorded sample that each stamp belongs to, increasing.
        times: ``(blocks,)`` s.
        rate: the nominal one, Hz.
    """
    counts, steps = np.diff(firsts), np.diff(times)
    period = 1 / rate
    if len(counts) >= _FEW:
        typical = float(np.median(steps / counts))
        period = typical if abs(typical * rate - 1) < _WRONG else period
    late = np.abs(steps - counts * period)
    jitter = _MAD_TO_SD * float(np.median(late)) if len(late) >= _FEW else 0.0
    begins = np.append(0, 1 + np.flatnonzero(late > max(_GAP * period, _JITTERS * jitter)))
    run = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(firsts)))
    x, y = (firsts - firsts[begins][run]).astype(np.float64), times - times[begins][run]
    number = np.bincount(run)
    mean_x, mean_y = np.bincount(run, x) / number, np.bincount(run, y) / number
    spread = float(((x - mean_x[run]) ** 2).sum())
    if spread > 0:
        period = float(((x - mean_x[run]) * (y - mean_y[run])).sum()) / spread
    shift = mean_y - period * mean_x
    starts = (
        np.round(times[begins] + np.where(np.abs(shift) < _EXACT * period, 0.0, shift), 9) + 0.0
    )  # neither float64's last digits nor -0.0
    samples = int(x[np.append(begins[1:], len(x)) - 1].sum())
    return Stamped(list(zip(firsts[begins].tolist(), starts.tolist(), strict=True)), (samples, samples * period) if samples else None)


def numbered(numbers: NDArray) -> list[tuple[int, int]]:
    """Index and number of the first sample of each run of consecutive numbers."""
    if not numbers.size:
        return []
    first, last = int(numbers[:1].flat[0]), int(numbers[-1:].flat[-1])
    if last - first == numbers.size - 1:  # numbers increase, so none is missing
        return [(0, first)]
    return list(_breaks(blocks(numbers)))


def _breaks(parts: Iterable[NDArray]) -> Iterator[tuple[int, int]]:
    at, last = 0, None
    for part in parts:
        numbers = part.reshape(-1).astype(np.int64)
        for index in np.flatnonzero(np.diff(numbers, prepend=numbers[0] if last is None else last) != 1):
            yield at + int(index), int(numbers[index])
        at, last = at + len(numbers), int(numbers[-1])
