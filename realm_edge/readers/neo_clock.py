"""When the samples were taken that Neo gives: where its readers leave out what the files say about time, it is read here.

Neo 0.14 gives one start for each of its segments and a nominal rate. Of these formats the files say more: Open Ephys and Blackrock's
PTP stamp samples, and Neuralynx, TDT and Plexon blocks of samples, so that the true rate is known; Intan and Open Ephys number samples.
Stamps and numbers tell of pauses within what Neo takes for one segment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers import neo_open_ephys
from realm_edge.readers.arrays import check_rate
from realm_edge.readers.clock import Clock
from realm_edge.readers.neo_stamps import Stamped, numbered, of_blocks

_MAX_OVERLAP_S = 1e-3  # by which a run may start before the end of the one before: rounding and drift; half a sample where that is more


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
        known = stamped(reader, block, segment, stream, size, rate, label)
        firsts += [before + first for first, _ in known.starts if first < size]
        starts += [time for first, time in known.starts if first < size]
        if known.measured is not None and known.measured[0] > 0:
            rates.append((known.measured[1], _measured(rate, *known.measured)))
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


def _neo(reader: Any, block: int, segment: int, stream: int, size: int, rate: float, label: str) -> Stamped:
    """What Neo says: the segment's start."""
    return Stamped([(0, float(reader.get_signal_t_start(block, segment, stream)))])


def _blackrock(reader: Any, block: int, segment: int, stream: int, size: int, rate: float, label: str) -> Stamped:
    start = float(reader.get_signal_t_start(block, segment, stream))
    last = reader._get_blackrock_timestamps(block, segment, size - 1, size, stream)
    return Stamped([(0, start)], (size - 1, float(last[0]) - start))


def _neuralynx(reader: Any, block: int, segment: int, stream: int, size: int, rate: float, label: str) -> Stamped:
    stamps = reader._get_neuralynx_timestamps(block, segment, stream)  # microseconds, one a record
    valid = reader.valid(segment, stream)  # samples of each record
    firsts = np.cumsum(valid) - valid
    full = valid > 0
    times = reader.get_signal_t_start(block, segment, stream) + (stamps - stamps[0]).astype(np.int64) / 1e6
    return of_blocks(firsts[full], times[full], rate)


def _intan(reader: Any, block: int, segment: int, stream: int, size: int, rate: float, label: str) -> Stamped:
    numbers = reader._raw_data["timestamp"]
    numbers = numbers[0] if isinstance(numbers, list) else numbers
    fastest = float(reader._global_info["sampling_rate"])
    return Stamped([(round(first * rate / fastest), number / fastest) for first, number in numbered(numbers)])


def _open_ephys(reader: Any, block: int, segment: int, stream: int, size: int, rate: float, label: str) -> Stamped:
    buffer = reader.header["signal_streams"][stream]["buffer_id"]
    folder = Path(reader.get_analogsignal_buffer_description(block, segment, buffer)["file_path"]).parent
    return neo_open_ephys.stamped(folder, size, rate, label)


def _plexon(reader: Any, block: int, segment: int, stream: int, size: int, rate: float, label: str) -> Stamped:
    channels = reader.header["signal_channels"]
    of_stream = channels[channels["stream_id"] == reader.header["signal_streams"][stream]["id"]]
    fragments = reader._data_blocks[5][int(of_stream[0]["id"])]
    fragments = fragments[fragments["size"] > 0]
    return of_blocks(fragments["cumsum"], fragments["timestamp"] / reader._global_ssampling_rate, rate)


def _tdt(reader: Any, block: int, segment: int, stream: int, size: int, rate: float, label: str) -> Stamped:
    first_channel = int(np.argmax(reader.header["signal_channels"]["stream_id"] == reader.header["signal_streams"][stream]["id"]))
    rows = reader._sigs_index[segment][first_channel]
    firsts = int(reader._sig_sample_per_chunk[stream]) * np.arange(len(rows))
    return of_blocks(firsts, rows["timestamp"] - reader._global_t_start, rate)


_STAMPED: dict[str, Callable[..., Stamped]] = {
    "BlackrockRawIO": _blackrock,
    "NeuralynxRawIO": _neuralynx,
    "IntanRawIO": _intan,
    "OpenEphysBinaryRawIO": _open_ephys,
    "PlexonRawIO": _plexon,
    "TdtRawIO": _tdt,
}
