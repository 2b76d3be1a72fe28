"""Recordings in NWB 2: LFP from an ElectricalSeries, spike times from Units, behaviour from a time series by name."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.core import MultiContainerInterface
from pynwb.ecephys import LFP, ElectricalSeries, SpikeEventSeries

from realm_edge.errors import UserError
from realm_edge.readers.arrays import as_counts, check_rate, check_spikes, check_times
from realm_edge.readers.clock import Clock, clock_of
from realm_edge.readers.contents import BehaviorSeries, Contents, Request, without_behavior
from realm_edge.readers.masks import good_channels
from realm_edge.recording import Recording


def read(path: Path, request: Request) -> Contents:
    """Read one file.

    The LFP is the series that ``request`` names, else the first ElectricalSeries in an ``LFP`` container, else in another
    place of ``processing``, else of ``acquisition``; where there are several, the provenance says which was taken of which.
    Behaviour is searched in ``processing/behavior`` and ``acquisition``; columns of a series become several targets.
    Channels that the electrodes table calls bad are masked (:mod:`realm_edge.readers.masks`).

    Raises:
        UserError: not an NWB 2 file, no ElectricalSeries, no such behaviour or LFP series, gaps in the LFP's clock longer than
            ``request.max_gap_s``, or values that cannot be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about optional metadata; what matters here is checked below
            with NWBHDF5IO(str(path), mode="r", load_namespaces=True) as io:
                return _contents(io.read(), path, request)
    except UserError:
        raise
    # h5py, hdmf and pynwb raise whatever they stumble upon in a broken file, up to RecursionError and KeyError.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not readable as NWB 2 ({type(error).__name__}: {reason}): export or download it again") from error


def _contents(file: NWBFile, path: Path, request: Request) -> Contents:
    found = _electrical_series(file, path)
    series = _chosen(found, request.lfp_series, path)
    choices = _behavior_series(file)
    behaviors = {name: _behavior(choices[name], name, path) for name in request.pick(list(choices))}
    data, scale = _lfp(series, path)
    clock = _clock(series, len(data), request.max_gap_s, path)
    notes = {"lfp_series": series.name}
    if len(found) > 1:
        notes["lfp_choices"] = ", ".join(found)
    good, columns = good_channels(series.electrodes, data.shape[1], f"{path}: {series.name}")
    if columns:
        notes["channel_mask"] = f"{int((~good).sum())} bad by {', '.join(columns)} of the electrodes table"
    signals = Recording(
        name=path.stem,
        **without_behavior(),
        lfp=clock.fill(data),
        lfp_rate=clock.rate,
        lfp_start=clock.start,
        lfp_scale=scale,
        lfp_unit="a.u." if series.conversion == 1.0 and series.data.dtype.kind in "iu" else "V",
        lfp_gaps=clock.gaps,
        good_channels=good,
        spike_times=_spikes(file, path),
        provenance=notes,
    )
    return Contents(signals, behaviors)


def _electrical_series(file: NWBFile, path: Path) -> dict[str, ElectricalSeries]:
    """The candidates by name, in the order of preference; of two with one name the later carries its container's as well."""
    processed = [interface for module in file.processing.values() for interface in module.data_interfaces.values()]
    series = list(_flat([*processed, *file.acquisition.values()]))
    found = [each for each in series if isinstance(each, ElectricalSeries) and not isinstance(each, SpikeEventSeries)]
    if not found:
        others = sorted({each.name for each in series})
        raise UserError(
            f"{path}: no LFP: there is no ElectricalSeries in it, only {', '.join(others) or 'no series at all'}"
            f"{' and Units' if file.units is not None else ''}: add the LFP voltage under processing/ecephys/LFP or "
            "acquisition, or name a series of features with --features"
        )
    return _by_name(sorted(found, key=lambda each: not isinstance(each.parent, LFP)))  # stable: the first of equals stays first


def _chosen(found: dict[str, ElectricalSeries], wanted: str | None, path: Path) -> ElectricalSeries:
    if wanted is None:
        return next(iter(found.values()))
    if wanted not in found:
        raise UserError(f"{path}: no LFP series '{wanted}': use --lfp with one of: {', '.join(found)}")
    return found[wanted]


def _by_name(series: Sequence[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for each in series:
        named[each.name if each.name not in named else f"{each.parent.name}/{each.name}"] = each
    return named


def _lfp(series: ElectricalSeries, path: Path) -> tuple[NDArray[np.int16], float]:
    label = f"{path}: {series.name}"
    data = series.data[:]
    gains = series.channel_conversion
    if gains is not None and data.ndim == 2 and len(np.unique(gains[:])) > 1:
        return as_counts(data * np.asarray(gains[:], np.float64), float(series.conversion), label)
    gain = float(gains[0]) if gains is not None and len(gains) else 1.0
    return as_counts(data, float(series.conversion) * gain, label)


def _clock(series: TimeSeries, samples: int, max_gap_s: float, path: Path) -> Clock:
    label = f"{path}: {series.name}"
    if series.rate is None:
        return clock_of(series.timestamps, samples, max_gap_s, label)
    none = np.zeros(0, np.int64)
    return Clock(check_rate(series.rate, label), float(series.starting_time or 0.0), samples, none, none)


def _behavior_series(file: NWBFile) -> dict[str, TimeSeries]:
    """Numeric time series by name."""
    module = file.processing["behavior"].data_interfaces.values() if "behavior" in file.processing else ()
    series = _flat([*module, *file.acquisition.values()])
    return _by_name([each for each in series if not isinstance(each, ElectricalSeries) and _is_numeric(each.data)])


def _is_numeric(data: Any) -> bool:
    return data is not None and len(data.shape) in (1, 2) and data.dtype.kind in "iuf" and data.size > 0


def _flat(containers: list) -> Iterator[TimeSeries]:
    for each in containers:
        if isinstance(each, TimeSeries):
            yield each
        elif isinstance(each, MultiContainerInterface):  # Position, BehavioralTimeSeries and their like
            yield from _flat(list(each.children))


def _behavior(series: TimeSeries, name: str, path: Path) -> BehaviorSeries:
    values = np.asarray(series.data[:], np.float64) * series.conversion + (series.offset or 0.0)
    values = values.reshape(len(values), -1).astype(np.float32)
    label = f"{path}: {name}"
    if series.rate is not None:
        times = float(series.starting_time or 0.0) + np.arange(len(values)) / check_rate(series.rate, label)
    else:
        times = check_times(series.timestamps[:], len(values), label)
    axes = "xyz" if values.shape[1] <= 3 else range(values.shape[1])
    names = (name,) if values.shape[1] == 1 else tuple(f"{name}_{axis}" for axis, _ in zip(axes, values.T, strict=False))
    return BehaviorSeries(values, times, names, str(series.unit or "a.u."))


def _spikes(file: NWBFile, path: Path) -> tuple[NDArray[np.float64], ...]:
    if file.units is None or "spike_times" not in file.units.colnames:
        return ()
    times = [file.units.get_unit_spike_times(unit) for unit in range(len(file.units))]
    return tuple(check_spikes(unit, f"{path}: unit {i}") for i, unit in enumerate(times))
