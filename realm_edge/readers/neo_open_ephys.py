"""What Neo leaves aside of Open Ephys' binary format: time stamps of samples, streams and events without them, files of other lengths."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.clock import clock_of, fitted
from realm_edge.readers.neo_flaws import Flaws
from realm_edge.readers.neo_parts import Part, refuse_other
from realm_edge.readers.neo_stamps import Stamped, numbered
from realm_edge.table import blocks

_OF_EVENTS = ("timestamps", "sample_numbers", "channels", "states", "channel_states", "text")  # arrays with a value for each event
_UNKNOWN = -1.0  # s, where a stream was not synchronised


@dataclass(frozen=True)
class _Stamps:
    """What the files beside a ``continuous.dat`` say about time."""

    numbers: NDArray[np.int64] | None  # (samples,); before version 0.6, or where sample_numbers.npy is missing, there is one of the two
    times: NDArray[np.float64] | None  # (samples,) s; None: not synchronised
    first: int  # samples [first, stop) have a synchronised time stamp
    stop: int


def check(files: Iterable[Path]) -> None:
    """Look whether the arrays that Neo reads are whole, and whether an experiment's recordings have the same streams.

    Raises:
        UserError: an array is shorter than its header promises, events have arrays of other lengths, or a stream is missing.
    """
    lengths: dict[Path, dict[Path, int]] = {}
    streams: dict[Path, dict[Path, set[str]]] = {}
    for path in files:
        if path.name == "structure.oebin":
            found = {each.parent.name for each in path.parent.glob("continuous/*/continuous.dat")}
            streams.setdefault(path.parent.parent, {})[path.parent] = found
        above = {parent.name for parent in path.parents[1:3]}  # continuous/STREAM/ARRAY.npy, events/STREAM/KIND/ARRAY.npy
        if path.suffix == ".npy" and not above.isdisjoint({"continuous", "events"}):
            try:
                array = np.load(path, mmap_mode="r")
            except (ValueError, OSError, EOFError) as error:
                raise UserError(
                    f"{path}: it is damaged or cut short ({error}): copy the recording again, or move its directory elsewhere"
                ) from error
            if "events" in above and path.stem in _OF_EVENTS:
                lengths.setdefault(path.parent, {})[path] = len(array) if array.shape else 0
    for events in lengths.values():
        shortest, longest = min(events, key=events.__getitem__), max(events, key=events.__getitem__)
        if events[shortest] < events[longest]:
            raise UserError(
                f"{shortest}: {events[shortest]} events, and {events[longest]} in {longest.name}: "
                "copy it again, or move its directory elsewhere"
            )
    for recordings in streams.values():
        most = max(recordings, key=lambda each: len(recordings[each]))
        for recording, found in recordings.items():
            if recordings[most] != found:
                lacking = ", ".join(sorted(recordings[most] ^ found))
                raise UserError(
                    f"{recording}: its streams are not those of {most}: {lacking}: copy it again, or make a recording of each directory"
                )


def mended(reader: Any, block: int, path: Path) -> Flaws:
    """Use of each stream as many samples as have a number, and bring events onto the clock of their stream.

    Raises:
        UserError: recordings of one experiment differ in channels, gains or rate, or nothing says when samples were taken.
    """
    told: list[str] = []
    for segment, streams in reader._sig_streams[block].items():
        for stream, info in streams.items():
            refuse_other(_part(reader, block, 0, stream), _part(reader, block, segment, stream))
            folder = Path(info["raw_filename"]).parent
            where = folder.relative_to(path) if folder.is_relative_to(path) else folder
            buffer = reader._buffer_descriptions[block][segment][str(stream)]
            samples, channels = buffer["shape"]
            stamps = _stamps(folder, samples)
            known = stamps.stop if stamps.numbers is None else len(stamps.numbers)
            if known != samples:
                name = "time stamps" if stamps.numbers is None else "sample numbers"
                told.append(f"{where}: {samples} samples and {known} {name}: what has both is used")
                buffer["shape"] = (min(known, samples), channels)
            told += _unsynchronised(stamps, min(known, samples), float(info["sample_rate"]), str(where), folder)
            _mend_events(reader, block, segment, info["stream_name"], _stamps(folder, buffer["shape"][0]), float(info["sample_rate"]))
    return Flaws(tuple(told))


def _part(reader: Any, block: int, segment: int, stream: int) -> Part:
    info = reader._sig_streams[block][segment][stream]
    samples, _ = reader._buffer_descriptions[block][segment][str(stream)]["shape"]
    names, gains = (tuple(channel[key] for channel in info["channels"]) for key in ("channel_name", "bit_volts"))
    return Part(Path(info["raw_filename"]).parent, float(info["sample_rate"]), samples, names, gains)


def _unsynchronised(stamps: _Stamps, samples: int, rate: float, where: str, folder: Path) -> list[str]:
    if stamps.numbers is None or not (folder / "sample_numbers.npy").is_file():
        return []
    if stamps.times is None:
        return [f"{where}: no synchronised time stamps: its clock, and its events', is that of its sample numbers"]
    told = []
    if stamps.first:
        told.append(f"{where}: the first {stamps.first / rate:.3f} s have no synchronised time stamps")
    if stamps.stop < samples:
        told.append(f"{where}: the last {(samples - stamps.stop) / rate:.3f} s have no time stamps")
    return [f"{each}: placed by their sample numbers" for each in told]


def _stamps(folder: Path, samples: int) -> _Stamps:
    """Read what there is; ``numbers`` and ``times`` have at most ``samples`` values."""
    numbers, times = (
        np.load(path, mmap_mode="r") if path.is_file() else None for path in (folder / "sample_numbers.npy", folder / "timestamps.npy")
    )
    if numbers is None and times is not None and times.dtype.kind in "iu":  # before version 0.6
        numbers, times = times, None
    if numbers is None and times is None:
        raise UserError(f"{folder}: neither sample_numbers.npy nor timestamps.npy: copy the recording again")
    if times is None:
        return _Stamps(numbers, None, 0, 0)
    first, stop = _synchronised(times[: min(len(times), samples)])
    if stop - first < 2 and numbers is not None:
        return _Stamps(numbers, None, 0, 0)
    if numbers is None and (first or stop < min(len(times), samples)):
        raise UserError(f"{folder}: no sample_numbers.npy, and samples without a time stamp: copy the recording again")
    return _Stamps(numbers, times, first, stop)


def _synchronised(times: NDArray[np.float64]) -> tuple[int, int]:
    """The samples ``[first, stop)`` between those that have no synchronised time stamp; a single stamp of -1 s is one."""
    first, at, before = -1, 0, False
    for block in blocks(times):
        unknown = block == _UNKNOWN
        if first < 0 and not unknown.all():
            first = at + int(np.argmin(unknown))
        lost = unknown & np.append(before, unknown[:-1]) & (at + np.arange(len(block)) > max(first, 1))
        if first >= 0 and lost.any():
            return first if first > 1 else 0, at + int(np.argmax(lost)) - 1
        at, before = at + len(block), bool(unknown[-1])
    return (first if first > 1 else 0, len(times)) if first >= 0 else (0, 0)


def stamped(folder: Path, samples: int, rate: float, label: str) -> Stamped:
    """Runs of samples that follow one another without a gap, by time stamps where the stream was synchronised, else by sample numbers.

    Args:
        folder: of the ``continuous.dat``.
        samples: of it that are used.
        rate: the nominal one, Hz.
        label: file and series, for messages.

    Raises:
        UserError: time stamps go back, or stray from a regular clock.
    """
    stamps = _stamps(folder, samples)
    runs = [] if stamps.numbers is None else numbered(stamps.numbers[:samples])
    if stamps.times is None:
        return Stamped([(first, number / rate) for first, number in runs])
    times = stamps.times[stamps.first : stamps.stop]
    clock = clock_of(times, len(times), 0.0, label)
    missing = {first - stamps.first for first, _ in runs if stamps.first < first < stamps.stop}  # which jitter may hide
    firsts = np.array(sorted(missing.union(first for first, _ in clock.starts)))
    none = np.zeros(0, np.int64)
    period, starts = (
        fitted(times, len(times), none, none, firsts, label) if missing else (1 / clock.rate, [time for _, time in clock.starts])
    )
    found = [(stamps.first + int(first), float(start)) for first, start in zip(firsts, starts, strict=True)]
    if stamps.numbers is not None:
        (_, start), (last, end) = found[0], found[-1]
        before = [(first, start + period * (number - int(stamps.numbers[stamps.first]))) for first, number in runs if first < stamps.first]
        after = [(first, end + period * (number - int(stamps.numbers[last]))) for first, number in runs if first >= stamps.stop]
        found = before + found + after
    return Stamped(found, (len(times), len(times) * period))


def _mend_events(reader: Any, block: int, segment: int, stream: str, stamps: _Stamps, rate: float) -> None:
    """Bring events of a stream onto its clock: by their sample numbers where they, or all of its samples, have no time stamps."""
    if not reader._use_direct_evt_timestamps or stamps.numbers is None:
        return
    for info in reader._evt_streams[block][segment].values():
        if info["stream_name"] != stream or "sample_numbers" not in info:
            continue
        numbers, times = np.asarray(info["sample_numbers"]), np.load(info["timestamps_npy"]).astype(np.float64)
        if stamps.times is None:
            wrong, placed = np.ones(len(times), bool), numbers / rate
        else:
            wrong = times == _UNKNOWN
            placed = float(stamps.times[stamps.first]) + (numbers - int(stamps.numbers[stamps.first])) / rate
        if not wrong.any():
            continue
        times = np.where(wrong, placed, times)
        if "rising" in info:
            rises = info["rising"]
            falls = _falls(np.asarray(info["states"]), rises)
            info["timestamps"], info["durations"] = times[rises], times[falls] - times[rises]
        else:
            info["timestamps"] = times


def _falls(states: NDArray[np.int64], rises: NDArray[np.int64]) -> NDArray[np.int64]:
    """The edge at which each line that rises falls again."""
    falls = np.empty_like(rises)
    for line in np.unique(states[rises]):
        own = states[rises] == line
        down = np.flatnonzero(states == -line)
        falls[own] = down[np.minimum(np.searchsorted(down, rises[own]), len(down) - 1)]
    return falls


def mend_event_times(reader: Any) -> None:
    """Bring events of Open Ephys before 0.6 into s: Neo 0.14.6 divides those of TTL lines by the rate twice."""
    for segments in reader._evt_streams.values():
        for channels in segments.values():
            for channel in channels.values():
                if "rising" not in channel:
                    channel["timestamps"] = channel["timestamps"] / channel["sample_rate"]
    reader._use_direct_evt_timestamps = True
