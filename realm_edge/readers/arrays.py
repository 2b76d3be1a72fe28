"""Checks and conversions that every reader needs."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError

_FULL_SCALE = 2**14  # what the largest value of data that are no counts maps to: two bits of head room for filters' overshoot
_INT16 = np.iinfo(np.int16)


def as_counts(data: NDArray, scale: float, label: str) -> tuple[NDArray[np.int16], float]:
    """Bring LFP into ADC counts.

    Integers that fit into int16 stay as they are; anything else is scaled so that the largest absolute value becomes 2^14.

    Args:
        data: ``(samples, channels)`` or ``(samples,)``, real numbers.
        scale: physical value of 1.0 in ``data``.
        label: file and series, for messages.

    Returns:
        ``(samples, channels)`` counts and the physical value of one count.

    Raises:
        UserError: not a table of real numbers, empty, or NaN or infinite somewhere; the message names channel and first sample.
    """
    data = np.asarray(data)
    if data.ndim not in (1, 2) or data.size == 0 or data.dtype.kind not in "iuf":
        raise UserError(f"{label}: has shape {data.shape} and type {data.dtype}, expected real numbers (samples, channels)")
    data = data.reshape(len(data), -1)
    if data.dtype == np.int16:
        return data, scale
    if data.dtype.kind in "iu" and data.min() >= _INT16.min and data.max() <= _INT16.max:
        return data.astype(np.int16), scale
    finite = np.isfinite(data)
    if not finite.all():
        sample, channel = np.argwhere(~finite)[0]
        raise UserError(f"{label}: channel {channel} is {data[sample, channel]} at sample {sample}: interpolate or crop the recording")
    largest = float(np.abs(data.astype(np.float64)).max())
    count = largest / _FULL_SCALE if largest > 0 else 1.0
    return np.rint(data / count).astype(np.int16), scale * count


def check_times(times: NDArray, samples: int, label: str) -> NDArray[np.float64]:
    """Check that ``times`` are one increasing number a sample, in s.

    Raises:
        UserError: they are not.
    """
    times = np.asarray(times)
    if times.shape != (samples,) or times.dtype.kind not in "iuf":
        raise UserError(f"{label}: {samples} samples have times of shape {times.shape} and type {times.dtype}: correct the file")
    times = times.astype(np.float64)
    wrong = ~np.isfinite(times)
    wrong[1:] |= ~(np.diff(times) > 0)
    if wrong.any():
        raise UserError(f"{label}: time {times[wrong][0]} of sample {np.argmax(wrong)} does not follow the one before: sort the samples")
    return times


def check_rate(rate: float, label: str) -> float:
    """Check a sampling rate in Hz.

    Raises:
        UserError: it is not a positive number.
    """
    if not (np.isfinite(rate) and rate > 0):
        raise UserError(f"{label}: sampling rate {rate} Hz: correct the file")
    return float(rate)


def check_spikes(times: NDArray, label: str) -> NDArray[np.float64]:
    """Bring one unit's spike times (s) into increasing order.

    Raises:
        UserError: one of them is no finite number.
    """
    times = np.asarray(times, np.float64)
    if not np.isfinite(times).all():
        raise UserError(f"{label}: spike {int(np.argmin(np.isfinite(times)))} has time {times[~np.isfinite(times)][0]}: remove it")
    return np.sort(times)


def choose_behavior(names: Collection[str], wanted: str | None, label: str) -> str:
    """Pick the behaviour series: the wanted one, or the only one.

    Raises:
        UserError: there is none, no such, or more than one to choose from; the message lists them.
    """
    there = ", ".join(sorted(names))
    if not names:
        raise UserError(f"{label}: no behaviour series (NWB: in processing/behavior or acquisition): nothing to decode")
    if wanted is None:
        if len(names) > 1:
            raise UserError(f"{label}: several behaviour series: choose one with --behavior: {there}")
        return next(iter(names))
    if wanted not in names:
        raise UserError(f"{label}: no behaviour series '{wanted}': use --behavior with one of: {there}")
    return wanted
