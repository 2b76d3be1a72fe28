"""Whether spikes and behaviour are on the LFP's clock."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError

_NEARLY_ALL = 0.95  # of the times outside the LFP: they are on another clock
_WORTH_SAYING = 1e-3
_FILLED = 0.2  # of the LFP: times in the right unit fill at least as much
_RATES = (30000.0, 24414.0625, 40000.0, 32000.0, 25000.0, 20000.0, 1000.0)  # Hz, of common recording systems


def share_outside(times: NDArray[np.float64], spans: Sequence[tuple[float, float]]) -> float:
    """Share of the times that lie in none of the spans (start, end) in s."""
    if not len(times):
        return 0.0
    inside = np.zeros(len(times), bool)
    for start, end in spans:
        inside |= (times >= start) & (times <= end)
    return float(1.0 - inside.mean())


def checked(times: NDArray[np.float64], spans: Sequence[tuple[float, float]], what: str, option: str, rate: float, label: str) -> str:
    """Say how many times lie outside the LFP.

    Args:
        times: of spikes or behaviour samples, s.
        spans: of the LFP, s.
        what: "spikes", say.
        option: that names a file of them, to which an offset can be given.
        rate: of the LFP, Hz.

    Returns:
        A line for the provenance; empty where next to nothing lies outside.

    Raises:
        UserError: nearly all do; the message names the likely cause.
    """
    share = share_outside(times, spans)
    if share >= _NEARLY_ALL:
        raise UserError(
            f"{label}: {100 * share:.0f} % of the {what} lie outside the LFP ({what} {times.min():.3f} to {times.max():.3f} s, "
            f"LFP {spans[0][0]:.3f} to {spans[-1][1]:.3f} s): {_cause(times, spans, what, option, rate)}"
        )
    if share < _WORTH_SAYING:
        return ""
    return f"{100 * share:.1f} % of the {what} lie outside the LFP"


def _cause(times: NDArray[np.float64], spans: Sequence[tuple[float, float]], what: str, option: str, rate: float) -> str:
    start, end = spans[0][0], spans[-1][1]
    if (times == np.rint(times)).all():
        for candidate in dict.fromkeys((rate, *_RATES)):
            if _fits(times / candidate, spans):
                return f"they look like sample numbers: divide them by the rate ({candidate:g} Hz, say)"
    for factor, unit in ((1e3, "milliseconds"), (1e6, "microseconds")):
        if _fits(times / factor, spans):
            return f"they look like {unit}: divide them by {factor:g}"
    if times.max() - times.min() <= 1.05 * (end - start):
        shift = start - times.min()
        return f"they look as if they had another zero: give their file with {option} and --sync-offset {shift:.6g}, or the true offset"
    return f"they are on another clock: convert them, or give their file with {option} and --sync-offset"


def _fits(times: NDArray[np.float64], spans: Sequence[tuple[float, float]]) -> bool:
    """Whether the times lie within the spans and fill a good part of them."""
    filled = (times.max() - times.min()) / (spans[-1][1] - spans[0][0])
    return filled > _FILLED and share_outside(times, spans) < 1.0 - _NEARLY_ALL
