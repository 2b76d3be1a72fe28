"""When the samples were taken that Neo gives: where its readers leave out what the files say about time, it is read here.

Neo 0.14 gives one start for each of its segments and a nominal rate. Of these formats the files say more: Neuralynx, Open Ephys
and Blackrock's PTP stamp samples, so that the true rate is known; Intan and Open Ephys number them, and Plexon stamps fragments, so
that pauses are known within what Neo takes for one segment.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.arrays import check_rate
from realm_edge.readers.clock import Clock
from realm_edge.table import blocks

_MAX_OVERLAP_S = 1e-3  # by which a run may start before the end of the one before: rounding and drift; half a sample where that is more

Stamps = list[tuple[int, float]]  # recorded sample, time in s


@dataclass(frozen=True)
class Runs:
    """Runs of samples that follow one another without a gap."""

    rate: float  # Hz
    firsts: NDArray[np.int64]  # (runs,), the first recorded sample of each
    starts: NDArray[np.float64]  # (runs,), its time in s
    samples: int  # recorded

    def times(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Times of recorded samples, s."""
        run = np.searchsorted(self.firsts, index, "right") - 1
        return self.starts[run] + (index - self.firsts[run]) / self.rate

    def clock(self, max_gap_s: float, label: str) -> Clock:
        """The clock of these runs: gaps up to ``max_gap_s`` are filled, longer ones are pauses.

        Raises:
            UserError: a run starts before the end of the one before.
        """
        starts: list[tuple[int, float]] = []
        after, missing = [], []
        at = 0  # samples so far, with those that fill gaps
        ends = [*self.firsts[1:].tolist(), self.samples]
        for first, end, time in zip(self.firsts.tolist(), ends, self.starts.tolist(), strict=True):
            late = time - (starts[-1][1] + (at - starts[-1][0]) / self.rate) if starts else np.inf
            if late < -max(_MAX_OVERLAP_S, 0.5 / self.rate):
                raise UserError(
                    f"{label}: sample {first} at {time:.6f} s was taken {-1e3 * late:.3f} ms before the end of what comes before it: "
                    "its clock was reset: split the recording there with the vendor's software"
                )
            fill = max(0, round(late * self.rate)) if late <= max_gap_s else 0
            if fill:
                after.append(first - 1)
                missing.append(fill)
                at += fill
            elif late > max(max_gap_s, 0.5 / self.rate):
                starts.append((at, time))
            at += end - first
        return Clock(self.rate, at, tuple(starts), np.array(after, np.int64), np.array(missing, np.int64))


def runs_of(reader: Any, block: int, stream: int, label: str) -> Runs:
    """The runs of a signal stream over all segments of a block of Neo's.

    Args:
        reader: of ``neo.rawio``, its header parsed.
        block: of Neo's.
        stream: number of the signal stream.
        label: file and series, for messages.

    Raises:
        UserError: it has no samples, or its rate or a time is no number.
    """
    rate = check_rate(reader.get_signal_sampling_rate(stream), label)
    stamped = _STAMPED.get(type(reader).__name__, _neo)
    firsts, starts, before = [], [], 0
    rates = [(0.0, rate)]  # seconds from which each was measured, and rate
    for segment in range(reader.segment_count(block)):
        size = int(reader.get_signal_size(block, segment, stream))
        if not size:
            continue
        stamps, last = stamped(reader, block, segment, stream, size, rate)
        firsts += [before + first for first, _ in stamps]
        starts += [time for _, time in stamps]
        if last is not None and last[0] > stamps[-1][0]:
            rates.append((last[1] - stamps[-1][1], _measured(rate, last[0] - stamps[-1][0], last[1] - stamps[-1][1])))
        before += size
    if not before:
        raise UserError(f"{label}: it has no samples: leave it out")
    if not np.isfinite(starts).all():
        raise UserError(f"{label}: a part of it starts at {starts[int(np.argmin(np.isfinite(starts)))]} s: export it again")
    return Runs(max(rates)[1], np.array(firsts, np.int64), np.array(starts, np.float64), before)


def _measured(nominal: float, samples: int, seconds: float) -> float:
    """The rate that time stamps give, where the nominal one would be half a sample off within them."""
    rate = samples / seconds if seconds > 0 else nominal
    return nominal if abs(rate / nominal - 1) * samples < 0.5 else rate


