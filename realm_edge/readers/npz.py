"""Recordings as NumPy ``.npz`` files, for data that come from elsewhere.

Keys (``numpy.savez(path, **arrays)``; no pickled objects):

========================  ====================================================================================
``lfp``                   (samples, channels), ADC counts, or floats in any unit
``lfp_rate``              Hz; or instead
``lfp_times``             (samples,) s, with pauses where there were any
``lfp_start``             with ``lfp_rate``, optional: s, of the first sample; 0 otherwise
``behavior``              (behaviour samples, dims) or (behaviour samples,), NaN where unknown
``behavior_times``        (behaviour samples,) s on the LFP's clock, or instead
``behavior_rate``         Hz, first sample at 0
``lfp_scale``             optional: volts per count (a unit, for floats), one number or (channels,)
``lfp_offset``            optional: volts of the value 0, one number or (channels,)
``good_channels``         optional: (channels,) bool
``channel_names``         optional: (channels,) text
``behavior_names``        optional: (dims,) text
``behavior_unit``         optional: text
``spike_times``           optional: (spikes,) s, all of unit 0, then all of unit 1, ...
``spike_index``           with ``spike_times``: (units,) where each unit's spikes end, as in NWB's ``spike_times_index``
``spike_electrodes``      optional, with ``spike_times``: (units,) number or name of the electrode that each unit was found on
``trials``                optional: (trials, 2) s, start and end, for ``--segments trials``
``invalid_times``         optional: (intervals, 2) s, in which nothing holds
========================  ====================================================================================

Other keys are left out, with a line that names them. A rate or a start beside time stamps has to agree with them.

A file that is read with ``--behavior-file`` or ``--units-file`` needs the keys of that alone.
"""

import difflib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.numpy_files import Npz
from realm_edge.readers.arrays import (
    LARGEST,
    SLOWEST_LFP,
    behavior_values,
    check_intervals,
    check_rate,
    check_spikes,
    check_times,
    check_units,
    check_voltage,
)
from realm_edge.readers.clock import clock_of, regular
from realm_edge.readers.contents import Contents, Request, Signal, Units
from realm_edge.recording import BehaviorSeries, Intervals, no_intervals
from realm_edge.table import Table

_TRIALS, _INVALID = "trials", "invalid_times"
KEYS = (
    *("lfp", "lfp_rate", "lfp_times", "lfp_start", "lfp_scale", "lfp_offset", "good_channels", "channel_names"),
    *("behavior", "behavior_times", "behavior_rate", "behavior_names", "behavior_unit"),
    *("spike_times", "spike_index", "spike_electrodes", _TRIALS, _INVALID),
)  # as above
_NAMED = 8  # unknown keys
_SAME_RATE = 0.01  # relative, by which a nominal rate may differ from that of the time stamps


def read(path: Path, request: Request) -> Contents:
    """See what is in a file with the keys above. Its one behaviour series is called "behavior", its LFP "lfp".

    The LFP is read a block at a time, unless it was compressed.

    Raises:
        UserError: broken file, or intervals that are none.
    """
    try:
        file = Npz(path)
        arrays = {key: file[key] for key in file if key != "lfp"}
        unknown = [key for key in file if key not in KEYS]
        lfp = file.rows("lfp") if "lfp" in file else None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as .npz ({_line(error)}): write it with numpy.savez, without objects") from error
    return Contents(
        name=path.stem,
        lfp={"lfp": partial(_signal, lfp, arrays, request, path)},
        behaviors={"behavior": partial(_behavior, arrays, path)} if "behavior" in arrays else {},
        units=partial(_units, arrays, path),
        intervals={_TRIALS: _intervals(arrays, _TRIALS, path)} if _TRIALS in arrays else {},
        invalid=_intervals(arrays, _INVALID, path) if _INVALID in arrays else no_intervals(),
        provenance={"left_out": _left_out(unknown)} if unknown else {},
    )


def _left_out(unknown: list[str]) -> str:
    """What is said of keys that no array of a recording has."""
    close = {key: difflib.get_close_matches(key, KEYS, n=1) for key in unknown[:_NAMED]}
    named = [f"unknown key '{key:.60}'" + (f" (is '{found[0]}' meant?)" if found else "") for key, found in close.items()]
    more = [f"{len(unknown) - _NAMED} more"] if len(unknown) > _NAMED else []
    return "; ".join(named + more)


def _signal(lfp: Table | None, arrays: Mapping[str, NDArray], request: Request, path: Path) -> Signal:
    if lfp is None:
        raise UserError(f"{path}: key 'lfp' is missing: it has {', '.join(sorted(arrays)) or 'none'}")
    label = f"{path}: lfp"
    check_voltage(lfp, label)
    channels = lfp.shape[1] if len(lfp.shape) == 2 else 1
    if "lfp_times" in arrays:
        clock = clock_of(arrays["lfp_times"], len(lfp), request.max_gap_s, f"{path}: lfp_times")
        _check_same_rate(arrays, "lfp_rate", "lfp_times", clock.rate, path)
        if "lfp_start" in arrays and abs(_number(arrays, "lfp_start", path) - clock.start) * clock.rate > 1:
            given = _number(arrays, "lfp_start", path)
            raise UserError(f"{path}: lfp_start is {given:g} s, but lfp_times start at {clock.start:g} s: leave one of them out")
    elif "lfp_rate" in arrays:
        rate = check_rate(_number(arrays, "lfp_rate", path), f"{path}: lfp_rate", SLOWEST_LFP)
        clock = regular(rate, _number(arrays, "lfp_start", path, 0.0), len(lfp))
    else:
        raise UserError(f"{path}: key 'lfp_rate' is missing, and so is 'lfp_times': add one of them")
    good = arrays.get("good_channels", np.ones(channels, bool))
    if good.shape != (channels,) or good.dtype != np.bool_:
        raise UserError(f"{path}: good_channels has shape {good.shape} and type {good.dtype}, expected ({channels},) bool")
    names = tuple(str(name) for name in arrays.get("channel_names", range(channels)))
    if len(set(names)) != channels:
        raise UserError(f"{label}: channel_names has {len(set(names))} different names for {channels} channels: correct it")
    return Signal(
        series="lfp",
        data=lfp,
        clock=clock,
        gain=_a_channel(arrays, "lfp_scale", channels, 1.0, path),
        offset=_a_channel(arrays, "lfp_offset", channels, 0.0, path),
        unit="V" if "lfp_scale" in arrays else "a.u.",
        channels=names,
        good=good,
    )


