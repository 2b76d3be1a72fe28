"""Checks that every reader needs."""

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.table import Table

LARGEST = 1e18  # of behaviour, in any unit; squares of float32 end at 3e38


def check_voltage(data: Table, label: str) -> None:
    """Check that a table can be voltage.

    Raises:
        UserError: no real numbers ``(samples, channels)`` or ``(samples,)``, or none at all.
    """
    if len(data.shape) not in (1, 2) or 0 in data.shape or data.dtype.kind not in "iuf":
        raise UserError(f"{label}: has shape {data.shape} and type {data.dtype}, expected real numbers (samples, channels)")


def behavior_values(values: NDArray, label: str) -> NDArray[np.float32]:
    """Behaviour as it is kept; NaN and infinite where it is unknown.

    Raises:
        UserError: a finite value is so large that sums of squares would not be finite.
    """
    with np.errstate(invalid="ignore"):
        large = np.isfinite(values) & (np.abs(values) > LARGEST)
    if large.any():
        raise UserError(
            f"{label}: value {values[large][0]:.3g} of sample {int(np.argwhere(large)[0][0])} is beyond {LARGEST:g}: correct it"
        )
    return values.astype(np.float32, copy=False)


def check_times(times: NDArray, samples: int, label: str) -> NDArray[np.float64]:
    """Check that ``times`` are one increasing number per sample, in s.

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


def check_intervals(found: NDArray[np.float64], label: str) -> NDArray[np.float64]:
    """Check that rows ``(intervals, 2)`` are a start and a later end, in s.

    Raises:
        UserError: one is not.
    """
    right = np.isfinite(found).all(axis=1) & (found[:, 1] > found[:, 0])
    if not right.all():
        row = int(np.argmin(right))
        raise UserError(f"{label}: row {row}: {found[row, 0]:g} to {found[row, 1]:g} s is no interval: correct it")
    return found


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