def _neo(reader: Any, block: int, segment: int, stream: int, size: int, rate: float) -> tuple[Stamps, tuple[int, float] | None]:
    """What Neo says: the segment's start. The others here also give the stamp of the last sample that has one."""
    return [(0, float(reader.get_signal_t_start(block, segment, stream)))], None


def _blackrock(reader: Any, block: int, segment: int, stream: int, size: int, rate: float) -> tuple[Stamps, tuple[int, float] | None]:
    stamps, _ = _neo(reader, block, segment, stream, size, rate)
    last = reader._get_blackrock_timestamps(block, segment, size - 1, size, stream)
    return stamps, (size - 1, float(last[0]))


def _neuralynx(reader: Any, block: int, segment: int, stream: int, size: int, rate: float) -> tuple[Stamps, tuple[int, float] | None]:
    stamps, _ = _neo(reader, block, segment, stream, size, rate)
    records = reader._get_neuralynx_timestamps(block, segment, stream)  # microseconds, one a record of 512 samples
    return stamps, (512 * (len(records) - 1), stamps[0][1] + float(records[-1] - records[0]) / 1e6)


def _intan(reader: Any, block: int, segment: int, stream: int, size: int, rate: float) -> tuple[Stamps, tuple[int, float] | None]:
    numbers = reader._raw_data["timestamp"]
    numbers = numbers[0] if isinstance(numbers, list) else numbers
    fastest = float(reader._global_info["sampling_rate"])
    runs = _numbered(numbers)
    return [(round(first * rate / fastest), (number - runs[0][1]) / fastest) for first, number in runs], None


def _open_ephys(reader: Any, block: int, segment: int, stream: int, size: int, rate: float) -> tuple[Stamps, tuple[int, float] | None]:
    buffer = reader.header["signal_streams"][stream]["buffer_id"]
    folder = Path(reader.get_analogsignal_buffer_description(block, segment, buffer)["file_path"]).parent
    if not (folder / "sample_numbers.npy").is_file():  # before version 0.6 the numbers are in timestamps.npy
        return [(first, number / rate) for first, number in _numbered(np.load(folder / "timestamps.npy", mmap_mode="r")[:size])], None
    runs = _numbered(np.load(folder / "sample_numbers.npy", mmap_mode="r")[:size])
    times = np.load(folder / "timestamps.npy", mmap_mode="r") if (folder / "timestamps.npy").is_file() else None
    if times is None or len(times) < size or times[0] < 0:  # -1: not synchronised
        return [(first, number / rate) for first, number in runs], None
    return [(first, float(times[first])) for first, _ in runs], (size - 1, float(times[size - 1]))


def _plexon(reader: Any, block: int, segment: int, stream: int, size: int, rate: float) -> tuple[Stamps, tuple[int, float] | None]:
    channels = reader.header["signal_channels"]
    of_stream = channels[channels["stream_id"] == reader.header["signal_streams"][stream]["id"]]
    fragments = reader._data_blocks[5][int(of_stream[0]["id"])]
    fragments = fragments[fragments["size"] > 0]
    times = fragments["timestamp"] / reader._global_ssampling_rate
    late = times - fragments["cumsum"] / rate
    starts = [0, *(1 + np.flatnonzero(np.abs(np.diff(late)) > 0.5 / rate)).tolist()]
    return [(int(fragments["cumsum"][at]), float(times[at])) for at in starts], None


_STAMPED: dict[str, Callable[..., tuple[Stamps, tuple[int, float] | None]]] = {
    "BlackrockRawIO": _blackrock,
    "NeuralynxRawIO": _neuralynx,
    "IntanRawIO": _intan,
    "OpenEphysBinaryRawIO": _open_ephys,
    "PlexonRawIO": _plexon,
}


def _numbered(numbers: NDArray) -> list[tuple[int, int]]:
    """Index and number of the first sample of each run of consecutive numbers."""
    if not numbers.size:
        return []
    first, last = int(numbers[:1].flat[0]), int(numbers[-1:].flat[-1])
    if last - first == numbers.size - 1:  # numbers increase, so none is missing
        return [(0, first)]
    return list(_breaks(blocks(numbers)))


def _breaks(parts: Iterable[NDArray]) -> Iterable[tuple[int, int]]:
    at, last = 0, None
    for part in parts:
        numbers = part.reshape(-1).astype(np.int64)
        for index in np.flatnonzero(np.diff(numbers, prepend=numbers[0] if last is None else last) != 1):
            yield at + int(index), int(numbers[index])
        at, last = at + len(numbers), int(numbers[-1])
