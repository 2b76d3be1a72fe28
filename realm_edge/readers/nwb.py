"""Recordings in NWB 2: LFP from an ElectricalSeries, spike times from Units, behaviour from a time series by name."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.core import MultiContainerInterface
from pynwb.ecephys import LFP, ElectricalSeries, SpikeEventSeries

from realm_edge.errors import UserError
from realm_edge.readers.arrays import as_counts, check_rate, check_spikes, check_times, choose_behavior
from realm_edge.recording import Recording

_MAX_JITTER = 0.5  # sample periods by which the timestamps of a regular series may stray


def read(path: Path, behavior: str | None) -> Recording:
    """Read one file.

    The LFP is the first ElectricalSeries in an ``LFP`` container, else in another place of ``processing``, else of
    ``acquisition``. Behaviour is searched in ``processing/behavior`` and ``acquisition``.

    Args:
        path: NWB 2 file.
        behavior: name of the behaviour series; None takes the only one there is. Its columns become several targets.

    Raises:
        UserError: not an NWB 2 file, no ElectricalSeries, no such behaviour, or values that cannot be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about optional metadata; what matters here is checked below
            with NWBHDF5IO(str(path), mode="r", load_namespaces=True) as io:
                return _recording(io.read(), path, behavior)
    except UserError:
        raise
    # h5py, hdmf and pynwb raise whatever they stumble upon in a broken file, up to RecursionError and KeyError.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not readable as NWB 2 ({type(error).__name__}: {reason}): export or download it again") from error


def _recording(file: NWBFile, path: Path, behavior: str | None) -> Recording:
    series = _lfp_series(file, path)
    choices = _behavior_series(file)
    name = choose_behavior(choices, behavior, str(path))
    values, times, names = _behavior(choices[name], name, path)
    lfp, scale = _lfp(series, path)
    rate, start = _clock(series, len(lfp), path)
    return Recording(
        name=path.stem,
        behavior=values,
        behavior_times=times,
        behavior_names=names,
        behavior_unit=str(choices[name].unit or "a.u."),
        lfp=lfp,
        lfp_rate=rate,
        lfp_start=start,
        lfp_scale=scale,
        lfp_unit="a.u." if series.conversion == 1.0 and series.data.dtype.kind in "iu" else "V",
        spike_times=_spikes(file, path),
        provenance={"lfp_series": series.name, "behavior_series": name},
    )


def _lfp_series(file: NWBFile, path: Path) -> ElectricalSeries:
    processed = [interface for module in file.processing.values() for interface in module.data_interfaces.values()]
    series = list(_flat([*processed, *file.acquisition.values()]))
    found = [each for each in series if isinstance(each, ElectricalSeries) and not isinstance(each, SpikeEventSeries)]
    if not found:
        others = sorted({each.name for each in series})
        raise UserError(
            f"{path}: no LFP: there is no ElectricalSeries in it, only {', '.join(others) or 'no series at all'}"
            f"{' and Units' if file.units is not None else ''}: add the LFP voltage under processing/ecephys/LFP or acquisition"
        )

    return min(found, key=lambda each: not isinstance(each.parent, LFP))  # the first of equals


def _lfp(series: ElectricalSeries, path: Path) -> tuple[NDArray[np.int16], float]:
    label = f"{path}: {series.name}"
    data = series.data[:]
    gains = series.channel_conversion
    if gains is not None and data.ndim == 2 and len(np.unique(gains[:])) > 1:
        return as_counts(data * np.asarray(gains[:], np.float64), float(series.conversion), label)
    gain = float(gains[0]) if gains is not None and len(gains) else 1.0
    return as_counts(data, float(series.conversion) * gain, label)


def _clock(series: TimeSeries, samples: int, path: Path) -> tuple[float, float]:
    """Rate in Hz and start in s of a series that must be regular."""
    label = f"{path}: {series.name}"
    if series.rate is not None:
        return check_rate(series.rate, label), float(series.starting_time or 0.0)
    times = check_times(series.timestamps[:], samples, label)
    if samples < 2:
        raise UserError(f"{label}: {samples} samples are too few")
    period = (times[-1] - times[0]) / (samples - 1)
    stray = np.abs(times - (times[0] + period * np.arange(samples))).max()
    if stray > _MAX_JITTER * period:
        steps = np.diff(times)
        at = int(np.argmax(steps)) + 1
        raise UserError(f"{label}: its clock has gaps: sample {at} comes {steps[at - 1]:.6f} s after the one before: crop the recording")
    return 1 / period, float(times[0])


def _behavior_series(file: NWBFile) -> dict[str, TimeSeries]:
    """Numeric time series by name; where two share a name, the later ones carry their container's as well."""
    module = file.processing["behavior"].data_interfaces.values() if "behavior" in file.processing else ()
    choices: dict[str, TimeSeries] = {}
    for series in _flat([*module, *file.acquisition.values()]):
        if isinstance(series, ElectricalSeries) or not _is_numeric(series.data):
            continue
        name = series.name if series.name not in choices else f"{series.parent.name}/{series.name}"
        choices[name] = series
    return choices


def _is_numeric(data: Any) -> bool:
    return data is not None and len(data.shape) in (1, 2) and data.dtype.kind in "iuf" and data.size > 0


def _flat(containers: list) -> Iterator[TimeSeries]:
    for each in containers:
        if isinstance(each, TimeSeries):
            yield each
        elif isinstance(each, MultiContainerInterface):  # Position, BehavioralTimeSeries and their like
            yield from _flat(list(each.children))


def _behavior(series: TimeSeries, name: str, path: Path) -> tuple[NDArray[np.float32], NDArray[np.float64], tuple[str, ...]]:
    values = np.asarray(series.data[:], np.float64) * series.conversion + (series.offset or 0.0)
    values = values.reshape(len(values), -1).astype(np.float32)
    label = f"{path}: {name}"
    if series.rate is not None:
        times = float(series.starting_time or 0.0) + np.arange(len(values)) / check_rate(series.rate, label)
    else:
        times = check_times(series.timestamps[:], len(values), label)
    axes = "xyz" if values.shape[1] <= 3 else range(values.shape[1])
    names = (name,) if values.shape[1] == 1 else tuple(f"{name}_{axis}" for axis, _ in zip(axes, values.T, strict=False))
    return values, times, names


def _spikes(file: NWBFile, path: Path) -> tuple[NDArray[np.float64], ...]:
    if file.units is None or "spike_times" not in file.units.colnames:
        return ()
    times = [file.units.get_unit_spike_times(unit) for unit in range(len(file.units))]
    return tuple(check_spikes(unit, f"{path}: unit {i}") for i, unit in enumerate(times))
