"""Recordings in the formats of acquisition systems, by Neo (``neo.rawio``): :mod:`realm_edge.readers.neo_files` says which.

Times are those of the acquisition's clock, as Neo gives them, for signals, spikes and events alike. What Neo leaves out of the
formats' clocks is read in :mod:`realm_edge.readers.neo_clock`.
"""

import contextlib
import importlib
import mmap
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers import neo_open_ephys
from realm_edge.readers.arrays import behavior_values, check_spikes
from realm_edge.readers.contents import BehaviorSeries, Contents, Request, Signal, Units
from realm_edge.readers.links import check_oebin
from realm_edge.readers.neo_clock import Runs, runs_of
from realm_edge.readers.neo_events import Tables, event_series, events_of, switched_on
from realm_edge.readers.neo_files import Source, source_of
from realm_edge.readers.neo_flaws import Flaws
from realm_edge.readers.neo_opening import opened
from realm_edge.table import Rows

_VOLTS = {"v": 1.0, "volt": 1.0, "volts": 1.0, "mv": 1e-3, "uv": 1e-6, "µv": 1e-6, "μv": 1e-6, "nv": 1e-9}
_UNITS = {"PlexonRawIO": "mV"}  # of gains, where Neo does not say
_AUXILIARY = re.compile(r"adc|aux|sync|digital|supply|temperature|stim|nidq|analog|ainp|^ai|^dc |accel|button|timestamp", re.I)
_LFP = re.compile(r"lfp|(^|[^a-z])(lf|fp)([^a-z]|$)|^fpl", re.I)
_LFP_HZ = (250.0, 5000.0)
_UNSORTED = re.compile(r"#0$|^tetrode \d+$")  # Blackrock, Plexon, TDT and Neuralynx number units from 1; Axona's are not sorted
_NOISE = re.compile(r"#255$")
_ELECTRODE = re.compile(r"^(?:ch)?(.+)#\d+$")  # channel and number of a unit, as all of Neo's readers but Axona's name it


@dataclass(frozen=True)
class _Stream:
    """Channels of a signal stream of Neo's."""

    name: str
    index: int  # in Neo's header
    columns: NDArray[np.int64]  # (channels,) of the stream
    channels: NDArray  # (channels,) of Neo's header
    auxiliary: bool


def handles(path: Path) -> bool:
    """Whether Neo has a reader for this file or directory."""
    return source_of(path) is not None


def files_of(path: Path) -> list[Path]:
    """All files that belong to a recording, sorted; ``path`` is a directory, a file, or one file of a set."""
    source = source_of(path)
    return [] if source is None else list(source.files)


def read(path: Path, request: Request) -> Contents:
    """Open a recording.

    ``lfp`` has every signal stream: first those that look like LFP by their name or rate, then the other neural ones, last auxiliary
    ones (ADC, analog inputs, sync); a stream whose file was named comes before all. Analog inputs among the channels of a stream are
    taken out of it, as a stream of their own. ``behaviors`` has the auxiliary streams, and event channels whose labels are numbers.
    ``intervals`` has, of every event channel, its epochs, or where it has none the intervals between successive events; where one
    label comes up more than once among others, the intervals between successive events of that label as ``CHANNEL/LABEL``; and of
    every digital input the intervals in which it is on.

    A recording with several of Neo's blocks (Open Ephys' experiments) has a clock for each: ``request.session`` picks one.

    Raises:
        UserError: Neo is not installed, cannot read the recording, or it holds several sessions and none was chosen.
    """
    source = source_of(path)
    if source is None:
        raise UserError(f"{path}: Neo has no reader for it: name a file or directory of a format that docs/recordings.md lists")
    for file in source.files:
        if file.suffix.lower() == ".oebin":
            check_oebin(file)
    with _understood(str(path)):
        reader, spiking, flaws = opened(importlib.import_module("neo.rawio"), source, path)
    block = _block(reader, request.session, path)
    with _understood(str(path)):
        if source.format.reader == "OpenEphysBinaryRawIO":
            flaws += neo_open_ephys.mended(reader, block, source.path)
        streams = _streams(reader, path)
        events = events_of(spiking, block)

    def table(stream: _Stream) -> Rows:
        return _table(reader, block, stream, path)

    def runs(stream: _Stream) -> Runs:
        label = f"{path}: {stream.name}"
        with _understood(label):
            return runs_of(reader, block, stream.index, label)

    def signal(stream: _Stream) -> Signal:
        return _signal(reader, table(stream), stream, runs(stream), request.max_gap_s, path)

    def behavior(stream: _Stream) -> BehaviorSeries:
        return _behavior(table(stream), stream, runs(stream), path)

    def line(stream: _Stream, column: int, bit: int) -> NDArray[np.float64]:
        return switched_on(table(stream), column, bit, runs(stream))

    return Contents(
        name=path.stem,
        lfp={stream.name: partial(signal, stream) for stream in streams} or {"signals": partial(_refuse_without_signals, source, path)},
        behaviors={stream.name: partial(behavior, stream) for stream in streams if stream.auxiliary} | event_series(events.marks),
        units=partial(_units, spiking, block, path),
        intervals=Tables(
            {name: partial(np.copy, times) for name, times in events.intervals.items()}
            | {name: partial(line, stream, column, bit) for name, stream, column, bit in _lines(reader, streams)}
        ),
        provenance={"format": f"{source.format.title}, by Neo {version('neo')}"}
        | _told(flaws + Flaws(left_out=tuple(f"{name}: {reason}" for name, reason in events.notes.items())))
        | _sorting(spiking),
    )


