"""What every generator hands over: names, lengths, the recording, and the spikes as the broadband signal has them."""

import numpy as np
from numpy.typing import NDArray

from realm_edge.memory import check_free, free_bytes
from realm_edge.recording import Recording
from realm_edge.settings import Settings
from realm_edge.synthetic.reaches import BEHAVIOR_RATE_HZ, STEP_HZ

UV_PER_COUNT = 0.195  # RHD2000 series (Intan data sheet)

_HUMP = 0.3  # of the trough
_HUMP_MS = 0.4  # after the trough


def seconds_of(settings: Settings, session: int, bytes_a_second: int) -> float:
    """How long a session is.

    Args:
        bytes_a_second: memory that a channel takes while a session is made.

    Raises:
        UserError: the session would not fit the memory that is free.
    """
    sizes = settings.synthetic
    length = "heldout_seconds" if session == sizes.sessions - 1 else "seconds"
    seconds = float(getattr(sizes, length))
    fields = f"lower synthetic.{length} ({seconds:g}) or synthetic.channels ({sizes.channels})"
    check_free(round(bytes_a_second * sizes.channels * seconds), free_bytes(), f"synthetic session {session}", fields)
    return seconds


def recorded(
    settings: Settings,
    session: int,
    velocity: NDArray[np.float64],
    lfp: NDArray[np.int16],
    lfp_rate: int,
    spike_times: tuple[NDArray[np.float64], ...],
    generator: str,
) -> Recording:
    """The recording of a session.

    Args:
        velocity: (samples, 2), cm/s, at :data:`realm_edge.synthetic.reaches.STEP_HZ`; of the session and no more.
        lfp: (samples, channels), ADC counts.
        generator: as the provenance names it.
    """
    behavior = velocity[:: STEP_HZ // BEHAVIOR_RATE_HZ].astype(np.float32)
    return Recording(
        name="synthetic_heldout" if session == settings.synthetic.sessions - 1 else f"synthetic_{session}",
        behavior=behavior,
        behavior_times=np.arange(len(behavior)) / BEHAVIOR_RATE_HZ,
        behavior_names=("velocity_x", "velocity_y"),
        behavior_unit="cm/s",
        lfp=lfp,
        lfp_rate=float(lfp_rate),
        lfp_scale=UV_PER_COUNT * 1e-6,
        lfp_unit="V",
        spike_times=spike_times,
        synthetic=True,
        provenance={"generator": generator, "seed": str(settings.seed), "session": str(session)},
    )


def in_order(spike_times: tuple[NDArray[np.float64], ...]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """All units' spikes in one row: times in s, increasing, and units."""
    units = np.repeat(np.arange(len(spike_times), dtype=np.int32), [len(times) for times in spike_times])
    times = np.concatenate(spike_times)
    order = np.argsort(times, kind="stable")
    return times[order], units[order]


def waveforms(trough: NDArray[np.float64], width_ms: NDArray[np.float64], rate: int) -> NDArray[np.float32]:
    """Extracellular spikes: a trough 0.4 ms after the onset and a slower, weaker hump 0.4 ms later.

    Args:
        trough: (units, 1), depth, in any unit.
        width_ms: (units, 1), its half width at 1/e.
        rate: Hz.

    Returns:
        (units, samples of 1.6 ms), in the trough's unit.
    """
    t = np.arange(round(1.6e-3 * rate)) / rate * 1e3  # ms
    hump = _HUMP * np.exp(-(((t - 0.4 - _HUMP_MS) / (2 * width_ms)) ** 2))
    return (trough * (-np.exp(-(((t - 0.4) / width_ms) ** 2)) + hump)).astype(np.float32)
