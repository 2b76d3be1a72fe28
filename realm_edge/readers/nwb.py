"""Recordings in NWB 2, as HDF5 or as Zarr: LFP from ElectricalSeries, spike times from Units, behaviour from any other series."""

import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from realm_edge.environment import without_cache
from realm_edge.errors import UserError
from realm_edge.readers import hdf5_holes, links, remote
from realm_edge.readers.arrays import SLOWEST_LFP, behavior_values, check_rate, check_spikes, check_times, check_voltage, kind_of
from realm_edge.readers.clock import Clock, clock_of, regular
from realm_edge.readers.contents import Contents, Request, Signal, Units
from realm_edge.readers.masks import good_channels
from realm_edge.readers.names import ZARR, name_of
from realm_edge.recording import BehaviorSeries, Intervals, no_intervals

with without_cache():
    from hdmf.build import GroupBuilder
    from hdmf.build.errors import ConstructError
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.behavior import CompassDirection
    from pynwb.ecephys import LFP, ElectricalSeries, SpikeEventSeries
    from pynwb.epoch import TimeIntervals
    from pynwb.misc import Units as UnitsTable

_LABELS = ("label", "channel_name", "electrode_name")  # columns of the electrodes table that name a channel
_INVALID = "invalid_times"
_PLACES = ("processing", "acquisition", "stimulus", "analysis", "scratch")  # of a file where series of data lie
_LINKED = ("data", "timestamps", "electrodes")  # of a series
_MANY_COLUMNS = 64  # of a behaviour; more, and more than there are samples: it was written transposed


def read(path: Path, request: Request) -> Contents:
    """See what is in one file.

    LFP is every ElectricalSeries: those in an ``LFP`` container first, then others of ``processing``, then of ``acquisition``. Behaviour
    is every other numeric series anywhere in the file. Things of one name carry where they are as well (``probe1/LFP/ElectricalSeries``).
    Channels that the electrodes table calls bad are masked (:mod:`realm_edge.readers.masks`). What cannot be read, or belongs to an
    extension that the file does not describe, is left out, with a reason, and stands in nobody's way.

    Raises:
        UserError: not an NWB 2 file, or one that cannot be opened.
    """
    file, broken = _opened(path)
    for units in _all(file, UnitsTable):
        _guarded(path, units.name, _check_indices, units)
    series = [each for each in file.objects.values() if isinstance(each, TimeSeries) and _place(each)[0] in _PLACES]
    electrical = [each for each in series if isinstance(each, ElectricalSeries) and not isinstance(each, SpikeEventSeries)]
    preferred = sorted(electrical, key=lambda each: (not isinstance(each.parent, LFP), _PLACES.index(_place(each)[0]), _place(each)))
    others = sorted((each for each in series if not isinstance(each, ElectricalSeries | SpikeEventSeries)), key=_place)
    tables = {name: _intervals(table) for name, table in _by_name(_all(file, TimeIntervals)).items()}
    lfp = {name: partial(_guarded, path, name, _signal, each, name, request) for name, each in _by_name(preferred).items()}
    behaviors = {name: partial(_guarded, path, name, _behavior, each) for name, each in _by_name(others).items()}
    for name, (kind, reason) in broken.items():
        (lfp if name in lfp or kind == ElectricalSeries.__name__ else behaviors)[name] = partial(_refuse, path, name, reason)
    whole = {name: table[_is_interval(table)] for name, table in tables.items()}
    sizes = {name: (len(table) - len(whole[name]), len(table)) for name, table in tables.items()}
    wrong = [f"{name}: {less} of {rows}" for name, (less, rows) in sizes.items() if less]
    notes = {
        "left_out": "; ".join(f"{name}: {reason}" for name, (_, reason) in broken.items()),
        "intervals_left_out": f"{', '.join(wrong)} interval(s) without an end after a start" if wrong else "",
    }
    return Contents(
        name=name_of(path),
        lfp=lfp,
        behaviors=behaviors,
        units=partial(_guarded, path, "Units", _units, _all(file, UnitsTable)),
        intervals={name: table for name, table in whole.items() if name != _INVALID and len(table)},
        invalid=whole.get(_INVALID, no_intervals()),
        provenance={name: note for name, note in notes.items() if note},
    )


