"""The one form of a recording, whatever file it comes from."""

from dataclasses import dataclass, field

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
    lfp_scale: float = 1.0  # lfp_unit a count
    lfp_offset: NDArray[np.float64] | None = None  # (channels,), lfp_unit, of count 0; None: zeros
    lfp_unit: str = "a.u."  # "V" or "a.u."
    lfp_gaps: tuple[tuple[float, float], ...] = ()  # (start, length), s: filled with the sample before
    lfp_stretches: tuple[tuple[int, int, float], ...] = ()  # first sample, end, start in s; none: one without a pause
    lfp_clips: bool = False  # whether counts were made of other values, so that samples at full scale were clipped
    lfp_delay_s: float = 0.0  # how far ``lfp`` looks ahead, where it was resampled while it was read
    channels: tuple[str, ...] = ()  # (channels,) names; none: numbers
    rail_share: NDArray[np.float32] | None = None  # (channels,), share of raw samples at an extreme value; None: see ``lfp``
    good_channels: NDArray[np.bool_] | None = None  # (channels,); None: all good
    spike_times: tuple[NDArray[np.float64], ...] = ()  # one array a unit, s, increasing
    spike_observed: tuple[Intervals, ...] = ()  # one a unit: when it was looked for; none: all the time
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
