"""Recordings that hold features instead of voltage: they enter at the decoder."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from realm_edge.errors import UserError
from realm_edge.files import sha256_file
from realm_edge.session import Session
from realm_edge.settings import Settings, changed

SHORTEST_WINDOW = 50  # bins of a training window, where features come at a low rate
_MAX_JITTER = 0.01  # of a bin, by which the clock of the features may stray
_MAX_DRIFT = 1e-3  # by which a bin may differ from whole milliseconds, or the bins of two recordings from each other

Result = TypeVar("Result")
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
    return _opened(path, lambda file: _session(file, path, features, behavior, settings, split))


def window_bins(settings: Settings, bin_s: float) -> int:
    """Bins of a training window as long in seconds as the settings' is, where a bin lasts ``bin_s``."""
    return max(SHORTEST_WINDOW, round(settings.window_bins * settings.bin_ms / 1000 / bin_s))


def fitted(settings: Settings, path: Path, features: str) -> Settings:
    """``settings`` with the recording's bins, one a row, and windows of :func:`window_bins`.

    Raises:
        UserError: as :func:`read`; a bin that is no whole number of milliseconds or goes ill with the other settings.
    """
    bin_s = _opened(path, lambda file: _bin_s(_values(_pick(_all(file), features, "--features", path), path)[1]))
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


def _opened(path: Path, use: Callable[[NWBFile], Result]) -> Result:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about optional metadata
            with NWBHDF5IO(str(path), mode="r", load_namespaces=True) as io:
                return use(io.read())
    except UserError:
        raise
    # h5py, hdmf and pynwb raise whatever they stumble upon in a broken file.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not readable as NWB 2 ({type(error).__name__}: {reason}): export or download it again") from error


def _all(file: NWBFile) -> dict[str, TimeSeries]:
    return {each.name: each for each in file.objects.values() if isinstance(each, TimeSeries)}


def _session(file: NWBFile, path: Path, features: str, behavior: str | None, settings: Settings, split: Split) -> tuple[Session, float]:
    series = _all(file)
    inputs, times = _values(_pick(series, features, "--features", path), path)
    others = [name for name in series if name != features]
    if behavior is None and len(others) != 1:
        raise UserError(f"{path}: {len(others)} series beside the features ({', '.join(sorted(others))}): choose one with --behavior")
    target = _pick(series, others[0] if behavior is None else behavior, "--behavior", path)
    values, at = _values(target, path)
    if not np.isfinite(inputs).all():
        row = int(np.argmax(~np.isfinite(inputs).all(axis=1)))
        raise UserError(f"{path}: {features}: row {row} is not finite: fill or crop it")
    asked = times - settings.output_delay_ms / 1000
    targets = np.stack([np.interp(asked, at, column, left=np.nan, right=np.nan) for column in values.T], axis=1)
    unit = str(target.unit)
    if settings.behavior_transform == "log":
        targets, unit = np.log1p(np.maximum(targets, 0.0)), f"ln({unit} + 1)"
    train_end, validation_end = split(len(inputs))
    names = (target.name,) if targets.shape[1] == 1 else tuple(f"{target.name}_{axis}" for axis in range(targets.shape[1]))
    session = Session(
        name=path.stem,
        heldout=True,
        synthetic=False,
        targets=targets.astype(np.float32),
        target_names=names,
        target_unit=unit,
        train_end=train_end,
        validation_end=validation_end,
        lfp=None,
        good_channels=np.ones(inputs.shape[1], bool),
        features=inputs.astype(np.float32),
        counts=None,
        spike_source="none",
        spike_threshold=None,
        broadband=None,
        provenance={"file": str(path), "sha256": sha256_file(path), "feature_series": features, "behavior_series": target.name},
    )
    return session, _bin_s(times)


def _bin_s(times: NDArray[np.float64]) -> float:
    return float(times[-1] - times[0]) / (len(times) - 1)


def _pick(series: dict[str, TimeSeries], name: str, option: str, path: Path) -> TimeSeries:
    if name not in series:
        raise UserError(f"{path}: {option} {name}: no such series: use one of {', '.join(sorted(series)) or '(there is none)'}")
    return series[name]


def _values(series: TimeSeries, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rows, columns) and the rows' times in s."""
    label = f"{path}: {series.name}"
    data = np.asarray(series.data[:])
    if data.ndim not in (1, 2) or data.dtype.kind not in "iuf" or len(data) < 2:
        raise UserError(f"{label}: not a table of numbers (shape {data.shape}, {data.dtype}): choose another series")
    values = (data * series.conversion + (series.offset or 0.0)).astype(np.float64).reshape(len(data), -1)
    if series.rate:
        return values, float(series.starting_time or 0.0) + np.arange(len(values)) / series.rate
    times = np.asarray(series.timestamps[:], np.float64)
    steps = np.diff(times)
    if not (len(times) == len(values) and np.isfinite(times).all() and (np.abs(steps - steps.mean()) <= _MAX_JITTER * steps.mean()).all()):
        raise UserError(f"{label}: its time stamps are not those of a regular series: crop or resample it")
    return values, times
