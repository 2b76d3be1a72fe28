"""Segments of a session: stretches of bins without a pause, at whose starts filters, lags and decoder states start anew.

A session lists the bins at which its segments start, in order; the first is bin 0. Bins of two segments follow one another in the
session's arrays although time has passed between them.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Starts = Sequence[int] | NDArray[np.int64]

ROUNDING = 1e-6  # of 1 or of an input's mean, the larger: noise of a constant, not a signal
HISTORY_S = 1.0  # from which on a bin counts as one with history: decoders and filters have seen that much of its segment


def one_segment() -> NDArray[np.int64]:
    """The starts of a session without pauses."""
    return np.zeros(1, np.int64)


def bounds(starts: Starts, bins: int) -> Iterator[tuple[int, int]]:
    """First bin and end of each segment."""
    ends = [*(int(start) for start in starts[1:]), bins]
    return zip((int(start) for start in starts), ends, strict=True)


def history(starts: Starts, bins: int) -> NDArray[np.int64]:
    """How many bins of its own segment come before each bin, ``(bins,)``."""
    index = np.arange(bins)
    starts = np.asarray(starts)
    return index - starts[np.searchsorted(starts, index, "right") - 1]


def with_history(starts: Starts, bins: int, bin_s: float) -> NDArray[np.bool_]:
    """Which bins have :data:`HISTORY_S` of their segment behind them at their end, ``(bins,)``."""
    return (history(starts, bins) + 1) * bin_s >= HISTORY_S - 1e-9


def never_changes(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which inputs ``(rows, inputs)`` are constant but for :data:`ROUNDING`, ``(inputs,)``."""
    known = values.astype(np.float64)
    return np.asarray(known.std(axis=0) <= ROUNDING * (1.0 + np.abs(known.mean(axis=0))))


def within(starts: Starts, first: int, stop: int) -> NDArray[np.int64]:
    """Starts of the segments that the bins ``[first, stop)`` fall into, from ``first``; the first of them starts at 0."""
    starts = np.asarray(starts, np.int64)
    inside = starts[(starts > first) & (starts < stop)] - first
    return np.concatenate([one_segment(), inside])


def learnt_from(starts: Starts, valid: NDArray[np.bool_] | None, stop: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which of the bins ``[0, stop)`` lie in segments that are not void as a whole, ``(stop,)``, and where segments start among those.

    Args:
        valid: ``(bins,)``, as :attr:`realm_edge.session.Session.valid`.
    """
    kept = np.ones(stop, bool)
    moved = []
    for first, end in bounds(within(starts, 0, stop), stop):
        if valid is not None and not valid[first:end].any():
            kept[first:end] = False
        else:
            moved.append(int(kept[:first].sum()))
    return kept, np.array(moved, np.int64)
