"""What is decoded: behaviour on the bins of a session, with what is unknown, and whether it is enough to decode."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from realm_edge.behavior import GAP_S, gaps_of, interpolated, transformed, wraps
from realm_edge.errors import UserError
from realm_edge.recording import Axes, BehaviorSeries
from realm_edge.settings import Settings

_MAX_UNKNOWN = 0.2  # share of the bins


def targets_of(
    behavior: BehaviorSeries,
    settings: Settings,
    times: NDArray[np.float64],
    edges: NDArray[np.float64],
    valid: NDArray[np.bool_],
    known: NDArray[np.bool_],
    label: str,
    notes: dict[str, str],
) -> tuple[NDArray[np.float32], tuple[str, ...], str]:
    """Behaviour at some times, with names and unit; what was filled or left unknown is added to ``notes``.

    Args:
        times: ``(bins,)`` s, increasing.
        edges: s, that no value looks across.
        valid: ``(bins,)``, False in the recording's invalid times.
        known: ``(bins,)``, False where the behaviour of that time is another segment's, or invalid.
        label: file, for messages.

    Returns:
        ``(bins, dims)``, rows of NaN where it is unknown.

    Raises:
        UserError: it is unknown in more than 20 % of the bins, or no angle where one is wanted.
    """
    there = np.asarray(np.isfinite(behavior.values).all(axis=1))
    series = ", ".join(behavior.names)
    if not there.any():
        raise UserError(f"{label}: behaviour '{series}' has no sample in which all columns are known: choose other series with --behavior")
    if not valid.any():
        raise UserError(f"{label}: every bin lies in its invalid times or outside of the units' observation intervals: correct the file")
    targets = interpolated(behavior.times, behavior.values, times, behavior.unit, edges)
    targets[valid & ~known] = np.nan
    unknown = np.asarray(~np.isfinite(targets).all(axis=1))
    share = float(unknown[valid].mean())
    # Bins whose behaviour of that long before lies before the behaviour, or before their segment.
    late = (times < behavior.times[0]) & (times + settings.output_delay_ms / 1000 >= behavior.times[0]) | (valid & ~known)
    if share > _MAX_UNKNOWN >= float((unknown & ~late)[valid].mean()):
        raise UserError(
            f"{label}: output_delay_ms {settings.output_delay_ms}: behaviour '{series}' of that long before is unknown in "
            f"{100 * share:.0f} % of the bins, more than {100 * _MAX_UNKNOWN:.0f} %: lower output_delay_ms in --config, or use a longer "
            "recording"
        )
    if share > _MAX_UNKNOWN:
        raise UserError(
            f"{label}: behaviour '{series}' is unknown in {100 * share:.0f} % of the bins, more than {100 * _MAX_UNKNOWN:.0f} %: "
            "choose another series with --behavior, or interpolate or crop the recording"
        )
    left = int((unknown & valid).sum())
    if left or not there.all():
        notes["behavior_gaps"] = (
            f"behaviour: {_unknown(behavior.values)}, {len(gaps_of(behavior.times))} gap(s) in its time stamps; "
            f"interpolated up to {GAP_S:g} s, {left} bins left unknown"
        )
    if not valid.all():
        notes["invalid"] = f"{int((~valid).sum())} bins in invalid or unobserved times: unknown"
    targets[unknown | ~valid] = np.nan
    circular = wraps(behavior.values, behavior.unit)
    if settings.behavior_transform == "none" and circular.any():
        named = ", ".join(name for name, one in zip(behavior.names, circular, strict=True) if one)
        notes["wraps"] = (
            f"{named} wraps round a full turn, which no decoder follows: "
            'set behavior_transform = "circular" in --config to decode sine and cosine'
        )
    return transformed(targets, behavior, settings.behavior_transform, label)


def unknown(bins: int, axes: Axes) -> tuple[NDArray[np.float32], tuple[str, ...], str]:
    """As :func:`targets_of` where no behaviour was recorded; ``axes`` as they are decoded, transformed or not."""
    return np.full((bins, len(axes.names)), np.nan, np.float32), axes.names, axes.unit


def _unknown(values: NDArray[np.floating]) -> str:
    nan, infinite = (int(kind(values).any(axis=1).sum()) for kind in (np.isnan, np.isinf))
    return f"{nan} samples are NaN" + (f" and {infinite} infinite" if infinite else "")


def check_parts(targets: NDArray[np.float32], names: tuple[str, ...], ends: Mapping[str, int], label: str, notes: dict[str, str]) -> None:
    """Refuse a part in which nothing is known, and behaviour that never changes in the training part; tell of columns that do not.

    Args:
        ends: of the parts, in bins; a session that is not decoded has no test part.

    Raises:
        UserError: as above.
    """
    first = 0
    for part, end in ends.items():
        if end > first and not np.isfinite(targets[first:end]).all(axis=1).any():
            raise UserError(
                f"{label}: the behaviour of the whole {part} part (bins {first} to {end}) is unknown, invalid or unobserved: "
                "choose other parts with [split] in --config, or crop the recording"
            )
        first = end
    training = targets[: ends["training"]]
    still = ~(np.nanmax(training, axis=0) > np.nanmin(training, axis=0))
    which = ", ".join(name for name, one in zip(names, still, strict=True) if one)
    if still.all():
        raise UserError(
            f"{label}: behaviour '{which}' never changes in the training part: nothing to decode: choose another with --behavior"
        )
    if still.any():
        notes["behavior_constant"] = f"{which} never changes in the training part: no decoder can learn it"
