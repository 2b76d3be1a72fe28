"""Regular clocks out of time stamps: rate, gaps, and what fills the gaps."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.arrays import check_times

_BLOCK = 1 << 17  # time stamps that are looked at together
_GAP = 1.5  # periods between two samples from which on a sample is missing between them
_MAX_STRAY_S = 1e-3  # by which a time stamp may stray from the regular clock; half a period where that is more


class Times(Protocol):
    """Time stamps in memory or in an HDF5 file."""

    shape: tuple[int, ...]

    def __getitem__(self, part: slice, /) -> NDArray: ...


@dataclass(frozen=True)
class Clock:
    """A regular clock; the gaps in its time stamps are filled with the sample before each."""

    rate: float  # Hz
    start: float  # s
    samples: int  # with those that fill gaps
    after: NDArray[np.int64]  # (gaps,), the recorded sample that each gap follows
    missing: NDArray[np.int64]  # (gaps,), samples missing there

    @property
    def gaps(self) -> tuple[tuple[float, float], ...]:
        """Where each gap starts and how long it is, s."""
        before = np.cumsum(self.missing) - self.missing
        starts = self.start + (self.after + before + 1) / self.rate
        return tuple(zip(starts.tolist(), (self.missing / self.rate).tolist(), strict=True))

    def fill(self, block: NDArray, first: int = 0) -> NDArray:
        """Put the missing samples into ``block`` ``(samples, channels)``, which starts with the recorded sample ``first``."""
        inside = (self.after >= first) & (self.after < first + len(block))
        if not inside.any():
            return block
        repeats = np.ones(len(block), np.int64)
        repeats[self.after[inside] - first] += self.missing[inside]
        return np.repeat(block, repeats, axis=0)


def clock_of(times: Times, samples: int, max_gap_s: float, label: str) -> Clock:
    """Find the regular clock of time stamps, a block at a time.

    Args:
        times: ``(samples,)`` s, an array or an HDF5 dataset.
        samples: of the data that they belong to.
        max_gap_s: longer gaps are refused.
        label: file and series, for messages.

    Raises:
        UserError: other than one increasing number a sample, fewer than two, a gap longer than ``max_gap_s``, or time stamps
            that stray more than 1 ms (or half a period) from any regular clock.
    """
    if times.shape != (samples,):
        raise UserError(f"{label}: {samples} samples have times of shape {times.shape}: correct the file")
    if samples < 2:
        raise UserError(f"{label}: {samples} samples are too few")
    start, period = float(times[0:1][0]), 0.0
    after, missing = [], []
    for first in range(0, samples - 1, _BLOCK):  # blocks share a sample, so that no step between two is lost
        block = check_times(times[first : first + _BLOCK + 1], min(_BLOCK + 1, samples - first), label)
        steps = np.diff(block)
        period = period or float(np.median(steps))
        wide = np.flatnonzero(steps > _GAP * period)
        after.append(first + wide)
        missing.append(np.rint(steps[wide] / period).astype(np.int64) - 1)
    clock_after, clock_missing = np.concatenate(after), np.concatenate(missing)
    total = samples + int(clock_missing.sum())
    end = float(times[samples - 1 : samples][0])
    clock = Clock((total - 1) / (end - start), start, total, clock_after, clock_missing)
    _refuse_gaps(clock, max_gap_s, label)
    _refuse_stray(clock, times, samples, label)
    return clock


def _refuse_gaps(clock: Clock, max_gap_s: float, label: str) -> None:
    if not len(clock.missing):
        return
    longest = int(np.argmax(clock.missing))
    at, length = clock.gaps[longest]
    if length > max_gap_s:
        raise UserError(
            f"{label}: its clock has gaps: sample {clock.after[longest] + 1} comes {length + 1 / clock.rate:.6f} s after the one before "
            f"(at {at:.3f} s), more than the {max_gap_s:g} s of a bin: crop the recording, or split it there"
        )


def _refuse_stray(clock: Clock, times: Times, samples: int, label: str) -> None:
    allowed = max(_MAX_STRAY_S, 0.5 / clock.rate)
    shift = np.cumsum(clock.missing)  # samples that were missing up to and with each gap
    for first in range(0, samples, _BLOCK):
        block = np.asarray(times[first : first + _BLOCK], np.float64)
        index = np.arange(first, first + len(block))
        gaps_before = np.searchsorted(clock.after, index)
        grid = index + np.concatenate([[0], shift])[gaps_before]
        stray = np.abs(block - (clock.start + grid / clock.rate))
        worst = int(np.argmax(stray))
        if stray[worst] > allowed:
            raise UserError(
                f"{label}: its clock is irregular: sample {first + worst} is {1e3 * stray[worst]:.3f} ms off a clock of "
                f"{clock.rate:.6g} Hz: resample the recording to a regular rate"
            )
