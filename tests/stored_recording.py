"""A recording in the project's own format as tests need it: eight seconds, 16 channels, a dead one and one that clips."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.readers import cache
from realm_edge.readers.clock import Clock
from realm_edge.readers.contents import BehaviorSeries, Signal, Units

RATE, SECONDS, CHANNELS = 1000.0, 8, 16
SPIKES = (np.array([0.5, 1.0, 7.5]), np.array([]), np.array([2.0]))


def lfp() -> NDArray[np.int16]:
    """(samples, channels), counts."""
    rng = np.random.default_rng(0)
    t = np.arange(round(SECONDS * RATE)) / RATE
    x = 80 * rng.standard_normal((len(t), CHANNELS)).cumsum(axis=0) / 20 + 200 * np.sin(2 * np.pi * 20 * t)[:, None]
    x = x + rng.normal(0, 20, x.shape)
    x[:, 3] = 5  # dead
    x[:, 9] = np.clip(x[:, 9] * 3, -300, 300)  # clips
    return x.round().astype(np.int16)


def behaviors() -> dict[str, BehaviorSeries]:
    """A hand that is unknown for half a second, and a force with a gap."""
    times = np.arange(SECONDS * 100) / 100
    hand = np.stack([np.sin(times), np.cos(times)], axis=1).astype(np.float32)
    hand[100:150] = np.nan
    late = np.delete(times, slice(300, 340))
    return {
        "hand": BehaviorSeries(hand, times, ("hand_x", "hand_y"), "cm/s"),
        "force": BehaviorSeries(np.abs(np.sin(late))[:, None].astype(np.float32), late, ("force",), "N"),
    }


def signal(data: NDArray | None = None, **changed: Any) -> Signal:
    """The LFP, 0.25 uV a count from 0.25 s on, with two gaps that were filled."""
    data = lfp() if data is None else data
    channels, none = data.shape[1], np.zeros(0, np.int64)
    values: dict[str, Any] = {
        "series": "lfp",
        "data": data,
        "clock": Clock(RATE, len(data), ((0, 0.25),), none, none),
        "gain": np.full(channels, 2.5e-7),
        "offset": np.zeros(channels),
        "unit": "V",
        "channels": tuple(f"ch{channel}" for channel in range(channels)),
        "good": np.arange(channels) != 5,
        "delay_s": 0.006,
        "gaps": ((1.5, 0.012), (3.25, 0.004)),
    }
    return Signal(**(values | changed))


def stored(**changed: Any) -> cache.Stored:
    """All of it."""
    values: dict[str, Any] = {
        "signal": signal(),
        "behaviors": behaviors(),
        "units": Units(SPIKES),
        "intervals": {},
        "invalid": np.zeros((0, 2)),
        "synthetic": False,
        "provenance": {"file": "monday.nwb", "sha256": "0" * 64, "lfp_series": "lfp"},
    }
    return cache.Stored(**(values | changed))


def written(path: Path, **changed: Any) -> Path:
    """:func:`stored` as a directory."""
    cache.write(stored(**changed), path)
    return path