def _opened(path: Path) -> tuple[NWBFile, dict[str, tuple[str, str]]]:
    """The file, and what had to be left out of it: by name, its type and the reason. The file stays open as long as it is used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about optional metadata; what matters here is checked by whoever reads it
            io = _io(path)
            root = io.read_builder()
            broken = _without_unknown_types(root, set(io.manager.type_map.namespace_catalog.namespaces))
            broken |= _without_links_of_one_name(root)
            if isinstance(io, NWBHDF5IO):
                broken |= _dangling(io._file)
            while True:
                try:
                    return io.read(), broken
                except ConstructError as error:
                    place, reason = error.args
                    if place.parent is None or not _take_out(place):
                        raise
                    broken[place.name] = (_type(place), _line(reason).partition("due to: ")[2] or _line(reason))
    except UserError:
        raise
    # h5py, hdmf and pynwb raise whatever they stumble upon in a broken file, up to RecursionError and KeyError.
    except Exception as error:
        raise UserError(
            f"{remote.shown(path)}: not readable as NWB 2 ({type(error).__name__}: {_line(error)}): {_remedy(error)}"
        ) from error


def _io(path: Path) -> Any:
    address = remote.address_of(path)
    if address is not None:
        file = remote.opened(address)
        links.check_alone(file, remote.shown(path))
        return NWBHDF5IO(file=file, mode="r", load_namespaces=True)
    if path.suffix == ZARR:
        return _zarr(path)
    links.linked_files(path)  # before anything of them is read
    return NWBHDF5IO(str(path), mode="r", load_namespaces=True)


def _zarr(path: Path) -> Any:
    try:
        from realm_edge.readers import nwb_zarr
    except ImportError as error:
        raise UserError(f"{path}: NWB as Zarr is read by hdmf-zarr: pip install 'realm-edge[formats]'") from error
    return nwb_zarr.opened(path)


def _remedy(error: Exception) -> str:
    text = str(error).lower()
    if re.search(r"\block", text):  # and not the "sblock" of a truncated file
        return "another program has it open for writing: close it there, or set HDF5_USE_FILE_LOCKING=FALSE"
    if "unable to open external" in text or "no such file" in text:
        return "it links to a file that is not there: put that file beside it"
    return "export or download it again"


def _type(builder: Any) -> str:
    return str(builder.attributes.get("neurodata_type", ""))


def _without_unknown_types(group: GroupBuilder, known: set[str]) -> dict[str, tuple[str, str]]:
    """Take everything out whose type belongs to an extension that the file does not describe."""
    found: dict[str, tuple[str, str]] = {}
    for child in [*group.groups.values(), *group.datasets.values()]:
        namespace = child.attributes.get("namespace")
        if namespace is not None and namespace not in known:
            _take_out(child)
            found[child.name] = (_type(child), f"of the extension '{namespace}', which the file does not describe")
        elif isinstance(child, GroupBuilder):
            found |= _without_unknown_types(child, known)
    return found


def _without_links_of_one_name(group: GroupBuilder) -> dict[str, tuple[str, str]]:
    """Take out links to series that have the name of another one beside the link: pynwb would take none of the whole group."""
    found: dict[str, tuple[str, str]] = {}
    names = {*group.groups, *group.datasets}
    for name, link in list(group.links.items()):
        if name != link.builder.name and link.builder.name in names:
            group.links.pop(name)
            if link.builder is not group.groups.get(link.builder.name):  # a second way to the same thing hides nothing
                found[name] = (_type(link.builder), f"it links to another '{link.builder.name}' than the one beside it: rename that one")
        names.add(link.builder.name)
    for child in group.groups.values():
        found |= _without_links_of_one_name(child)
    return found


def _dangling(group: h5py.Group) -> dict[str, tuple[str, str]]:
    """Links that lead nowhere, of which pynwb says nothing, by the name of the series or group that they belong to, with its type."""
    found: dict[str, tuple[str, str]] = {}
    for name in group:
        link = group.get(name, getlink=True)
        child = group.get(name)
        if child is None:
            to = (
                f"'{link.filename}', which is not there: put that file beside it"
                if isinstance(link, h5py.ExternalLink)
                else f"'{link.path}', which is not there"
            )
            of_a_series = name in _LINKED
            named = group.name.rpartition("/")[2] if of_a_series else name
            kind = str(group.attrs.get("neurodata_type", "")) if of_a_series else ""
            found[named] = (kind, f"its {name} links to {to}" if of_a_series else f"it links to {to}")
        elif isinstance(child, h5py.Group) and isinstance(link, h5py.HardLink):
            found |= _dangling(child)
    return found


def _take_out(builder: Any) -> bool:
    parent = builder.parent
    return any(kind.pop(builder.name, None) is not None for kind in (parent.groups, parent.datasets))


def _line(error: Any) -> str:
    return " ".join(str(error).split())[:160]


def _refuse(path: Path, name: str, reason: str) -> Any:
    raise UserError(f"{remote.shown(path)}: {name}: {reason}: correct the file, or choose another series")


def _guarded(path: Path, name: str, use: Callable[..., Any], *arguments: Any) -> Any:
    """``use`` of something in the file, with whatever the libraries raise on broken data as a UserError."""
    try:
        return use(*arguments, f"{remote.shown(path)}: {name}")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{remote.shown(path)}: {name}: not readable ({type(error).__name__}: {_line(error)}): {_remedy(error)}") from error


def _place(container: Any) -> tuple[str, ...]:
    """Where in the file something is: the names of all that it lies in, from the top, and its own."""
    names: list[str] = []
    while container is not None and container.parent is not None:
        names.insert(0, container.name)
        parent = container.parent
        if isinstance(parent, NWBFile):
            names.insert(0, next((place for place in _PLACES if container in _held_in(parent, place)), "elsewhere"))
        container = parent
    return tuple(names)


def _held_in(file: NWBFile, place: str) -> list[Any]:
    held = getattr(file, place, None)
    return list(held.values()) if isinstance(held, Mapping) else []


def _by_name(containers: list[Any]) -> dict[str, Any]:
    """In their order, by name; where several have one name, by where they are as well."""
    places = [_place(each) for each in containers]
    named: dict[str, Any] = {}
    for each, place in zip(containers, places, strict=True):
        alike = [other for other in places if other[-1] == place[-1]]
        inside = [other for other in alike if other[1:] == place[1:]]  # in different parts of the file
        named[place[-1] if len(alike) == 1 else "/".join(place[1:] if len(inside) == 1 and len(place) > 2 else place)] = each
    return named


def _signal(series: ElectricalSeries, name: str, request: Request, label: str) -> Signal:
    data = series.data
    _check_chunks(data, label)
    check_voltage(data, label)
    channels = data.shape[1] if len(data.shape) > 1 else 1
    rows = np.asarray(series.electrodes.data[:], np.int64)
    if ((rows < 0) | (rows >= len(series.electrodes.table))).any():
        raise UserError(
            f"{label}: its electrodes {rows.min()} to {rows.max()} are not all in the table of {len(series.electrodes.table)}: correct it"
        )
    if len(data.shape) == 2 and len(rows) == data.shape[0] != channels:
        raise UserError(
            f"{label}: shape {data.shape}: {data.shape[0]} samples of {channels} channels, but {len(rows)} electrodes: transpose it"
        )
    clock = _clock(series, len(data), request.max_gap_s, label)
    gains = np.ones(channels) if series.channel_conversion is None else np.asarray(series.channel_conversion[:], np.float64)
    if gains.shape != (channels,):
        raise UserError(f"{label}: {channels} channels have {len(gains)} values of channel_conversion: correct the file")
    known = series.conversion != 1.0 or series.channel_conversion is not None or data.dtype.kind == "f"
    good, columns = good_channels(series.electrodes, channels, label)
    cells = _cells(series.electrodes.table, rows) if len(rows) == channels else {}
    names = next((cells[column] for column in _LABELS if column in cells and len(set(cells[column])) == channels), None)
    return Signal(
        series=name,
        data=data,
        clock=clock,
        gain=float(series.conversion) * gains,
        offset=np.full(channels, float(series.offset or 0.0)),
        unit="V" if known else "a.u.",
        channels=names or tuple(str(channel) for channel in range(channels)),
        good=good,
        mask=f"{int((~good).sum())} bad by {', '.join(columns)} of the electrodes table" if columns else "",
        columns=cells,
    )


def _cells(table: Any, rows: NDArray[np.int64]) -> dict[str, tuple[str, ...]]:
    """Cells of the electrodes table as text, by column, one per channel."""
    found = {"id": tuple(str(table.id[int(row)]) for row in rows)}
    for column in table.colnames:
        try:
            values = [table[column][int(row)] for row in rows]
        except Exception:  # of Zarr's pickled columns, which are never unpickled, and of broken ones: nobody may want them
            continue
        found[column] = tuple(str(getattr(value, "name", value)) for value in values)
    return found


def _clock(series: TimeSeries, samples: int, max_gap_s: float, label: str) -> Clock:
    if series.rate is None:
        return clock_of(series.timestamps, samples, max_gap_s, label)
    start = float(series.starting_time or 0.0)
    if not np.isfinite(start):
        raise UserError(f"{label}: it starts at {start} s: correct the file")
    return regular(check_rate(series.rate, label, SLOWEST_LFP), start, samples)


def _behavior(series: TimeSeries, label: str) -> BehaviorSeries:
    data = series.data
    if data is None or not hasattr(data, "shape") or len(data.shape) not in (1, 2) or kind_of(data) not in "biuf" or 0 in data.shape:
        raise UserError(f"{label}: no table of numbers: choose another series")
    for name, value in (("conversion", series.conversion), ("offset", series.offset or 0.0)):
        if not np.isfinite(value) or (name == "conversion" and value == 0):
            raise UserError(f"{label}: its attribute {name} is {value}, which leaves nothing of the data: correct it")
    stamps = np.zeros(0) if series.timestamps is None else series.timestamps
    for values in (data, stamps):
        _check_chunks(values, label)
    if series.rate is None and len(data.shape) == 2 and len(stamps) == data.shape[1] != data.shape[0]:
        raise UserError(f"{label}: shape {data.shape} with {len(stamps)} time stamps: transpose it")
    if len(data.shape) == 2 and data.shape[1] > _MANY_COLUMNS and data.shape[1] > data.shape[0]:
        raise UserError(f"{label}: shape {data.shape}: {data.shape[0]} samples of {data.shape[1]} columns: transpose it")
    values = np.asarray(data[:], np.float64) * series.conversion + (series.offset or 0.0)
    values = behavior_values(values.reshape(len(values), -1), label)
    if series.rate is not None:
        times = float(series.starting_time or 0.0) + np.arange(len(values)) / check_rate(series.rate, label)
    else:
        times = check_times(stamps[:], len(values), label)
    axes = "xyz" if values.shape[1] <= 3 else range(values.shape[1])
    name = series.name
    names = (name,) if values.shape[1] == 1 else tuple(f"{name}_{axis}" for axis, _ in zip(axes, values.T, strict=False))
    unit = str(series.unit or "a.u.")
    return BehaviorSeries(values, times, names, "radians" if isinstance(series.parent, CompassDirection) and unit == "unknown" else unit)


def _units(tables: list[UnitsTable], label: str) -> Units:
    """Of the file's own table, or of the only other one with spike times."""
    with_times = [table for table in tables if "spike_times" in table.colnames and len(table)]
    own = [table for table in with_times if isinstance(table.parent, NWBFile)]
    if not with_times:
        return Units(())
    if not own and len(with_times) > 1:
        names = ", ".join(sorted(_by_name(with_times)))
        raise UserError(f"{label}: several tables of units ({names}): write the one to use as a table for --units-file")
    units = (own or with_times)[0]
    for name in ("spike_times", "spike_times_index", "obs_intervals", "obs_intervals_index"):
        _check_chunks(getattr(getattr(units, name, None), "data", None), label)
    times = tuple(check_spikes(units.get_unit_spike_times(unit), f"{label}: unit {unit}") for unit in range(len(units)))
    electrodes = _electrodes_of(units)
    if "obs_intervals" not in units.colnames:
        return Units(times, electrodes=electrodes)
    observed = tuple(np.asarray(units.get_unit_obs_intervals(unit), np.float64).reshape(-1, 2) for unit in range(len(units)))
    return Units(times, observed, electrodes)


