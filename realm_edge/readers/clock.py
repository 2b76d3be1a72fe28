"""Regular clocks out of time stamps: rate, pauses, gaps, and what fills the gaps."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.arrays import SLOWEST_LFP, check_rate, too_coarse
from realm_edge.table import Table

_BLOCK = 1 << 17  # time stamps that are looked at together
_GAP = 0.5  # periods by which a step must exceed one from which on a sample is missing
_JITTERS = 6.0  # ... and by which it must exceed the steps' own jitter, in its standard deviations
_AROUND, _MOST_AROUND = 16, 1024  # samples on each side of a gap whose medians say how long it is
_ROUNDED = 4.0  # of which the distance between two values is one, so that a gap is longer than one and a half of that distance
_REPEATED = 0.05  # share of stamps that equal the one before, from which on they were rounded
_RUNS = 4  # ... or that many runs of stamps that were rounded to the same value
_MAX_STRAY_S = 1e-3  # by which a time stamp may stray from the regular clock; half a period, or what stamps jitter, where that is more
_MAX_JITTER_S = 10e-3  # ... up to this: half a bin of 20 ms
_MAD_TO_SD = 1.4826  # of Gaussian jitter


class Times(Protocol):
    """Time stamps in memory or in an HDF5 file."""

    shape: tuple[int, ...]

    def __getitem__(self, part: slice, /) -> NDArray: ...


@dataclass(frozen=True)
class Clock:
    """Stretches of a regular clock, with pauses between them; what fills short gaps counts as samples."""

    rate: float  # Hz
    samples: int  # with those that fill gaps
    starts: tuple[tuple[int, float], ...]  # of each stretch: its first sample (with those that fill gaps), and the time of that in s
    after: NDArray[np.int64]  # (gaps,), the recorded sample that each filled gap follows
    missing: NDArray[np.int64]  # (gaps,), samples missing there

    @property
    def start(self) -> float:
        """Time of the first sample, s."""
        return self.starts[0][1]

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Where each gap that is filled starts and how long it is, s."""
        before = np.cumsum(self.missing) - self.missing
        firsts, times = (np.array(column) for column in zip(*self.starts, strict=True))
        at = self.after + before + 1
        stretch = np.searchsorted(firsts, at, "right") - 1
        starts = times[stretch] + (at - firsts[stretch]) / self.rate
        return tuple(zip(starts.tolist(), (self.missing / self.rate).tolist(), strict=True))

    @property
    def stretches(self) -> tuple[tuple[int, int, float], ...]:
        """First sample and end of each stretch, and its start in s."""
        stops = [first for first, _ in self.starts[1:]] + [self.samples]
        return tuple((first, stop, start) for (first, start), stop in zip(self.starts, stops, strict=True))

    def read(self, data: Table, first: int, stop: int) -> NDArray:
        """The samples ``[first, stop)`` of a table of recorded samples ``(samples, ...)``; what fills a gap is the sample before it."""
        at = self.after + np.cumsum(self.missing) - self.missing + 1  # first sample of each gap
        wanted = np.arange(first, stop)
        gap = np.searchsorted(at, wanted, "right") - 1
        if not (gap >= 0).any():
            return np.asarray(data[first:stop])
        filled = np.concatenate([[0], np.cumsum(self.missing)])
        inside = (gap >= 0) & (wanted < at[gap] + self.missing[gap])
        recorded = np.where(inside, self.after[gap], wanted - filled[gap + 1])
        return np.asarray(data[int(recorded[0]) : int(recorded[-1]) + 1])[recorded - recorded[0]]


def regular(rate: float, start: float, samples: int) -> Clock:
    """The clock of a series that has a rate and no time stamps."""
    none = np.zeros(0, np.int64)
    return Clock(rate, samples, ((0, start),), none, none)


