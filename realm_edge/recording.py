"""The one form of a recording, whatever file it comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.table import Table

Intervals = NDArray[np.float64]  # (intervals, 2), start and end in s


def no_intervals() -> Intervals:
    """None."""
    return np.zeros((0, 2))


@dataclass(frozen=True)
class BehaviorSeries:
    """One behaviour series on the recording's clock."""

    values: NDArray[np.float32]  # (samples, dims), in unit; NaN where untracked
    times: NDArray[np.float64]  # (samples,), s, increasing
    names: tuple[str, ...]  # (dims,)
    unit: str


class Axes(NamedTuple):
    """What a decoder answers, where a recording does not say."""

    names: tuple[str, ...]
    unit: str


@dataclass(frozen=True)
class Recording:
    """One session: LFP, spike times and behaviour on one clock (seconds, zero at the recording's start).

    ``lfp`` holds raw ADC counts, so that what the implant's front end will see is what the decoder is trained on. It may lie in a file
    and is read a block of samples at a time. Either ``lfp`` or ``spike_times`` may be absent, never both.
    """

    name: str
    behavior: NDArray[np.float32]  # (behaviour samples, dims), in behavior_unit; NaN where untracked
    behavior_times: NDArray[np.float64]  # (behaviour samples,), s, increasing
    behavior_names: tuple[str, ...]
    behavior_unit: str
    lfp: Table | None = None  # (samples, channels), ADC counts
    lfp_rate: float = 0.0  # Hz
    lfp_start: float = 0.0  # s, of the first sample
    lfp_scale: float = 1.0  # lfp_unit per count
    lfp_offset: NDArray[np.float64] | None = None  # (channels,), lfp_unit, of count 0; None: zeros
    lfp_unit: str = "a.u."  # "V" or "a.u."
    lfp_gaps: tuple[tuple[float, float], ...] = ()  # (start, length), s: filled with the sample before
    lfp_stretches: tuple[tuple[int, int, float], ...] = ()  # first sample, end, start in s; none: one without a pause
    lfp_clips: bool = False  # whether counts were made of other values, so that samples at full scale were clipped
    lfp_delay_s: float = 0.0  # how far ``lfp`` looks ahead, where it was resampled while it was read
    channels: tuple[str, ...] = ()  # (channels,) names; none: numbers
    channel_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the electrodes table: name -> (channels,) cells
    rail_share: NDArray[np.float32] | None = None  # (channels,), share of raw samples at an extreme value; None: see ``lfp``
    good_channels: NDArray[np.bool_] | None = None  # (channels,); None: all good
    spike_times: tuple[NDArray[np.float64], ...] = ()  # one array per unit, s, increasing
    spike_observed: tuple[Intervals, ...] = ()  # one per unit: when it was looked for; none: all the time
    unit_electrodes: tuple[tuple[str, ...], ...] = ()  # one per unit: those it was found on; none: unknown
    spike_electrodes: int | None = None  # how many there are, where somebody said so
    trials: Intervals | None = None  # the segments that were chosen; None: the whole recording
    invalid: Intervals = field(default_factory=no_intervals)  # in which nothing holds
    synthetic: bool = False
    provenance: dict[str, str] = field(default_factory=dict)  # file, sha256, series names, what was resampled

    def __post_init__(self) -> None:
        if self.lfp is None and not self.spike_times:
            raise UserError(f"{self.name}: neither LFP nor spike times; a recording needs one of them")
        if self.behavior.shape != (len(self.behavior_times), len(self.behavior_names)):
            raise UserError(
                f"{self.name}: behaviour has shape {self.behavior.shape}, expected ({len(self.behavior_times)}, {len(self.behavior_names)})"
            )
        for what, wrong in self._wrong():
            if wrong:
                raise UserError(f"{self.name}: {what}: correct the file, or make it again")

    def _wrong(self) -> Iterator[tuple[str, bool]]:
        """What no number of a recording may be, and whether one is; readers tell of most of it before, with more words."""
        if self.lfp is not None:
            channels, offset = self.lfp.shape[1], self.lfp_offset
            edges = [edge for first, stop, _ in self.stretches for edge in (first, stop)]
            starts = np.array([start for _, _, start in self.stretches])
            yield f"LFP rate {self.lfp_rate} Hz", not (np.isfinite(self.lfp_rate) and self.lfp_rate > 0)
            yield f"LFP scale {self.lfp_scale}", not (np.isfinite(self.lfp_scale) and self.lfp_scale != 0)
            yield f"LFP look-ahead {self.lfp_delay_s} s", not 0 <= self.lfp_delay_s < np.inf
            yield "an LFP offset is no finite number per channel", offset is not None and not _finite(offset, (channels,))
            yield "its channels' marks are not one per channel", self.good_channels is not None and self.good_channels.shape != (channels,)
            yield "its channels' shares are not one per channel", self.rail_share is not None and self.rail_share.shape != (channels,)
            yield "stretches of LFP do not follow one another", sorted(edges) != edges or edges[0] < 0 or edges[-1] > len(self.lfp)
            yield (
                "stretches of LFP start at no finite or falling times",
                not np.isfinite(starts).all() or bool((np.diff(starts) <= 0).any()),
            )
        times = self.behavior_times
        yield "behaviour times do not rise", not np.isfinite(times).all() or bool((np.diff(times) <= 0).any())
        units = len(self.spike_times)
        yield f"its {units} units have electrodes for {len(self.unit_electrodes)}", len(self.unit_electrodes) not in (0, units)
        yield "a spike time is no finite number", not all(np.isfinite(unit).all() for unit in self.spike_times)
        for name, table in (("segment", self.trials), ("invalid time", self.invalid)):
            yield f"a {name} is no interval", table is not None and len(table) > 0 and not _are_intervals(table)

    def unlabelled(self, axes: Axes) -> "Recording":
        """The same with a behaviour of which no sample is known, whatever it has of its own."""
        none = np.zeros((0, len(axes.names)), np.float32)
        return replace(self, behavior=none, behavior_times=np.zeros(0), behavior_names=axes.names, behavior_unit=axes.unit)

    @property
    def stretches(self) -> tuple[tuple[int, int, float], ...]:
        """First sample, end and start in s of each stretch of LFP without a pause."""
        if self.lfp is None:
            return ()
        return self.lfp_stretches or ((0, len(self.lfp), self.lfp_start),)

    @property
    def seconds(self) -> float:
        """Length from zero to the end of the shortest signal that every stage needs (LFP where there is one, and behaviour), s."""
        end = float(self.behavior_times[-1]) if len(self.behavior_times) else 0.0
        if self.lfp is None:
            return end
        first, stop, start = self.stretches[-1]
        return min(end, start + (stop - first) / self.lfp_rate)


def _finite(values: NDArray, shape: tuple[int, ...]) -> bool:
    return values.shape == shape and bool(np.isfinite(values).all())


def _rise(times: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(times).all() and (np.diff(times) > 0).all())


def _are_intervals(table: Intervals) -> bool:
    return table.ndim == 2 and table.shape[1] == 2 and bool(np.isfinite(table).all()) and bool((table[:, 1] > table[:, 0]).all())
