"""Events and epochs that Neo gives, and digital inputs, as intervals and as behaviour."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.behavior import CODE
from realm_edge.readers.contents import BehaviorSeries
from realm_edge.readers.neo_clock import Runs
from realm_edge.table import Rows, blocks


class Tables(Mapping[str, NDArray[np.float64]]):
    """Tables of intervals ``(intervals, 2)`` s that are made when they are asked for."""

    def __init__(self, known: Mapping[str, Callable[[], NDArray[np.float64]]]) -> None:
        self._known = known

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self._known[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


@dataclass(frozen=True)
class Events:
    """What event channels hold."""

    intervals: dict[str, NDArray[np.float64]] = field(default_factory=dict)  # (intervals, 2) s
    marks: dict[str, tuple[NDArray[np.float64], NDArray]] = field(default_factory=dict)  # times in s and labels of events, in order
    notes: dict[str, str] = field(default_factory=dict)  # what could not be read


def events_of(reader: Any, block: int) -> Events:
    """Read all event channels of a block of Neo's, over all segments.

    An epoch is an interval. Events become the intervals between each and the next; a label that comes up more than once among others
    gives another table, of the intervals between its own events.
    """
    found = Events()
    if type(reader).__name__ == "SpikeGLXRawIO":  # Neo would unpack a whole recording for them: they are read as digital inputs
        return found
    for number, channel in enumerate(reader.header["event_channels"]):
        name = str(channel["name"])
        name = name if name not in found.intervals else f"{name} {channel['id']}"
        try:
            times, lengths, labels = _channel(reader, block, number)
        except Exception as error:  # one broken channel stands in nobody's way
            found.notes[f"events {name}"] = f"not readable ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
            continue
        if not len(times):
            continue
        if lengths is not None:
            found.intervals[name] = np.stack([times, times + lengths], axis=1)
            continue
        found.marks[name] = times, labels
        found.intervals[name] = _between(times)
        kinds, counts = np.unique(labels, return_counts=True)
        for label in kinds[counts > 1] if len(kinds) > 1 else ():
            found.intervals[f"{name}/{label}"] = _between(times[labels == label])
    return found


def _channel(reader: Any, block: int, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray]:
    """Times in s, lengths in s (None: events), and labels, in order of time."""
    # Neo would lose events at the edges of Blackrock's segments, by rounding.
    limits = {"t_start": 0.0, "t_stop": 9e9} if type(reader).__name__ == "BlackrockRawIO" else {}
    times, lengths, labels = [], [], []
    for segment in range(reader.segment_count(block)):
        stamps, durations, texts = reader.get_event_timestamps(block, segment, number, **limits)
        times.append(np.asarray(reader.rescale_event_timestamp(np.asarray(stamps), "float64", number), np.float64))
        labels.append(np.asarray(texts).astype(str))
        if durations is not None:
            lengths.append(np.asarray(reader.rescale_epoch_duration(np.asarray(durations), "float64", number), np.float64))
    order = np.argsort(np.concatenate(times), kind="stable")
    return (
        np.concatenate(times)[order],
        np.concatenate(lengths)[order] if lengths else None,
        np.concatenate(labels)[order],
    )


def _between(times: NDArray[np.float64]) -> NDArray[np.float64]:
    pairs = np.stack([times[:-1], times[1:]], axis=1)
    return pairs[pairs[:, 1] > pairs[:, 0]]


def event_series(marks: Mapping[str, tuple[NDArray[np.float64], NDArray]]) -> dict[str, Callable[[], BehaviorSeries]]:
    """Event channels whose labels are numbers, as series of these numbers; of several events at one time the last counts."""
    found: dict[str, Callable[[], BehaviorSeries]] = {}
    for name, (times, labels) in marks.items():
        try:
            values = labels.astype(np.float32)
        except ValueError:
            continue
        last = np.append(np.diff(times) > 0, True)
        found[name] = partial(BehaviorSeries, values[last, None], times[last], (name,), CODE)
    return found


def switched_on(data: Rows, column: int, bit: int, runs: Runs) -> NDArray[np.float64]:
    """Intervals in s in which a bit of a column of ``data`` is set; the first may start, and the last end, with the recording."""
    rises, falls = [], []
    at, state = 0, False
    for block in blocks(data):
        on = (block[:, column].astype(np.int64) >> bit & 1).astype(bool)
        change = np.flatnonzero(np.diff(on, prepend=state))
        rises.append(at + change[on[change]])
        falls.append(at + change[~on[change]])
        at, state = at + len(on), bool(on[-1])
    starts = runs.times(np.concatenate(rises))
    ends = runs.times(np.concatenate(falls))
    if state:
        ends = np.append(ends, runs.times(np.array([at - 1])) + 1 / runs.rate)
    return np.stack([starts, ends], axis=1)