def _told(flaws: Flaws) -> dict[str, str]:
    return {name: "; ".join(told) for name, told in (("cut_short", flaws.cut_short), ("left_out", flaws.left_out)) if told}


def _refuse_without_signals(source: Source, path: Path) -> NoReturn:
    raise UserError(
        f"{path}: no signals in this recording: put {source.format.signals} beside it, or name it with --units-file or --behavior-file"
    )


@contextlib.contextmanager
def _understood(label: str) -> Iterator[None]:
    """What Neo raises, which is whatever it stumbles upon, as a UserError; and nothing that it prints on standard output."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except ImportError as error:
        remedy = "pip install realm-edge[formats]"
        if error.name == "pyedflib":
            remedy = "pip install pyedflib, which needs a C compiler for Python 3.13 and newer, or use Python 3.12"
        raise UserError(f"{label}: what reads it is not installed ({error}): {remedy}") from error
    except Exception as error:
        reason = textwrap.shorten(str(error), 200, placeholder=" ...")
        raise UserError(
            f"{label}: Neo cannot read it ({type(error).__name__}: {reason}): export or copy it again, all files of it"
        ) from error


def _block(reader: Any, session: int | None, path: Path) -> int:
    blocks = reader.block_count()
    if session is None and blocks > 1:
        raise UserError(
            f"{path}: it holds {blocks} sessions, each on a clock of its own: make a recording of each, "
            f"with 'realm-edge data convert {path.name} {path.stem}_1.realm --session 1' and so on"
        )
    number = 1 if session is None else session
    if not 1 <= number <= blocks:
        raise UserError(f"{path}: no session {number}: use --session with 1 to {blocks}")
    return number - 1


def _streams(reader: Any, path: Path) -> list[_Stream]:
    """The streams in the order of preference."""
    found: list[_Stream] = []
    channels = reader.header["signal_channels"]
    for index, header in enumerate(reader.header["signal_streams"]):
        own = channels[channels["stream_id"] == header["id"]]
        name = _name(reader, str(header["name"]), float(own["sampling_rate"][0]))
        name = name if name not in [stream.name for stream in found] else f"{name} {header['id']}"
        if not any(each.lower() in _VOLTS for each in _units_of(reader, own)) or _AUXILIARY.search(name):
            found.append(_Stream(name, index, np.arange(len(own)), own, True))
            continue
        inputs = np.array([bool(_AUXILIARY.search(channel)) for channel in own["name"]])
        for part, auxiliary in ((~inputs, False), (inputs, True)):
            if part.any():
                full = f"{name} inputs" if auxiliary and not inputs.all() else name
                found.append(_Stream(full, index, np.flatnonzero(part), own[part], auxiliary))

    of_channel = {channel: Path(file).name for channel, file in getattr(reader, "ncs_filenames", {}).items()}  # Neuralynx: a file each

    def rank(stream: _Stream) -> tuple[bool, bool, bool]:
        named = path.stem.endswith(f".{stream.name}") or stream.name == f"nsx{path.suffix[3:]}"  # as SpikeGLX and Blackrock name files
        named |= any(of_channel.get(tuple(channel)) == path.name for channel in stream.channels[["name", "id"]].tolist())
        like_lfp = bool(_LFP.search(stream.name)) or _LFP_HZ[0] <= stream.channels["sampling_rate"][0] <= _LFP_HZ[1]
        return not named, stream.auxiliary, not like_lfp

    return sorted(found, key=rank)  # stable: Neo's order among equals


def _name(reader: Any, name: str, rate: float) -> str:
    """The stream's name, where Neo 0.14 writes the wrong rate into it (Neuralynx) or a Python tuple (EDF)."""
    kind = type(reader).__name__
    if kind == "NeuralynxRawIO":
        return re.sub(r"_\d+Hz_", f"_{rate:g}Hz_", name)
    return f"{rate:g} Hz" if kind == "EDFRawIO" else name


def _units_of(reader: Any, channels: NDArray) -> list[str]:
    return [str(unit).strip("\0 ") or _UNITS.get(type(reader).__name__, "") for unit in channels["units"]]


def _labels(channels: NDArray) -> tuple[str, ...]:
    names = [str(name).strip("\0 ") for name in channels["name"]]
    return tuple(names) if len(set(names)) == len(names) else tuple(f"{name} {id}" for name, id in zip(names, channels["id"], strict=True))


