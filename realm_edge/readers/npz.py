"""Recordings as NumPy ``.npz`` files, for data that come from elsewhere.

Keys (``numpy.savez(path, **arrays)``; no pickled objects):

========================  ====================================================================================
``lfp``                   (samples, channels), int16 ADC counts, or floats in any unit
``lfp_rate``              Hz
``behavior``              (behaviour samples, dims) or (behaviour samples,), NaN where unknown
``behavior_times``        (behaviour samples,) s on the LFP's clock (0 is its first sample), or instead
``behavior_rate``         Hz, first sample at 0
``lfp_scale``             optional: volts a count (a unit, for floats)
``good_channels``         optional: (channels,) bool
``behavior_names``        optional: (dims,) text
``behavior_unit``         optional: text
``spike_times``           optional: (spikes,) s, all of unit 0, then all of unit 1, ...
``spike_index``           with ``spike_times``: (units,) where each unit's spikes end, as in NWB's ``spike_times_index``
========================  ====================================================================================
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.arrays import as_counts, check_rate, check_spikes, check_times
from realm_edge.readers.contents import BehaviorSeries, Contents, Request, without_behavior
from realm_edge.recording import Recording

_REQUIRED = ("lfp", "lfp_rate", "behavior")


def read(path: Path, request: Request) -> Contents:
    """Read a file with the keys above. Its one behaviour series is called "behavior".

    Raises:
        UserError: broken file, missing key, wrong shape or value.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise UserError(f"{path}: not readable as .npz ({_line(error)}): write it with numpy.savez, without objects") from error
    missing = [key for key in _REQUIRED if key not in arrays]
    if missing:
        raise UserError(f"{path}: key '{missing[0]}' is missing: it has {', '.join(sorted(arrays)) or 'none'}")
    behaviors = {name: _behavior(arrays, path) for name in request.pick(["behavior"])}
    lfp, scale = as_counts(arrays["lfp"], _number(arrays, "lfp_scale", path, 1.0), f"{path}: lfp")
    good = arrays.get("good_channels")
    if good is not None and (good.shape != (lfp.shape[1],) or good.dtype != np.bool_):
        raise UserError(f"{path}: good_channels has shape {good.shape} and type {good.dtype}, expected ({lfp.shape[1]},) bool")
    signals = Recording(
        name=path.stem,
        **without_behavior(),
        lfp=lfp,
        lfp_rate=check_rate(_number(arrays, "lfp_rate", path), f"{path}: lfp_rate"),
        lfp_scale=scale,
        lfp_unit="V" if "lfp_scale" in arrays else "a.u.",
        good_channels=good,
        spike_times=_spikes(arrays, path),
    )
    return Contents(signals, behaviors)


def _behavior(arrays: dict[str, NDArray], path: Path) -> BehaviorSeries:
    values = arrays["behavior"]
    if values.ndim not in (1, 2) or values.size == 0 or values.dtype.kind not in "iuf":
        raise UserError(f"{path}: behavior has shape {values.shape} and type {values.dtype}, expected real numbers (samples, dims)")
    values = values.reshape(len(values), -1).astype(np.float32)
    if "behavior_times" in arrays:
        times = check_times(arrays["behavior_times"], len(values), f"{path}: behavior_times")
    elif "behavior_rate" in arrays:
        times = np.arange(len(values)) / check_rate(_number(arrays, "behavior_rate", path), f"{path}: behavior_rate")
    else:
        raise UserError(f"{path}: key 'behavior_times' is missing, and so is 'behavior_rate': add one of them")
    default = ["behavior"] if values.shape[1] == 1 else [f"behavior_{i}" for i in range(values.shape[1])]
    names = tuple(str(name) for name in np.atleast_1d(arrays.get("behavior_names", default)))
    if len(names) != values.shape[1]:
        raise UserError(f"{path}: behavior_names has {len(names)} names for {values.shape[1]} columns of behavior")
    return BehaviorSeries(values, times, names, str(arrays.get("behavior_unit", "a.u.")))


def _spikes(arrays: dict[str, NDArray], path: Path) -> tuple[NDArray[np.float64], ...]:
    if "spike_times" not in arrays:
        return ()
    times, ends = arrays["spike_times"], arrays.get("spike_index")
    if ends is None or ends.ndim != 1 or ends.dtype.kind not in "iu" or times.ndim != 1 or times.dtype.kind not in "iuf":
        raise UserError(f"{path}: spike_times needs one dimension, and spike_index with the integer end of each unit's spikes")
    ends = ends.astype(np.int64)
    if (np.diff(ends, prepend=0) < 0).any() or len(ends) == 0 or ends[-1] != len(times):
        raise UserError(f"{path}: spike_index must not fall and must end at {len(times)}, the number of spike_times")
    return tuple(check_spikes(unit, f"{path}: unit {i}") for i, unit in enumerate(np.split(times, ends[:-1])))


def _number(arrays: dict[str, NDArray], key: str, path: Path, default: float | None = None) -> float:
    value = arrays.get(key, default)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise UserError(f"{path}: {key} is {value!r:.60}, expected one number")
    return float(array.reshape(()))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
