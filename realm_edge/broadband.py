"""Synthetic 30 kHz signal of a recording: noise, spike waveforms and the LFP, made a second at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm_edge.resample import to_counts
from realm_edge.table import Table


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


def second(broadband: Broadband, lfp: Table, lfp_rate: int, rate: int, index: int) -> NDArray[np.int16]:
    """Make one second; the result depends on nothing but the arguments, so any second can be made alone.

    Args:
        broadband: noise and spikes.
        lfp: ``(samples, channels)`` ADC counts of the whole recording, interpolated linearly; its last value is held beyond its end.
        lfp_rate: of ``lfp``, Hz.
        rate: wanted, Hz.
        index: seconds from the recording's start.

    Returns:
        ``(rate, channels)`` ADC counts.
    """
    rng = np.random.default_rng((broadband.seed, index))
    x = rng.standard_normal((rate, lfp.shape[1]), dtype=np.float32)
    x *= broadband.noise
    _add_lfp(x, lfp, lfp_rate, rate, index)
    _add_spikes(x, broadband, rate, index)
    x[:, ~broadband.live] = 0.0
    return to_counts(x)


def _add_lfp(x: NDArray[np.float32], lfp: Table, lfp_rate: int, rate: int, index: int) -> None:
    start = index * lfp_rate
    start = min(start, len(lfp) - 1)
    known = np.asarray(lfp[start : start + lfp_rate + 1], np.float32)
    known = np.concatenate([known, np.repeat(known[-1:], lfp_rate + 1 - len(known), axis=0)])  # (lfp_rate + 1, channels)
    position, remainder = np.divmod(np.arange(rate) * lfp_rate, rate)
    weight = (remainder / rate).astype(np.float32)[:, None]
    x += known[position]
    x += weight * np.diff(known, axis=0)[position]


def _add_spikes(x: NDArray[np.float32], broadband: Broadband, rate: int, index: int) -> None:
    length = broadband.waveforms.shape[1]
    # Spikes of the second before reach into this one.
    first, last = np.searchsorted(broadband.spike_times, (index - length / rate - 1 / rate, index + 1))
    units = broadband.spike_units[first:last]
    onset = np.rint(broadband.spike_times[first:last] * rate).astype(np.int64) - index * rate
    rows = onset[:, None] + np.arange(length)  # (spikes, length)
    columns = np.broadcast_to(broadband.unit_channels[units][:, None], rows.shape)
    inside = (rows >= 0) & (rows < rate)
    np.add.at(x, (rows[inside], columns[inside]), broadband.waveforms[units][inside])
