"""Recordings that hold features instead of voltage: they enter at the decoder."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from realm_edge.behavior import interpolated, transformed
from realm_edge.errors import UserError
from realm_edge.files import sha256_file
from realm_edge.readers import nwb
from realm_edge.readers.choices import pick
from realm_edge.readers.contents import Request
from realm_edge.recording import BehaviorSeries
from realm_edge.session import Session
from realm_edge.settings import Settings, changed

SHORTEST_WINDOW = 50  # bins of a training window, where features come at a low rate
_MAX_JITTER = 0.01  # of a bin, by which the clock of the features may stray
_MAX_DRIFT = 1e-3  # by which a bin may differ from whole milliseconds, or the bins of two recordings from each other

Split = Callable[[int], tuple[int, int]]  # bins of a recording to the ends of its training and validation part


def read(path: Path, features: str, behavior: str | None, settings: Settings, split: Split) -> tuple[Session, float]:
    """Read one NWB 2 file; a bin is one row of the features, and its behaviour that at the row's time stamp.

    Args:
        features: name of the TimeSeries (rows, columns).
        behavior: name of the TimeSeries to decode; None takes the only other one.
        settings: ``behavior_transform`` and ``output_delay_ms`` count.
        split: of the recording into its parts.

    Returns:
        The session, held out and without LFP, and the seconds a bin. Rows of unknown behaviour have NaN targets.

    Raises:
        UserError: the file cannot be read or has no such series; features that are not finite; a clock with gaps.
    """
    series = _series(path)
    inputs, times = _features(series, features, path)
    others = [name for name in series if name != features]
    if behavior is None and len(others) != 1:
        raise UserError(f"{path}: {len(others)} series beside the features ({', '.join(sorted(others))}): choose one with --behavior")
    name, target = pick(series, others[0] if behavior is None else behavior, "--behavior", str(path))
    found = target()
    known = interpolated(found.times, found.values, times - settings.output_delay_ms / 1000, found.unit)
    targets, names, unit = transformed(known, found, settings.behavior_transform, str(path))
    train_end, validation_end = split(len(inputs))
    session = Session(
        name=path.stem,
        heldout=True,
        synthetic=False,
        targets=targets,
        target_names=names,
        target_unit=unit,
        train_end=train_end,
        validation_end=validation_end,
        lfp=None,
        good_channels=np.ones(inputs.shape[1], bool),
        features=inputs,
        counts=None,
        spike_source="none",
        spike_threshold=None,
        broadband=None,
        provenance={"file": str(path), "sha256": sha256_file(path), "feature_series": features, "behavior_series": name},
    )
    return session, _bin_s(times)


def window_bins(settings: Settings, bin_s: float) -> int:
    """Bins of a training window as long in seconds as the settings' is, where a bin lasts ``bin_s``."""
    return max(SHORTEST_WINDOW, round(settings.window_bins * settings.bin_ms / 1000 / bin_s))


def fitted(settings: Settings, path: Path, features: str) -> Settings:
    """``settings`` with the recording's bins, one a row, and windows of :func:`window_bins`.

    Raises:
        UserError: as :func:`read`; a bin that is no whole number of milliseconds or goes ill with the other settings.
    """
    bin_s = _bin_s(_features(_series(path), features, path)[1])
    bin_ms = round(1000 * bin_s)
    if not is_bin(bin_s, bin_ms):
        raise UserError(f"{path}: {features}: a row every {1000 * bin_s:.6g} ms: bins last whole milliseconds: resample it")
    try:
        return changed(settings, {"bin_ms": bin_ms, "window_bins": window_bins(settings, bin_s)})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {features}: a row every {bin_ms} ms: {reason}") from error


def is_bin(bin_s: float, bin_ms: int) -> bool:
    """Whether bins of ``bin_s`` count as bins of ``bin_ms``."""
    return abs(1000 * bin_s - bin_ms) <= _MAX_DRIFT * bin_ms


def _series(path: Path) -> Mapping[str, Callable[[], BehaviorSeries]]:
    """Every series of the file that is no voltage."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return nwb.read(path, Request(0.0)).behaviors


def _features(series: Mapping[str, Callable[[], BehaviorSeries]], name: str, path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(rows, columns) and the rows' times in s."""
    found = pick(series, name, "--features", str(path))[1]()
    if len(found.times) < 2:
        raise UserError(f"{path}: {name}: not a table of numbers (shape {found.values.shape}): choose another series")
    if not np.isfinite(found.values).all():
        row = int(np.argmax(~np.isfinite(found.values).all(axis=1)))
        raise UserError(f"{path}: {name}: row {row} is not finite: fill or crop it")
    steps = np.diff(found.times)
    if (np.abs(steps - steps.mean()) > _MAX_JITTER * steps.mean()).any():
        raise UserError(f"{path}: {name}: its time stamps are not those of a regular series: crop or resample it")
    return found.values, found.times


def _bin_s(times: NDArray[np.float64]) -> float:
    return float(times[-1] - times[0]) / (len(times) - 1)