def clock_of(times: Times, samples: int, max_gap_s: float, label: str) -> Clock:
    """Find the regular clock of time stamps, a block at a time.

    The rate is the line of least squares through all stamps, with one for every stretch. A step that exceeds a period by more than half
    a period and by more than the stamps jitter is a gap: up to ``max_gap_s`` it is filled, a longer one is a pause.

    Args:
        times: ``(samples,)`` s, an array or an HDF5 dataset.
        samples: of the data that they belong to.
        max_gap_s: longer gaps are pauses.
        label: file and series, for messages.

    Raises:
        UserError: other than one finite number per sample, fewer than two, stamps that go back by more than they jitter, or that stray more
            than 1 ms (or half a period, or six times their jitter up to 10 ms) from any regular clock.
    """
    if times.shape != (samples,):
        raise UserError(f"{label}: {samples} samples have times of shape {times.shape}: correct the file")
    if samples < 2:
        raise UserError(f"{label}: {samples} samples are too few")
    after, extra, period, jitter = _steps(times, samples, label)
    pause = extra > max_gap_s
    missing = np.where(pause, 0, np.rint(extra / period)).astype(np.int64)
    filled = missing > 0
    gaps_after, gaps_missing = after[filled], missing[filled]
    first_recorded = np.concatenate([[0], after[pause] + 1])
    period, offsets = fitted(times, samples, gaps_after, gaps_missing, first_recorded, label)
    firsts = _grid(first_recorded, gaps_after, gaps_missing)
    total = samples + int(gaps_missing.sum())
    rate = check_rate(_rounded(1.0 / period, total), label, SLOWEST_LFP)
    clock = Clock(rate, total, tuple(zip(firsts.tolist(), offsets.tolist(), strict=True)), gaps_after, gaps_missing)
    _refuse_stray(clock, times, first_recorded, max(_MAX_STRAY_S, 0.5 / rate, min(_JITTERS * jitter, _MAX_JITTER_S)), label)
    return clock


