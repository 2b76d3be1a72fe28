"""Recordings of Makin, O'Doherty, Cardoso and Sabes (2018), Zenodo 3854034 and its records of broadband, one per session.

Two files of one name: ``<session>.nwb`` holds the broadband signal in NWB 1.0.6 (plain HDF5: ``/acquisition/timeseries/broadband``
with ``data`` (samples, channels) int16, its attribute ``conversion`` in volts, ``timestamps`` in s, ``electrode_names``;
24414.0625 Hz), ``<session>.mat`` beside it (MATLAB 7.3: HDF5, every array transposed) holds ``t`` (s), ``cursor_pos`` (mm),
``finger_pos`` (cm) and ``spikes`` [unit][channel]. Both run on one clock.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.arrays import behavior_values, check_spikes, check_times
from realm_edge.readers.clock import clock_of
from realm_edge.readers.contents import Contents, Request, Signal, Units, known
from realm_edge.readers.links import linked_files
from realm_edge.recording import BehaviorSeries

_BROADBAND = "acquisition/timeseries/broadband"
_POSITIONS = {"cursor": (2, "mm"), "finger": (3, "cm")}  # dims used (a finger's angles follow its position), unit

_Read = TypeVar("_Read")


def is_nwb_1(path: Path) -> bool:
    """Whether a file is NWB 1; False for NWB 2 (its version is an attribute) and for what is no HDF5."""
    try:
        with h5py.File(path) as file:
            return "nwb_version" not in file.attrs and (_lists(file, "nwb_version") or _lists(file, "acquisition/timeseries"))
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):  # of damaged ones, of which whoever reads them says so
        return False


def _lists(group: h5py.Group, place: str) -> bool:
    """Whether something is there, without following a link to another file."""
    first, _, rest = place.partition("/")
    if not isinstance(group.get(first, getlink=True), h5py.HardLink):
        return False
    return not rest or (isinstance(group[first], h5py.Group) and _lists(group[first], rest))


def kinematics_of(path: Path) -> Path:
    """The ``.mat`` file that belongs to a broadband file."""
    return path.with_suffix(".mat")


def read(path: Path, request: Request) -> Contents:
    """See what is in a session; its broadband is never in memory as a whole.

    Behaviour series: ``cursor_pos``, ``finger_pos`` and their velocities, ``cursor_velocity`` and ``finger_velocity``: the
    difference from the sample before over the time since, so that no velocity knows of later positions; the first is NaN.
    Every unit that ever fired counts, also unit 0 of each channel, which holds its unsorted threshold crossings.

    Raises:
        UserError: a file of the two is missing, broken or laid out otherwise.
    """
    mat = kinematics_of(path)
    for file in (path, mat):
        others = linked_files(file)
        if others:
            raise UserError(f"{file}: it links to '{others[0].name}', which files of this layout do not: download it again")
    if not _guarded(path, lambda file: _BROADBAND in file):
        raise UserError(
            f"{path}: NWB version 1, of another layout than Makin and O'Doherty's ({_BROADBAND} is missing): convert it to NWB 2 or to .npz"
        )
    if not mat.is_file():
        raise UserError(f"{path}: {mat.name} is missing beside it: download the session's kinematics and spikes to there")
    behaviors = _guarded(mat, lambda file: _behaviors(file, mat))
    units, unsorted = _guarded(mat, lambda file: _spikes(file, mat))
    return Contents(
        name=path.stem,
        lfp={"broadband": lambda: _guarded(path, lambda file: _signal(file, path, request), keep_open=True)},
        behaviors={name: known(series) for name, series in behaviors.items()},
        units=known(units),
        provenance={
            "kinematics_file": mat.name,
            "units": f"{len(units.times)}, of which {unsorted} hold the unsorted crossings of a channel",
        },
    )


def _guarded(path: Path, read: Callable[[h5py.File], _Read], keep_open: bool = False) -> _Read:
    """``read`` of an open file, with what h5py raises on a broken one turned into a UserError."""
    try:
        file = h5py.File(path)
        found = read(file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not readable as a file of Makin and O'Doherty's layout ({reason}): download it again") from error
    if not keep_open:
        file.close()
    return found


def _signal(file: h5py.File, path: Path, request: Request) -> Signal:
    series = file[_BROADBAND]
    data = series["data"]
    if data.ndim != 2 or data.dtype != np.int16:
        raise UserError(f"{path}: broadband has shape {data.shape} and type {data.dtype}, expected (samples, channels) int16")
    if "conversion" not in data.attrs:
        raise UserError(f"{path}: broadband has no attribute 'conversion' (volts per count): download it again")
    names = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in series["electrode_names"][:])
    channels = data.shape[1]
    if channels != len(names):
        raise UserError(f"{path}: broadband has {channels} channels and {len(names)} electrode_names: download it again")
    return Signal(
        series="broadband",
        data=data,
        clock=clock_of(series["timestamps"], len(data), request.max_gap_s, f"{path}: broadband"),
        gain=np.full(channels, float(data.attrs["conversion"])),
        offset=np.zeros(channels),
        unit="V",
        channels=names if len(set(names)) == channels else tuple(str(channel) for channel in range(channels)),
        good=np.ones(channels, bool),
    )


def _behaviors(file: h5py.File, mat: Path) -> dict[str, BehaviorSeries]:
    times = np.asarray(file["t"]).reshape(-1)
    times = check_times(times, len(times), f"{mat}: t")
    there = [name for name in _POSITIONS if f"{name}_pos" in file]
    return {f"{name}_{kind}": _behavior(file, f"{name}_{kind}", times, mat) for name in there for kind in ("pos", "velocity")}


def _behavior(file: h5py.File, series: str, times: NDArray[np.float64], mat: Path) -> BehaviorSeries:
    name, _, kind = series.partition("_")
    dims, unit = _POSITIONS[name]
    position = np.asarray(file[f"{name}_pos"], np.float64).T
    if position.ndim != 2 or len(position) != len(times) or position.shape[1] < dims:
        raise UserError(f"{mat}: {name}_pos has shape {position.T.shape}, expected ({dims} or more, {len(times)}): download it again")
    values = position[:, :dims]
    if kind == "velocity":
        first = np.full((1, dims), np.nan)
        values, unit = np.concatenate([first, np.diff(values, axis=0) / np.diff(times)[:, None]]), f"{unit}/s"
    kept = behavior_values(values, f"{mat}: {name}_pos")
    return BehaviorSeries(kept, times, tuple(f"{series}_{axis}" for axis in "xyz"[:dims]), unit)


def _spikes(file: h5py.File, mat: Path) -> tuple[Units, int]:
    """The units that fired, channel by channel, and how many of them are unsorted."""
    cells = file["spikes"]
    if cells.dtype != h5py.ref_dtype or cells.ndim != 2:
        raise UserError(f"{mat}: spikes has shape {cells.shape} and type {cells.dtype}, expected references [unit][channel]")
    trains, electrodes, unsorted = [], [], 0
    for channel in range(cells.shape[1]):
        for unit in range(cells.shape[0]):
            times = file[cells[unit, channel]]
            if times.attrs.get("MATLAB_empty", 0) or not times.size:
                continue
            trains.append(check_spikes(np.asarray(times).reshape(-1), f"{mat}: channel {channel}, unit {unit}"))
            electrodes.append((str(channel),))
            unsorted += unit == 0
    return Units(tuple(trains), electrodes=tuple(electrodes)), unsorted
