"""Regular clocks out of time stamps: rate, pauses, gaps, and what fills the gaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError

_BLOCK = 1 << 17  # time stamps that are looked at together
_GAP = 0.5  # periods by which a step must exceed one from which on a sample is missing
_JITTERS = 6.0  # ... and by which it must exceed the steps' own jitter, in its standard deviations
_AROUND = 16  # samples on each side of a gap whose medians say how long it is
_MAX_STRAY_S = 1e-3  # by which a time stamp may stray from the regular clock; half a period where that is more
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

    def fill(self, block: NDArray, first: int = 0) -> NDArray:
        """Put the missing samples into ``block`` ``(samples, channels)``, which starts with the recorded sample ``first``."""
        inside = (self.after >= first) & (self.after < first + len(block))
        if not inside.any():
            return block
        repeats = np.ones(len(block), np.int64)
        repeats[self.after[inside] - first] += self.missing[inside]
        return np.repeat(block, repeats, axis=0)


def regular(rate: float, start: float, samples: int) -> Clock:
    """The clock of a series that has a rate and no time stamps."""
    none = np.zeros(0, np.int64)
    return Clock(rate, samples, ((0, start),), none, none)
