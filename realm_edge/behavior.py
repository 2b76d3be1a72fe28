"""Behaviour between its samples: interpolation that knows of gaps, of angles that wrap, and of times that nothing may look across."""

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.recording import BehaviorSeries

GAP_S = 1.0  # unknown behaviour no longer than this is interpolated
SAME_TIME_S = 1e-6  # two clock readings closer than this are the same
_TURNS = {"rad": 2 * np.pi, "radian": 2 * np.pi, "radians": 2 * np.pi, "deg": 360.0, "degree": 360.0, "degrees": 360.0, "°": 360.0}

_WIDE_STEP = 1.5  # periods between two samples that make a gap
CODE = "code"  # unit of numbers that name something: between two of them the one before holds
_NO_UNIT = ("", "a.u.", "n.a.", "unknown", "1")


def turn_of(unit: str) -> float | None:
    """A full turn in a unit of angle; None for other units."""
    return _TURNS.get(unit.strip().lower())


def units_of_columns(unit: str, dims: int) -> list[str]:
    """The unit of each column: series of several units have one a column, after commas."""
    units = unit.split(", ")
    return units if len(units) == dims else [unit] * dims


def one_unit(units: list[str]) -> str:
    """What :func:`units_of_columns` takes apart."""
    return units[0] if len(set(units)) == 1 else ", ".join(units)


def _turns(unit: str, dims: int) -> NDArray[np.float64]:
    """A full turn of each column, ``(dims,)``, 0 where it is no angle."""
    return np.array([turn_of(one) or 0.0 for one in units_of_columns(unit, dims)])


