"""Resampling of a recording to the front end's rate, by any ratio, block by block, with a look-ahead that is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from realm_edge.errors import UserError
from realm_edge.table import BLOCK_VALUES, Table

_STOPBAND_DB = 60.0
_EDGE = 0.3  # transition band: (1 - edge) to (1 + edge) times the lower Nyquist frequency
_PHASES = 512  # of the interpolating filter; between two of them its taps are interpolated linearly (error below -110 dB)
_FASTEST = 1000  # times the new rate; what is faster than that is a wrong rate
_SAME_SAMPLES = 0.5  # by which a recording may slip against the new rate as a whole and still count as one at that rate


@dataclass(frozen=True)
class Resampler:
    """A windowed sinc that is evaluated where each new sample falls: any ratio, no slip, no delay in the samples' times.

    The low-pass passes up to 0.7 and stops from 1.3 times the lower Nyquist frequency (60 dB, Kaiser window), so what folds over lands
    above 0.7 of it. A new sample depends on the input up to :attr:`delay_s` after its own time: that much later it is known.
    No library resamples by any ratio, in blocks, with a look-ahead this short and stated; scipy designs the filter.
    """

    rate: float  # Hz
    new_rate: float  # Hz

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate) and 0 < self.rate <= _FASTEST * self.new_rate):
            raise UserError(f"a sampling rate of {self.rate} Hz cannot be resampled to {self.new_rate} Hz: correct the rate in the file")

    @property
    def delay_s(self) -> float:
        """How far beyond its own time a new sample looks ahead, s."""
        return self.half / self.rate

    @cached_property
    def half(self) -> int:
        """Samples of the input on either side of a new one."""
        taps, _ = signal.kaiserord(_STOPBAND_DB, 2 * _EDGE * min(1.0, self.new_rate / self.rate))
        return -(-taps // 2)

    @cached_property
    def _taps(self) -> NDArray[np.float64]:
        """``(_PHASES + 1, 2 * half)``: row p for a sample p / _PHASES of the way from one input sample to the next."""
        cutoff = min(1.0, self.new_rate / self.rate)  # relative to the Nyquist frequency of the input
        window = signal.windows.kaiser(2 * self.half * _PHASES + 1, signal.kaiser_beta(_STOPBAND_DB))
        distance = np.arange(1 - self.half, self.half + 1) - np.arange(_PHASES + 1)[:, None] / _PHASES  # from the new sample
        taps = np.sinc(cutoff * distance) * window[np.rint(distance * _PHASES).astype(np.int64) + self.half * _PHASES]
        return taps / taps.sum(axis=1, keepdims=True)  # a constant stays what it is, at every phase

    def length(self, first: int, stop: int, end: int) -> int:
        """How many samples :meth:`blocks` makes."""
        ratio = self.rate / self.new_rate
        last = min(stop - 1, end - self.half - 1) - first  # the last input sample that a new one may follow
        return max(0, int(np.ceil((last + 1) / ratio - 1e-9))) if last >= 0 else 0

    def blocks(self, table: Table, first: int, stop: int, begin: int, end: int) -> Iterator[NDArray[np.float64]]:
        """New samples of the part ``[first, stop)`` of a table; the first of them falls on sample ``first``.

        Args:
            table: ``(samples, channels)``.
            first, stop: the part.
            begin, end: the stretch without a pause that the part lies in, which may be looked at: before ``begin`` its first sample is
                held, and nothing is made that would look beyond ``end``.

        Returns:
            Blocks ``(new samples, channels)``.
        """
        ratio, half = self.rate / self.new_rate, self.half
        total = self.length(first, stop, end)
        rows = max(1, int(BLOCK_VALUES / table.shape[1] / max(ratio, 1.0)))
        for made in range(0, total, rows):
            position = np.arange(made, min(made + rows, total)) * ratio
            whole = np.floor(position + 1e-9).astype(np.int64)
            phase = np.clip(position - whole, 0.0, 1.0) * _PHASES
            row = np.minimum(phase.astype(np.int64), _PHASES - 1)
            weight = (phase - row)[:, None]
            lowest = first + int(whole[0]) - half + 1
            x = np.asarray(table[max(lowest, begin) : first + int(whole[-1]) + half + 1], np.float64)
            if lowest < begin:
                x = np.concatenate([np.repeat(x[:1], begin - lowest, axis=0), x])
            starts = (whole - whole[0]).tolist()
            out = np.empty((len(position), table.shape[1]))
            for part in range(0, len(position), 4096):  # bounds the interpolated taps
                here = slice(part, part + 4096)
                taps = self._taps[row[here]] * (1.0 - weight[here]) + self._taps[row[here] + 1] * weight[here]
                for at, (start, h) in enumerate(zip(starts[here], taps, strict=True), part):
                    np.dot(h, x[start : start + 2 * half], out=out[at])
            yield out


def same_rate(rate: float, new_rate: float, samples: int) -> bool:
    """Whether a recording of so many samples counts as one at the new rate: nothing has to be resampled."""
    return abs(rate / new_rate - 1.0) * samples <= _SAME_SAMPLES


def to_counts(x: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round to int16 and saturate, as an ADC does."""
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(x), limits.min, limits.max).astype(np.int16)