def _electrodes_of(units: UnitsTable) -> tuple[tuple[str, ...], ...]:
    """Rows of the electrodes' table that each unit names; none where a unit names none."""
    column = next((name for name in ("electrodes", "electrode", "peak_channel_id", "peak_channel") if name in units.colnames), None)
    if column is None:
        return ()
    try:
        found = tuple(tuple(str(row) for row in np.atleast_1d(_rows(units, column, unit))) for unit in range(len(units)))
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):
        return ()
    return found if all(found) else ()


def _rows(units: UnitsTable, column: str, unit: int) -> NDArray[Any]:
    """One cell of a column of row numbers, which pynwb would look up in the table that they point into."""
    index, data = getattr(units, f"{column}_index", None), units[column]
    rows = getattr(data, "target", data).data  # of an indexed column, the values
    if index is None:
        return np.asarray(rows[unit])
    ends = np.asarray(index.data[:]).astype(np.int64)
    return np.asarray(rows[int(ends[unit - 1]) if unit else 0 : int(ends[unit])])


def _check_indices(units: UnitsTable, label: str) -> None:
    """Beyond the end of a column, pynwb would take what is there, without a word."""
    for name in ("spike_times", "obs_intervals"):
        index = getattr(units, f"{name}_index", None) if name in units.colnames else None
        if index is None:
            continue
        ends, rows = np.asarray(index.data[:]).astype(np.int64), len(index.target.data)
        if len(ends) and ((np.diff(ends, prepend=0) < 0).any() or ends[-1] != rows):
            raise UserError(f"{label}: {name}_index must not fall and must end at {rows}, the number of {name}: the file is damaged")


def _check_chunks(data: Any, label: str) -> None:
    """Zarr reads chunks that are not there, as after an interrupted download, as zeros; HDF5 what was never written."""
    if isinstance(data, h5py.Dataset):
        lacking = hdf5_holes.never_written(data)
        if lacking:
            raise UserError(f"{label}: {lacking} and would be read as {data.fillvalue}: write or export it again")
        return
    there = getattr(data, "nchunks_initialized", None)
    if there is not None and there < data.nchunks:
        raise UserError(f"{label}: {data.nchunks - there} of its {data.nchunks} chunks are not there: download it again")


def _all(file: NWBFile, kind: type) -> list[Any]:
    return [each for each in file.objects.values() if isinstance(each, kind)]


def _intervals(table: TimeIntervals) -> Intervals:
    try:
        return np.stack([np.asarray(table[column][:], np.float64) for column in ("start_time", "stop_time")], axis=1)
    except (KeyError, ValueError, TypeError):
        return no_intervals()


def _is_interval(table: Intervals) -> NDArray[np.bool_]:
    """Which rows are intervals; NaN is no end, as of a trial that was not finished."""
    return np.asarray(np.isfinite(table).all(axis=1) & (table[:, 1] > table[:, 0]))