def gaps_of(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lengths in s of the gaps in time stamps: steps that are longer than one and a half of the usual one."""
    steps = np.diff(times)
    return np.asarray(steps[steps > _WIDE_STEP * np.median(steps)]) if len(steps) else steps


def wraps(values: NDArray[np.floating], unit: str) -> NDArray[np.bool_]:
    """Which columns jump from one end of a turn to the other, ``(dims,)``.

    Args:
        values: ``(samples, dims)``, NaN where unknown.
    """
    turn = _turns(unit, values.shape[1])
    inside = np.nanmax(values, axis=0, initial=0.0) - np.nanmin(values, axis=0, initial=0.0) <= turn * (1 + 1e-3)
    known = [column[np.isfinite(column)] for column in values.T]  # a wrap may fall between samples that are unknown
    jumps = np.array([(np.abs(np.diff(column)) > half).any() for column, half in zip(known, turn / 2, strict=True)])
    return np.asarray(inside & jumps & (turn > 0))


def interpolated(
    at: NDArray[np.float64],
    values: NDArray[np.floating],
    times: NDArray[np.floating],
    unit: str,
    edges: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Behaviour at some times, linear between two samples, the shorter way round where an angle wraps; codes hold until the next.

    A value is known where the known samples on both sides (or one right at the time) are no further apart than :data:`GAP_S` and one
    sampling period. Where an edge lies between the two, the one before is held, for up to a period: no value looks beyond an edge.

    Args:
        at: ``(samples,)`` s, increasing.
        values: ``(samples, dims)``, NaN where unknown.
        times: ``(n,)`` s, increasing.
        unit: of the values; angles are known by it.
        edges: s, increasing; ends of segments and of the parts of a session.

    Returns:
        ``(n, dims)``, rows of NaN where it is unknown.
    """
    known = np.isfinite(values).all(axis=1)
    out = np.full((len(times), values.shape[1]), np.nan)
    if not known.any():
        return out
    period = float(np.median(np.diff(at))) if len(at) > 1 else 0.0
    at, x = at[known], values[known].astype(np.float64)
    turn, circular = _turns(unit, x.shape[1]), wraps(x, unit)
    low = np.where(x.min(axis=0) < 0, -turn / 2, 0.0)  # of the turn that the series counts in
    for angle in np.flatnonzero(circular):
        x[:, angle] = np.unwrap(x[:, angle], period=turn[angle])
    before, after = np.searchsorted(at, times + SAME_TIME_S, "right") - 1, np.searchsorted(at, times - SAME_TIME_S)
    inside = (before >= 0) & (after < len(at))
    before, after = np.maximum(before, 0), np.minimum(after, len(at) - 1)
    inside &= at[after] - at[before] <= GAP_S + period
    codes = np.array([one == CODE for one in units_of_columns(unit, x.shape[1])])
    for column in range(x.shape[1]):
        out[:, column] = x[before, column] if codes[column] else np.interp(times, at, x[:, column])
    if edges is not None:
        crossed = np.searchsorted(edges, at[before] + SAME_TIME_S) < np.searchsorted(edges, at[after] - SAME_TIME_S)
        out[crossed] = x[before[crossed]]
        inside = np.where(crossed, inside & (times - at[before] <= period + SAME_TIME_S), inside)
    out[:, circular] = np.mod(out[:, circular] - low[circular], turn[circular]) + low[circular]
    out[~inside] = np.nan
    return out


def transformed(
    targets: NDArray[np.float64], series: BehaviorSeries, transform: str, label: str
) -> tuple[NDArray[np.float32], tuple[str, ...], str]:
    """What is decoded of behaviour: itself, its logarithm, or cosine and sine of an angle.

    Args:
        targets: ``(bins, dims)`` in the series' unit, NaN where unknown.
        series: that they were taken from.
        transform: "none", "log" (ln(max(x, 0) + 1)) or "circular".
        label: file, for messages.

    Returns:
        Targets ``(bins, dims)``, or ``(bins, 2 * dims)`` for an angle, their names and their unit.

    Raises:
        UserError: values that are no angle.
    """
    if transform == "log":
        return np.log1p(np.maximum(targets, 0.0)).astype(np.float32), series.names, f"ln({series.unit} + 1)"
    if transform == "circular":
        angle = targets * (2 * np.pi / _circles(series, label))
        pairs = np.stack([np.cos(angle), np.sin(angle)], axis=2).reshape(len(angle), -1)
        return pairs.astype(np.float32), tuple(f"{name}_{part}" for name in series.names for part in ("cos", "sin")), "1"
    return targets.astype(np.float32), series.names, series.unit


def angles_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The angles that targets of :func:`transformed` stand for, by their names; none where the targets are no angles."""
    stems = tuple(name.removesuffix("_cos") for name in names[::2])
    return stems if names == tuple(f"{stem}_{part}" for stem in stems for part in ("cos", "sin")) else ()


def angle_error_deg(true: NDArray[np.floating], decoded: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean absolute error of angles in degrees, ``(angles,)``, over the rows that are known; chance is 90.

    Args:
        true, decoded: ``(bins, 2 * angles)``, cosine and sine of each; those that are decoded need not lie on the circle.
    """
    known = np.isfinite(true).all(axis=1)
    angles = [np.arctan2(values[known, 1::2], values[known, ::2]) for values in (true, decoded)]
    difference = angles[0] - angles[1]
    return np.degrees(np.abs(np.arctan2(np.sin(difference), np.cos(difference)))).mean(axis=0)


def _circles(series: BehaviorSeries, label: str) -> NDArray[np.float64]:
    """A full turn of each column that is decoded as an angle, ``(dims,)``; without a known unit, radians where they fit."""
    units = units_of_columns(series.unit, len(series.names))
    return np.array([_turn(series.values[:, at], unit, f"{label}: {series.names[at]}") for at, unit in enumerate(units)])


def _turn(values: NDArray[np.floating], unit: str, label: str) -> float:
    turn = turn_of(unit)
    if turn is not None:
        return turn
    if unit.strip().lower() not in _NO_UNIT:
        raise UserError(f'{label}: behavior_transform = "circular": {unit} is no unit of angles: choose a series in radians or degrees')
    span = float(np.nanmax(values) - np.nanmin(values))
    if span > 360.0 * (1 + 1e-3):
        raise UserError(f'{label}: behavior_transform = "circular": values span {span:g}, more than a turn: choose an angle')
    return 2 * np.pi if span <= 2 * np.pi * (1 + 1e-3) else 360.0
