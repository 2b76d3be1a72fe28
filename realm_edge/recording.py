"""The one in-memory form of a recording."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError


@dataclass(frozen=True)
class Recording:
    """One session: LFP, spike times and behaviour on one clock (seconds, zero at the recording's start).

    ``lfp`` holds raw ADC counts, so that what the implant's front end will see is what the decoder is trained on.
    Either ``lfp`` or ``spike_times`` may be absent, never both.
    """

    name: str
    behavior: NDArray[np.float32]  # (behaviour samples, dims), in behavior_unit; NaN where untracked
    behavior_times: NDArray[np.float64]  # (behaviour samples,), s, increasing
    behavior_names: tuple[str, ...]
    behavior_unit: str
    lfp: NDArray[np.int16] | None = None  # (samples, channels), ADC counts
    lfp_rate: float = 0.0  # Hz
    lfp_start: float = 0.0  # s
    lfp_scale: float = 1.0  # lfp_unit a count
    lfp_unit: str = "a.u."  # "V" or "a.u."
    lfp_gaps: tuple[tuple[float, float], ...] = ()  # (start, length), s: filled with the sample before
    lfp_delay_s: float = 0.0  # by which ``lfp`` is late, where it was resampled while it was read
    rail_share: NDArray[np.float32] | None = None  # (channels,), share of raw samples at an extreme value; None: see ``lfp``
    good_channels: NDArray[np.bool_] | None = None  # (channels,); None: all good
    spike_times: tuple[NDArray[np.float64], ...] = ()  # one array a unit, s, increasing
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
    def seconds(self) -> float:
        """Length from zero to the end of the shortest signal that every stage needs (LFP where there is one, and behaviour)."""
        end = float(self.behavior_times[-1]) if len(self.behavior_times) else 0.0
        return min(end, self.lfp_start + len(self.lfp) / self.lfp_rate) if self.lfp is not None else end
