"""What every reader takes and gives."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm_edge.recording import Recording


@dataclass(frozen=True)
class Request:
    """What is wanted of a file."""

    pick: Callable[[Collection[str]], Collection[str]]  # names of the behaviour series there are -> those to read
    rate_hz: int  # to which broadband is brought while it is read
    max_gap_s: float  # longer gaps of the LFP's clock are refused
    lfp_series: str | None = None  # which of several LFP series; None: the reader's rule
    session: int | None = None  # which session of a file that holds several, from 1


@dataclass(frozen=True)
class BehaviorSeries:
    """One behaviour series on the recording's clock."""

    values: NDArray[np.float32]  # (samples, dims), in unit; NaN where untracked
    times: NDArray[np.float64]  # (samples,), s, increasing
    names: tuple[str, ...]  # (dims,)
    unit: str


class Contents(NamedTuple):
    """What a reader found: the signals, and the behaviour series that were picked."""

    signals: Recording  # without behaviour
    behaviors: dict[str, BehaviorSeries]


def without_behavior() -> dict:
    """The behaviour fields of a :class:`Recording` whose behaviour has not been chosen yet."""
    return {
        "behavior": np.zeros((0, 0), np.float32),
        "behavior_times": np.zeros(0),
        "behavior_names": (),
        "behavior_unit": "",
    }
