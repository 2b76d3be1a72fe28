"""Causal resampling of a recording to the front end's rate, whole or block by block."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from realm_edge.errors import UserError

_STOPBAND_DB = 60.0
_EDGE = 0.3  # transition band: (1 - edge) to (1 + edge) times the lower Nyquist frequency
_MAX_FACTOR = 10_000  # of the up- and downsampling; finer ratios are clock errors, not rates
_MAX_RATE_ERROR = 1e-6  # 0.6 ms of slip in ten minutes


def to_rate(x: NDArray, rate: float, new_rate: float) -> tuple[NDArray[np.float64], float]:
    """Resample by a rational factor with a FIR that only looks back.

    The low-pass passes up to 0.7 and stops from 1.3 times the lower Nyquist frequency (60 dB, Kaiser window), so what
    folds over lands above 0.7 of it. Its delay is not compensated: output sample ``n`` depends on input up to
    ``n / new_rate`` seconds only.

    Args:
        x: ``(samples, channels)``.
        rate: of ``x``, Hz.
        new_rate: wanted, Hz.

    Returns:
        ``(new samples, channels)`` and the delay in seconds (0.0 where the rates agree and ``x`` is returned as it is).

    Raises:
        UserError: no ratio of integers up to 10,000 comes within 1 part per million of that of the rates.
    """
    up, down = _factors(rate, new_rate)
    if up == down:
        return np.asarray(x, np.float64), 0.0
    taps = _lowpass(up, down)
    new_samples = _new_samples(len(x), up, down)
    out = np.empty((new_samples, x.shape[1]))
    for channel in range(x.shape[1]):  # one at a time: a float64 copy of a whole array recording may not fit into memory
        out[:, channel] = signal.upfirdn(taps, x[:, channel].astype(np.float64), up, down)[:new_samples]
    return out, _delay(taps, rate, up)


def blocks_to_rate(blocks: Iterable[NDArray], rate: float, new_rate: float) -> tuple[Iterator[NDArray[np.float64]], float]:
    """As :func:`to_rate`, for a recording that comes in blocks and need not fit into memory.

    The blocks that come out, put together, equal what :func:`to_rate` makes of the blocks that go in, put together. Kept
    between blocks is the input that the FIR still looks back on.

    Args:
        blocks: each ``(samples, channels)``; any lengths.
        rate: of the blocks, Hz.
        new_rate: wanted, Hz.

    Returns:
        Blocks ``(new samples, channels)``, one for each that goes in (perhaps empty), and the delay in seconds.

    Raises:
        UserError: as :func:`to_rate`.
    """
    up, down = _factors(rate, new_rate)
    if up == down:
        return (np.asarray(block, np.float64) for block in blocks), 0.0
    taps = _lowpass(up, down)
    return _resampled_blocks(blocks, taps, up, down), _delay(taps, rate, up)


def _resampled_blocks(blocks: Iterable[NDArray], taps: NDArray[np.float64], up: int, down: int) -> Iterator[NDArray[np.float64]]:
    history = -(-(len(taps) - 1) // up)  # input samples before its own moment that an output sample depends on
    kept: NDArray | None = None
    start, seen, made = 0, 0, 0  # the input sample that ``kept`` starts with; input samples seen; output samples made
    for block in blocks:
        x = block if kept is None else np.concatenate([kept, block])
        seen += len(block)
        end = _new_samples(seen, up, down)
        first = start * up // down  # exact, as ``start`` is a multiple of ``down``: the output sample that upfirdn starts with
        out = np.empty((end - made, x.shape[1]))
        for channel in range(x.shape[1] if len(out) else 0):
            out[:, channel] = signal.upfirdn(taps, x[:, channel].astype(np.float64), up, down)[made - first : end - first]
        yield out
        made = end
        needed = max(0, end * down // up - history)  # the first input sample that the next output sample depends on
        new_start = max(start, needed // down * down)
        kept, start = x[new_start - start :].copy(), new_start  # a copy: a view would keep all of ``x``


def new_length(samples: int, rate: float, new_rate: float) -> int:
    """How many samples :func:`to_rate` makes of ``samples``."""
    return _new_samples(samples, *_factors(rate, new_rate))


def _factors(rate: float, new_rate: float) -> tuple[int, int]:
    """Up- and downsampling factor, without a common divisor."""
    if not (np.isfinite(rate) and rate > 0):
        raise UserError(f"a sampling rate of {rate} Hz cannot be resampled to {new_rate} Hz: correct the rate in the file")
    exact = Fraction(new_rate) / Fraction(rate)
    ratio = exact.limit_denominator(_MAX_FACTOR)
    if ratio.numerator > _MAX_FACTOR or abs(float(ratio / exact) - 1.0) > _MAX_RATE_ERROR:
        raise UserError(f"a sampling rate of {rate} Hz is too far from {new_rate} Hz: resample the recording or set lfp.rate_hz")
    return ratio.numerator, ratio.denominator


def _new_samples(samples: int, up: int, down: int) -> int:
    return (samples - 1) * up // down + 1 if samples else 0


def _delay(taps: NDArray[np.float64], rate: float, up: int) -> float:
    """Delay of the linear-phase FIR in s."""
    return (len(taps) - 1) / 2 / (rate * up)


def to_counts(x: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round to int16 and saturate, as an ADC does."""
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(x), limits.min, limits.max).astype(np.int16)


def _lowpass(up: int, down: int) -> NDArray[np.float64]:
    """Linear-phase low-pass at ``up`` times the input rate, with gain ``up`` to make up for the zeros stuffed in."""
    cutoff = 1.0 / max(up, down)  # the lower Nyquist frequency, relative to that of the stuffed signal
    taps, beta = signal.kaiserord(_STOPBAND_DB, 2 * _EDGE * cutoff)
    taps |= 1  # odd: the delay is a whole number of stuffed samples
    return up * signal.firwin(taps, cutoff, window=("kaiser", beta))