def _behavior(arrays: Mapping[str, NDArray], path: Path) -> BehaviorSeries:
    values = arrays["behavior"]
    if values.ndim not in (1, 2) or values.size == 0 or values.dtype.kind not in "biuf":
        raise UserError(f"{path}: behavior has shape {values.shape} and type {values.dtype}, expected real numbers (samples, dims)")
    if values.ndim == 2 and values.shape[1] > len(values):
        raise UserError(f"{path}: behavior has shape {values.shape}: {len(values)} samples of {values.shape[1]} columns: transpose it")
    values = behavior_values(values.reshape(len(values), -1), f"{path}: behavior")
    if "behavior_times" in arrays:
        times = check_times(arrays["behavior_times"], len(values), f"{path}: behavior_times")
        if len(times) > 1:
            _check_same_rate(arrays, "behavior_rate", "behavior_times", 1 / float(np.median(np.diff(times))), path)
    elif "behavior_rate" in arrays:
        times = np.arange(len(values)) / check_rate(_number(arrays, "behavior_rate", path), f"{path}: behavior_rate")
    else:
        raise UserError(f"{path}: key 'behavior_times' is missing, and so is 'behavior_rate': add one of them")
    default = ["behavior"] if values.shape[1] == 1 else [f"behavior_{i}" for i in range(values.shape[1])]
    names = tuple(str(name) for name in np.atleast_1d(arrays.get("behavior_names", default)))
    if len(names) != values.shape[1]:
        raise UserError(f"{path}: behavior_names has {len(names)} names for {values.shape[1]} columns of behavior")
    return BehaviorSeries(values, times, names, str(arrays.get("behavior_unit", "a.u.")))


def _units(arrays: Mapping[str, NDArray], path: Path) -> Units:
    if "spike_times" not in arrays:
        alone = [key for key in ("spike_index", "spike_electrodes") if key in arrays]
        if alone:
            raise UserError(f"{path}: {alone[0]} without spike_times: add the spike_times of its units, or leave it out")
        return Units(())
    times, ends = arrays["spike_times"], arrays.get("spike_index")
    if ends is None or ends.ndim != 1 or ends.dtype.kind not in "iu" or times.ndim != 1 or times.dtype.kind not in "iuf":
        raise UserError(f"{path}: spike_times needs one dimension, and spike_index with the integer end of each unit's spikes")
    ends = ends.astype(np.int64)
    if (np.diff(ends, prepend=0) < 0).any() or len(ends) == 0 or ends[-1] != len(times):
        raise UserError(f"{path}: spike_index must not fall and must end at {len(times)}, the number of spike_times")
    check_units(len(ends), f"{path}: spike_index")
    electrodes = arrays.get("spike_electrodes")
    if electrodes is not None and electrodes.shape != ends.shape:
        raise UserError(f"{path}: spike_electrodes has shape {electrodes.shape} for {len(ends)} units: name one electrode per unit")
    found = tuple(check_spikes(unit, f"{path}: unit {i}") for i, unit in enumerate(np.split(times, ends[:-1])))
    return Units(found, electrodes=() if electrodes is None else tuple((str(each),) for each in electrodes))


def _intervals(arrays: Mapping[str, NDArray], key: str, path: Path) -> Intervals:
    found = arrays[key]
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iuf":
        raise UserError(f"{path}: {key} has shape {found.shape} and type {found.dtype}, expected rows of start and end in s")
    return check_intervals(found.astype(np.float64), f"{path}: {key}")


def _check_same_rate(arrays: Mapping[str, NDArray], key: str, stamps: str, measured: float, path: Path) -> None:
    """See that a rate, where one is given beside time stamps, is theirs."""
    if key not in arrays:
        return
    given = _number(arrays, key, path)
    if not abs(given / measured - 1) <= _SAME_RATE:
        raise UserError(f"{path}: {key} is {given:g} Hz, but {stamps} are those of {measured:g} Hz: leave one of them out")


def _a_channel(arrays: Mapping[str, NDArray], key: str, channels: int, default: float, path: Path) -> NDArray[np.float64]:
    value = np.asarray(arrays.get(key, default))
    if value.size not in (1, channels) or value.dtype.kind not in "iuf":
        raise UserError(f"{path}: {key} has shape {value.shape} and type {value.dtype}, expected one number or {channels}")
    value = value.reshape(-1).astype(np.float64)
    large = np.abs(value) > LARGEST
    if large.any():
        raise UserError(f"{path}: {key} is {value[large][0]:g}, beyond {LARGEST:g}: correct it")
    return np.broadcast_to(value, (channels,))


def _number(arrays: Mapping[str, NDArray], key: str, path: Path, default: float | None = None) -> float:
    value = arrays.get(key, default)
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise UserError(f"{path}: {key} is {array!s:.60}, expected one finite number")
    return float(array.reshape(()))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
