"""What every reader gives: all that is in a file, and nothing of its voltage read yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from realm_edge.readers.clock import Clock
from realm_edge.recording import BehaviorSeries
from realm_edge.table import Table

Value = TypeVar("Value")


def known(value: Value) -> Callable[[], Value]:
    """What gives something that has been read already."""
    return lambda: value


@dataclass(frozen=True)
class Request:
    """What a reader has to know before it looks."""

    max_gap_s: float  # longer gaps of the LFP's clock are pauses; shorter ones are filled
    session: int | None = None  # of a file that holds several, from 1


@dataclass(frozen=True)
class Signal:
    """LFP or broadband voltage, as a file holds it.

    A value ``x`` of channel ``c`` is ``x * gain[c] + offset[c]`` in ``unit``.
    """

    series: str  # its name in the file
    data: Table  # (samples, channels), integers or floats; nothing of it has been looked at
    clock: Clock
    gain: NDArray[np.float64]  # (channels,)
    offset: NDArray[np.float64]  # (channels,)
    unit: str  # "V" or "a.u."
    channels: tuple[str, ...]  # (channels,) names: electrodes' labels, or numbers
    good: NDArray[np.bool_]  # (channels,), False where the file calls the channel bad
    mask: str = ""  # what says so, and of how many channels
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the electrodes table: name -> (channels,) cells as text
    delay_s: float = 0.0  # how far it looks ahead, where it was resampled before
    gaps: tuple[tuple[float, float], ...] = ()  # (start, length) in s of gaps that were filled before, beside those of the clock
    rail_share: NDArray[np.float32] | None = None  # (channels,), share of raw samples at an extreme value, where it was resampled before


@dataclass(frozen=True)
class Units:
    """Spike times of sorted units on the recording's clock."""

    times: tuple[NDArray[np.float64], ...]  # one array per unit, s, increasing
    observed: tuple[NDArray[np.float64], ...] = ()  # (intervals, 2) s per unit, outside of which nobody looked; none: all the time
    electrodes: tuple[tuple[str, ...], ...] = ()  # of each unit, those that it was found on; none: the file does not say


@dataclass(frozen=True)
class Contents:
    """What is in a file. Nothing is read before it is asked for, so that what is broken stands in nobody's way."""

    name: str
    lfp: Mapping[str, Callable[[], Signal]]  # by name, the one to take first; each raises UserError where it cannot be used
    behaviors: Mapping[str, Callable[[], BehaviorSeries]]  # by name; each raises UserError where it cannot be used
    units: Callable[[], Units] = lambda: Units(())
    intervals: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # (intervals, 2) s: trials, epochs and other tables
    invalid: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))  # (intervals, 2) s, in which nothing holds
    synthetic: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