def _steps(times: Times, samples: int, label: str) -> tuple[NDArray[np.int64], NDArray[np.float64], float, float]:
    """The samples that a gap follows, how much longer than a period each such step is, the period, and the jitter of steps, all in s."""
    after, extra = [], []
    period, most = 0.0, 0.0
    for first in range(0, samples - 1, _BLOCK):  # blocks share samples, so that no step between two is lost and medians find enough
        begin = max(0, first - _MOST_AROUND)
        block = _finite(times, begin, min(first + _BLOCK, samples - 1) + 1 + _MOST_AROUND, label)
        steps = np.diff(block)
        own = slice(first - begin, first - begin + min(_BLOCK, samples - 1 - first))
        if not period:
            width = min(_MOST_AROUND if _rounding(steps) else _AROUND, max(1, len(steps) // 4))
            period = float(np.median((block[width:] - block[:-width]) / width))  # stamps that were rounded have no typical step
            if not period > 0:
                follows = f"time {block[1]} of sample 1 does not follow the one before: sort the samples"
                raise UserError(f"{label}: {too_coarse(np.asarray(times[begin : begin + len(block)])) or follows}")
        jitter = max(_MAD_TO_SD * float(np.median(np.abs(steps - period))), _rounding(steps))
        most = max(most, jitter)
        back = (steps <= 0) & (period - steps > max(_JITTERS * jitter, _GAP * period))
        if back.any():
            at = int(np.argmax(back)) + 1
            follows = f"time {block[at]} of sample {begin + at} does not follow the one before: sort the samples"
            raise UserError(f"{label}: {too_coarse(np.asarray(times[begin : begin + len(block)])) or follows}")
        wide = own.start + np.flatnonzero(steps[own] - period > max(_GAP * period, _JITTERS * jitter))
        after.append(begin + wide)
        residual, around = block - period * np.arange(len(block)), _around(steps, jitter, period)
        before = [np.median(residual[max(0, at + 1 - around) : at + 1]) for at in wide]
        extra.append(np.array([np.median(residual[at + 1 : at + 1 + around]) for at in wide]) - before)
    return np.concatenate(after), np.concatenate(extra), period, most


def _rounding(steps: NDArray[np.float64]) -> float:
    """What rounding adds to the jitter of stamps that were often rounded to the same value, s."""
    rounded = (steps == 0).mean() > _REPEATED and (steps > 0).any()
    return float(steps[steps > 0].min()) / _ROUNDED if rounded else 0.0


def _around(steps: NDArray[np.float64], jitter: float, period: float) -> int:
    """How many samples on each side of a gap say how long it is: one where stamps are exact, several runs where they were rounded."""
    if jitter < 0.01 * period:
        return 1
    changes = np.flatnonzero(steps > 0)
    longest = int(np.diff(changes, prepend=-1).max()) if len(changes) else 1
    return min(max(_AROUND, _RUNS * longest), _MOST_AROUND)


def fitted(
    times: Times,
    samples: int,
    gaps_after: NDArray[np.int64],
    gaps_missing: NDArray[np.int64],
    first_recorded: NDArray[np.int64],
    label: str,
) -> tuple[float, NDArray[np.float64]]:
    """Period in s and, for each stretch, the time of its first sample ``(stretches,)`` in s, by least squares.

    Args:
        times: ``(samples,)`` s.
        samples: of the data that they belong to.
        gaps_after: ``(gaps,)`` the recorded sample that each gap follows which lies within a stretch.
        gaps_missing: ``(gaps,)`` samples missing there.
        first_recorded: ``(stretches,)`` the first recorded sample of each.
        label: file and series, for messages.

    Raises:
        UserError: a time is no finite number, or no stretch has two samples.
    """
    ends = np.append(first_recorded[1:], samples)
    origins = np.array([float(times[at : at + 1][0]) for at in first_recorded])
    grid_origins = _grid(first_recorded, gaps_after, gaps_missing)
    sums = np.zeros((len(first_recorded), 4))  # of index, time, index squared, index times time
    for first in range(0, samples, _BLOCK):
        block = _finite(times, first, first + _BLOCK, label)
        recorded = np.arange(first, first + len(block))
        stretch = np.searchsorted(first_recorded, recorded, "right") - 1
        x = (_grid(recorded, gaps_after, gaps_missing) - grid_origins[stretch]).astype(np.float64)
        y = block - origins[stretch]
        for column, values in enumerate((x, y, x * x, x * y)):
            sums[:, column] += np.bincount(stretch, values, len(sums))
    count = (ends - first_recorded).astype(np.float64)
    mean_x, mean_y = sums[:, 0] / count, sums[:, 1] / count
    spread = float((sums[:, 2] - count * mean_x**2).sum())
    if not spread > 0:
        raise UserError(f"{label}: its clock has no two samples without a pause between them: correct the time stamps")
    period = float((sums[:, 3] - count * mean_x * mean_y).sum()) / spread
    return period, np.round(origins + mean_y - period * mean_x, 9) + 0.0  # without the last digits of float64, nor -0.0


def _grid(recorded: NDArray[np.int64], gaps_after: NDArray[np.int64], gaps_missing: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of recorded samples, with those that fill gaps."""
    before = np.concatenate([[0], np.cumsum(gaps_missing)])
    return recorded + before[np.searchsorted(gaps_after, recorded)]


def _rounded(rate: float, samples: int) -> float:
    """The rate without digits that say nothing: they shift no sample by a hundredth of a period."""
    for digits in range(10):
        short = round(rate, digits)
        if short > 0 and abs(rate / short - 1) * samples < 0.01:
            return short
    return rate


def _finite(times: Times, first: int, stop: int, label: str) -> NDArray[np.float64]:
    block = np.asarray(times[first:stop])
    if block.dtype.kind not in "iuf":
        raise UserError(f"{label}: its times are of type {block.dtype}: correct the file")
    block = block.astype(np.float64)
    wrong = ~np.isfinite(block)
    if wrong.any():
        raise UserError(f"{label}: time {block[wrong][0]} of sample {first + int(np.argmax(wrong))} is no finite number: correct the file")
    return block


def _refuse_stray(clock: Clock, times: Times, first_recorded: NDArray[np.int64], allowed: float, label: str) -> None:
    firsts, starts = (np.array(column) for column in zip(*clock.starts, strict=True))
    for first in range(0, times.shape[0], _BLOCK):
        block = np.asarray(times[first : first + _BLOCK], np.float64)
        recorded = np.arange(first, first + len(block))
        stretch = np.searchsorted(first_recorded, recorded, "right") - 1
        grid = _grid(recorded, clock.after, clock.missing) - firsts[stretch]
        stray = np.abs(block - (starts[stretch] + grid / clock.rate))
        worst = int(np.argmax(stray))
        if stray[worst] > allowed * (1 + 1e-9):
            irregular = (
                f"its clock is irregular: sample {first + worst} is {1e3 * stray[worst]:.3f} ms off a clock of "
                f"{clock.rate:.6g} Hz: resample the recording to a regular rate"
            )
            raise UserError(f"{label}: {too_coarse(np.asarray(times[first : first + _BLOCK])) or irregular}")
