"""Whether spikes, behaviour and intervals are on the LFP's clock."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError

_NEARLY_ALL = 0.95  # of the times outside the LFP: they are on another clock
_WORTH_SAYING = 1e-3
_SAME_S = 1e-3  # by which an interval may reach beyond the LFP
_FILLED = 0.5  # of the LFP: times in the right unit fill at least as much
_RATES = (30000.0, 24414.0625, 40000.0, 32000.0, 25000.0, 20000.0)  # Hz, of common recording systems
_UNITS = ((1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds"), (1e4, "ticks of 0.1 ms"), (1e2, "ticks of 10 ms"))


def share_outside(times: NDArray[np.float64], spans: Sequence[tuple[float, float]]) -> float:
    """Share of the times that lie in none of the spans (start, end) in s."""
    if not len(times):
        return 0.0
    inside = np.zeros(len(times), bool)
    for start, end in spans:
        inside |= (times >= start) & (times <= end)
    return float(1.0 - inside.mean())


def checked(
    times: NDArray[np.float64],
    spans: Sequence[tuple[float, float]],
    what: str,
    option: str,
    rate: float,
    label: str,
    given: float = 0.0,
    reference: str = "LFP",
) -> str:
    """Say how many times lie outside the LFP, or the features.

    Args:
        times: of spikes or behaviour samples, s.
        spans: of the LFP, s.
        what: "spikes", say.
        option: that names a file of them, to which an offset can be given; empty where there is none.
        rate: of the LFP, Hz.
        given: s, the offset that the times have already.
        reference: what the spans are of, for messages.

    Returns:
        A line for the provenance; empty where next to nothing lies outside.

    Raises:
        UserError: nearly all do; the message names the likely cause.
    """
    share = share_outside(times, spans)
    if share >= _NEARLY_ALL:
        raise UserError(
            f"{label}: {100 * share:.0f} % of the {what} lie outside the {reference} ({what} {times.min():.3f} to {times.max():.3f} s, "
            f"{reference} {spans[0][0]:.3f} to {spans[-1][1]:.3f} s): {_cause(times, spans, option, rate, given)}"
        )
    if share < _WORTH_SAYING:
        return ""
    return f"{100 * share:.1f} % of the {what} lie outside the {reference}"


def checked_intervals(
    intervals: NDArray[np.float64], spans: Sequence[tuple[float, float]], rate: float, shortest: float, label: str
) -> str:
    """Say how many intervals lie outside the LFP, wholly or in part, or are too short.

    Args:
        intervals: ``(intervals, 2)`` s.
        spans: of the LFP, s.
        rate: of the LFP, Hz.
        shortest: that is of use, s.

    Returns:
        A line for the provenance; empty where all lie inside and are long enough.

    Raises:
        UserError: all lie outside or are too short, or they fit the LFP in another unit of time.
    """
    start, end = spans[0][0], spans[-1][1]
    outside = (intervals[:, 1] <= start) | (intervals[:, 0] >= end)
    ends = intervals.ravel()
    unit = _other_unit(ends, spans, rate) if 2 * share_outside(ends, spans) >= 1.0 else ""
    if outside.all() or unit:
        where = f"intervals {ends.min():.3f} to {ends.max():.3f} s, LFP {start:.3f} to {end:.3f} s"
        raise UserError(f"{label}: {int(outside.sum())} of {len(intervals)} intervals lie outside the LFP ({where}): " + _remedy(unit, ""))
    beyond = ~outside & ((intervals[:, 0] < start - _SAME_S) | (intervals[:, 1] > end + _SAME_S))
    short = ~outside & (np.minimum(intervals[:, 1], end) - np.maximum(intervals[:, 0], start) < shortest)
    if (outside | short).all():
        raise UserError(f"{label}: none of its {len(intervals)} intervals holds a bin of {1e3 * shortest:g} ms: choose another table")
    found = ((outside, "outside the LFP"), (beyond, "partly outside the LFP"), (short, f"shorter than a bin of {1e3 * shortest:g} ms"))
    parts = [f"{int(rows.sum())} {how}" for rows, how in found if rows.any()]
    return f"{', '.join(parts)}, of {len(intervals)} intervals" if parts else ""


def touching(intervals: NDArray[np.float64], spans: Sequence[tuple[float, float]]) -> tuple[NDArray[np.float64], str]:
    """The intervals ``(intervals, 2)`` s that touch the LFP, and what there is to say of the others; empty where there are none."""
    there = np.logical_or.reduce([(intervals[:, 0] < end) & (intervals[:, 1] > start) for start, end in spans])
    if there.all():
        return intervals, ""
    where = f"invalid {intervals.min():.3f} to {intervals.max():.3f} s, LFP {spans[0][0]:.3f} to {spans[-1][1]:.3f} s"
    note = f"{int((~there).sum())} of {len(there)} invalid times lie outside the LFP ({where})"
    return intervals[there], note


def _cause(times: NDArray[np.float64], spans: Sequence[tuple[float, float]], option: str, rate: float, given: float) -> str:
    unit = _other_unit(times - given, spans, rate)
    if not unit and option and times.max() - times.min() <= 1.05 * (spans[-1][1] - spans[0][0]):
        shift = given + spans[0][0] - times.min()
        return f"they look as if they had another zero: give their file with {option} and --sync-offset {shift:.6g}, or the true offset"
    return _remedy(unit, option)


def _remedy(unit: str, option: str) -> str:
    if unit:
        return f"they look like {unit}"
    return "they are on another clock: convert them" + (f", or give their file with {option} and --sync-offset" if option else "")


def _other_unit(times: NDArray[np.float64], spans: Sequence[tuple[float, float]], rate: float) -> str:
    """The unit in which the times fit the LFP, and what to divide them by to have seconds; empty where none does."""
    whole = bool((times == np.rint(times)).all())
    for candidate in dict.fromkeys((rate, *_RATES)) if whole else ():
        if candidate not in dict(_UNITS) and _fits(times / candidate, spans):
            return f"sample numbers: divide them by the rate ({candidate:g} Hz, say)"
    for factor, unit in _UNITS:
        if (whole or not unit.startswith("ticks")) and _fits(times / factor, spans):
            numbers = ", or sample numbers of the LFP" if whole and factor == rate else ""
            return f"{unit}{numbers}: divide them by {factor:g}"
    return ""


def _fits(times: NDArray[np.float64], spans: Sequence[tuple[float, float]]) -> bool:
    """Whether the times lie within the spans and fill a good part of them."""
    filled = (times.max() - times.min()) / (spans[-1][1] - spans[0][0])
    return filled > _FILLED and share_outside(times, spans) < 1.0 - _NEARLY_ALL
