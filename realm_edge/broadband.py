"""Synthetic 30 kHz signal of a recording: noise, spike waveforms and the LFP, made a second at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm_edge.resample import to_counts
from realm_edge.table import Table

FIELD_HZ = 4000
ACTIVITY_HZ = 100


@dataclass(frozen=True)
class Broadband:
    """What decides a synthetic broadband signal, beside the LFP. Nothing of the signal itself is stored."""

    seed: int  # of the amplifier noise; second ``s`` draws from the stream (seed, s)
    noise: NDArray[np.float32]  # (channels,), standard deviation on live channels, ADC counts
    live: NDArray[np.bool_]  # (channels,); a dead channel reads 0
    spike_times: NDArray[np.float64]  # (spikes,), s from the recording's start, increasing
    spike_units: NDArray[np.int32]  # (spikes,)
    unit_channels: NDArray[np.int32]  # (units,)
    waveforms: NDArray[np.float32]  # (units, samples), ADC counts at the broadband rate; they begin at the spike time
    # None of these three where nothing changes within a session and the spikes leave nothing in the LFP (version 1 of the generator):
    field: Table | None = None  # (samples, channels), ADC counts at FIELD_HZ: the LFP without spikes and noise, in the LFP's place
    activity: NDArray[np.float32] | None = None  # (steps, channels) at ACTIVITY_HZ, which ``noise`` is multiplied by
    spike_gain: NDArray[np.float32] | None = None  # (spikes,), which a spike's waveform is multiplied by


def second(broadband: Broadband, lfp: Table, lfp_rate: int, rate: int, index: int) -> NDArray[np.int16]:
    """Make one second; the result depends on nothing but the arguments, so any second can be made alone.

    Args:
        broadband: noise and spikes.
        lfp: ``(samples, channels)`` ADC counts of the whole recording, interpolated linearly; its last value is held beyond its end.
            Not read where the broadband signal has a field of its own.
        lfp_rate: of ``lfp``, Hz.
        rate: wanted, Hz.
        index: seconds from the recording's start.

    Returns:
        ``(rate, channels)`` ADC counts.
    """
    rng = np.random.default_rng((broadband.seed, index))
    x = rng.standard_normal((rate, lfp.shape[1]), dtype=np.float32)
    x *= broadband.noise
    if broadband.activity is not None:
        times = np.zeros_like(x)
        _add_interpolated(times, broadband.activity, ACTIVITY_HZ, rate, index)
        x *= times
    if broadband.field is not None:
        lfp, lfp_rate = broadband.field, FIELD_HZ
    _add_interpolated(x, lfp, lfp_rate, rate, index)
    _add_spikes(x, broadband, rate, index)
    x[:, ~broadband.live] = 0.0
    return to_counts(x)


def _add_interpolated(x: NDArray[np.float32], slow: Table, slow_rate: int, rate: int, index: int) -> None:
    start = index * slow_rate
    start = min(start, len(slow) - 1)
    known = np.asarray(slow[start : start + slow_rate + 1], np.float32)
    known = np.concatenate([known, np.repeat(known[-1:], slow_rate + 1 - len(known), axis=0)])  # (slow_rate + 1, channels)
    position, remainder = np.divmod(np.arange(rate) * slow_rate, rate)
    weight = (remainder / rate).astype(np.float32)[:, None]
    x += known[position]
    x += weight * np.diff(known, axis=0)[position]


def _add_spikes(x: NDArray[np.float32], broadband: Broadband, rate: int, index: int) -> None:
    length = broadband.waveforms.shape[1]
    # Spikes of the second before reach into this one.
    first, last = np.searchsorted(broadband.spike_times, (index - length / rate - 1 / rate, index + 1))
    units = broadband.spike_units[first:last]
    onset = np.rint(broadband.spike_times[first:last] * rate).astype(np.int64) - index * rate
    shapes = broadband.waveforms[units]
    if broadband.spike_gain is not None:
        shapes = shapes * broadband.spike_gain[first:last, None]
    add_events(x, onset, broadband.unit_channels[units], shapes)


def add_events(x: NDArray[np.float32], onset: NDArray[np.int64], channel: NDArray[np.int32], shapes: NDArray[np.float32]) -> None:
    """Add short waveforms to a signal; what lies before its start or beyond its end is left out.

    Args:
        x: (samples, channels), changed in place.
        onset: (events,), sample at which each begins.
        channel: (events,).
        shapes: (events, length), in the signal's unit.
    """
    rows = onset[:, None] + np.arange(shapes.shape[1])  # (events, length)
    columns = np.broadcast_to(channel[:, None], rows.shape)
    inside = (rows >= 0) & (rows < len(x))
    np.add.at(x, (rows[inside], columns[inside]), shapes[inside])