def _table(reader: Any, block: int, stream: _Stream, path: Path) -> Rows:
    """The samples of a stream over all segments ``(samples, channels)``."""
    label = f"{path}: {stream.name}"
    with _understood(label):
        sizes = [int(reader.get_signal_size(block, segment, stream.index)) for segment in range(reader.segment_count(block))]
    ends = np.cumsum(sizes).tolist()
    dtype = np.dtype(str(stream.channels["dtype"][0]))
    every = slice(None) if type(reader).__name__ == "AxonaRawIO" else None  # with None, Neo takes an Axona system's first channels
    mapped = _mapped(vars(reader))

    def read(first: int, stop: int) -> NDArray:
        block_of_rows = np.empty((stop - first, len(stream.columns)), dtype)
        with _understood(label):
            for segment, (size, end) in enumerate(zip(sizes, ends, strict=True)):
                start = end - size
                at, to = max(first, start), min(stop, end)
                if at < to:
                    chunk = reader.get_analogsignal_chunk(block, segment, at - start, to - start, stream.index, channel_indexes=every)
                    block_of_rows[at - first : to - first] = chunk[:, stream.columns]
        for each in mapped:
            each.madvise(mmap.MADV_DONTNEED)  # else the pages of all that was read stay in this process
        return block_of_rows

    return Rows((sum(sizes), len(stream.columns)), dtype, read)


def _mapped(value: Any) -> list[mmap.mmap]:
    """The files that a reader has mapped into memory."""
    found: dict[int, mmap.mmap] = {}

    def collect(each: Any) -> None:
        if isinstance(each, np.memmap):
            mapped = getattr(each, "_mmap", None)
            if isinstance(mapped, mmap.mmap):
                found[id(mapped)] = mapped
        elif isinstance(each, Mapping):
            for part in each.values():
                collect(part)
        elif isinstance(each, list | tuple):
            for part in each:
                collect(part)

    collect(value)
    return list(found.values()) if hasattr(mmap, "MADV_DONTNEED") else []


def _signal(reader: Any, data: Rows, stream: _Stream, runs: Runs, max_gap_s: float, path: Path) -> Signal:
    scales = [_VOLTS.get(unit.lower()) for unit in _units_of(reader, stream.channels)]
    volts = all(scale is not None for scale in scales)
    scale = np.array([scale if volts else 1.0 for scale in scales], np.float64)
    channels = stream.channels
    return Signal(
        series=stream.name,
        data=data,
        clock=runs.clock(max_gap_s, f"{path}: {stream.name}"),
        gain=channels["gain"].astype(np.float64) * scale,
        offset=channels["offset"].astype(np.float64) * scale,
        unit="V" if volts else "a.u.",
        channels=_labels(channels),
        good=np.ones(len(channels), bool),
    )


def _behavior(data: Rows, stream: _Stream, runs: Runs, path: Path) -> BehaviorSeries:
    channels = stream.channels
    units = {str(unit).strip("\0 ") for unit in channels["units"]}
    values = data[:] * channels["gain"].astype(np.float32)
    values += channels["offset"].astype(np.float32)
    return BehaviorSeries(
        behavior_values(values, f"{path}: {stream.name}"),
        runs.times(np.arange(len(values))),
        _labels(channels),
        units.pop() if len(units) == 1 and units != {""} else "a.u.",
    )


def _lines(reader: Any, streams: list[_Stream]) -> Iterator[tuple[str, _Stream, int, int]]:
    """Digital inputs: name, stream, column, bit."""
    for stream in streams:
        if "digital" in stream.name.lower():  # Intan: a column an input
            yield from ((name, stream, column, 0) for column, name in enumerate(_labels(stream.channels)))
        elif stream.name == "nidq" and type(reader).__name__ == "SpikeGLXRawIO":  # words of 16 inputs behind the analog channels
            info = reader.signals_info_dict[0, "nidq"]
            for name in info["digital_channels"]:
                word, bit = divmod(int(name[2:]), 16)
                yield name, stream, len(info["analog_channels"]) + word, bit


def _units(reader: Any, block: int, path: Path) -> Units:
    trains = []
    # Neo would lose spikes at the edges of Blackrock's segments, by rounding.
    limits = {"t_start": 0.0, "t_stop": 9e9} if type(reader).__name__ == "BlackrockRawIO" else {}
    for number, channel in enumerate(reader.header["spike_channels"]):
        label = f"{path}: unit {channel['name']}"
        with _understood(label):
            stamps = [reader.get_spike_timestamps(block, segment, number, **limits) for segment in range(reader.segment_count(block))]
            times = np.concatenate([reader.rescale_spike_timestamp(each, "float64") for each in stamps])
        trains.append(check_spikes(times, label))
    names = [_ELECTRODE.match(str(channel["name"])) for channel in reader.header["spike_channels"]]
    return Units(tuple(trains), electrodes=tuple((name[1],) for name in names if name) if all(names) else ())


def _sorting(reader: Any) -> dict[str, str]:
    channels = reader.header["spike_channels"]
    if not len(channels):
        return {}
    unsorted, noise = (
        sum(bool(pattern.search(str(each["name"])) or pattern.search(str(each["id"]))) for each in channels)
        for pattern in (_UNSORTED, _NOISE)
    )
    return {"units": f"{len(channels)}, of which {unsorted} unsorted and {noise} noise"}
