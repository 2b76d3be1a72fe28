"""Checks that every reader needs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.table import Table

LARGEST = 1e18  # of behaviour, in any unit; squares of float32 end at 3e38
SLOWEST_LFP, _SLOWEST, _FASTEST = 1.0, 1e-3, 1e7  # Hz
_FINE_S = 1e-6  # two floats that are no further apart tell all times apart
MOST_UNITS = 10_000  # a probe has some thousands; counts of units are held for each bin


def check_voltage(data: Table, label: str) -> None:
    """Check that a table can be voltage.

    Raises:
        UserError: no real numbers ``(samples, channels)`` or ``(samples,)``, or none at all.
    """
    if len(data.shape) not in (1, 2) or 0 in data.shape or kind_of(data) not in "iuf":
        raise UserError(f"{label}: has shape {data.shape} and type {data.dtype!s:.60}, expected real numbers (samples, channels)")


def kind_of(data: Any) -> str:
    """Kind of a table's type, as numpy names it; "V" of compounds and references, for which hdmf gives no type of numpy's."""
    return str(getattr(data.dtype, "kind", "V"))


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
    stored, times = times, times.astype(np.float64)
    wrong = ~np.isfinite(times)
    if wrong.any():
        raise UserError(f"{label}: time {times[wrong][0]} of sample {np.argmax(wrong)} is no finite number: correct the file")
    wrong[1:] = ~(np.diff(times) > 0)
    if wrong.any():
        follows = f"time {times[wrong][0]} of sample {np.argmax(wrong)} does not follow the one before: sort the samples"
        raise UserError(f"{label}: {too_coarse(stored) or follows}")
    return times


def too_coarse(times: NDArray, share: float = 0.1) -> str:
    """Why stamps cannot be told apart, where they are so large that neighbouring floats are as far apart as samples; else empty.

    Args:
        times: finite, in the type that they are stored in.
        share: of a step between samples, from which distance of two floats on they count as such.
    """
    if times.dtype.kind != "f" or len(times) < 2:
        return ""
    largest = np.abs(times).max()
    apart, step = float(np.spacing(largest)), abs(float(times[-1]) - float(times[0])) / (len(times) - 1)
    if apart <= max(share * step, _FINE_S):
        return ""
    return (
        f"its times reach {float(largest):g}, where {times.dtype} counts in steps of {apart:.3g}, too coarse to tell samples apart: "
        "subtract the first time before they are stored"
    )


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


def check_rate(rate: float, label: str, slowest: float = _SLOWEST) -> float:
    """Check a sampling rate in Hz.

    Args:
        slowest: Hz, below which it is refused; :data:`SLOWEST_LFP` of voltage.

    Raises:
        UserError: it is not a number from ``slowest`` to 10 MHz.
    """
    if not slowest * (1 - 1e-6) <= rate <= _FASTEST:  # also where it is NaN
        raise UserError(
            f"{label}: sampling rate {rate} Hz, not from {slowest:g} Hz to {_FASTEST:,.0f} Hz: is it in kHz, or are its time stamps in ms, "
            "us or ns? Correct the file"
        )
    return float(rate)


def check_units(units: int, label: str) -> None:
    """Refuse more units than any probe has.

    Raises:
        UserError: there are more than 10,000.
    """
    if units > MOST_UNITS:
        raise UserError(f"{label}: {units:,} units, of at most {MOST_UNITS:,}: does each spike have a number of its own? Correct the file")


def check_spikes(times: NDArray, label: str) -> NDArray[np.float64]:
    """Bring one unit's spike times (s) into increasing order.

    Raises:
        UserError: one of them is no finite number.
    """
    times = np.asarray(times, np.float64)
    if not np.isfinite(times).all():
        raise UserError(f"{label}: spike {int(np.argmin(np.isfinite(times)))} has time {times[~np.isfinite(times)][0]}: remove it")
    return np.sort(times)
