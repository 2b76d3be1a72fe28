"""One picture of a recording: traces, spectrum and behaviour."""

import math
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import signal

from realm_edge.files import replacing
from realm_edge.inspection import Inspection, lfp_of
from realm_edge.pictures import STYLE, plain_decades
from realm_edge.recording import BehaviorSeries, Recording

_TRACE_S = 2.0
_TRACES = 12  # channels shown
_SPECTRUM_S = 60.0
_SPECTRA = 32  # channels that the spectrum is made of
_BEHAVIOR_S = 30.0
_BEHAVIORS = 4  # series shown
_COLUMNS = 6  # of a series shown
_BLUE, _RED = "#0072B2", "#D55E00"


def draw(found: Inspection, path: Path) -> None:
    """Write a PNG: 2 s of traces and the spectrum of a minute from the recording's middle, 30 s of behaviour around the same time.

    Args:
        found: of a recording with LFP.
        path: file to write.
    """
    signals, summary = found.recording, found.summary
    shown = dict(list(found.behaviors.items())[:_BEHAVIORS])
    rows = max(1, len(shown))
    suspect = {*summary["dead_channels"], *summary["masked_channels"], *map(int, summary["saturated_channels"])}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.4 + 1.5 * rows), dpi=110, layout="constrained")
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(4.4, 1.5 * rows))[:, 0]
        traces, spectrum = top.subplots(1, 2, width_ratios=(3, 2))
        _traces(traces, signals, suspect)
        _spectrum(spectrum, signals, {*summary["dead_channels"], *summary["masked_channels"]})
        if shown:
            axes = bottom.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
            for axis, (name, series) in zip(axes, shown.items(), strict=True):
                _behavior(axis, name, series, *_behavior_window(signals))
            axes[-1].set_xlabel("time in the recording (s)")
        else:
            bottom.text(0.5, 0.5, "no behaviour series", ha="center", va="center")
        lfp = summary["lfp"]
        left = "" if len(found.behaviors) <= _BEHAVIORS else f"; {len(found.behaviors) - _BEHAVIORS} more behaviour series"
        figure.suptitle(
            f"{signals.name}: {_channels(lfp['channels'])} at {lfp['rate_hz']:.6g} Hz, {lfp['seconds']:.0f} s, "
            f"{summary['units']['count']} units{left}"
        )
        with replacing(path) as partial:
            figure.savefig(partial, format="png")


def _traces(axis: Axes, signals: Recording, suspect: set[int]) -> None:
    channels = _shown_channels(lfp_of(signals).shape[1], suspect)
    x, times = _window(signals, _TRACE_S)
    x = x[:, channels] - np.median(x[:, channels], axis=0)
    spacing = 6 * float(np.median(x.std(axis=0))) or 1.0
    for row, channel in enumerate(channels):
        axis.plot(times, x[:, row] / spacing - row, color=_RED if channel in suspect else _BLUE, linewidth=0.7)
    axis.set_yticks([-row for row in range(len(channels))], [str(channel) for channel in channels])
    for label, channel in zip(axis.get_yticklabels(), channels, strict=True):
        label.set_color(_RED if channel in suspect else "black")
    axis.set_ylim(-len(channels) + 0.2, 0.8)
    axis.set_xlim(times[0], times[-1])
    axis.set_ylabel("channel" + (" (red: dead, saturated or masked)" if suspect & set(channels.tolist()) else ""))
    axis.set_xlabel("time in the recording (s)")
    between, unit = _readable(spacing * signals.lfp_scale, signals.lfp_unit)
    axis.set_title(f"LFP; {between:.3g} {unit} from one channel to the next" if len(channels) > 1 else "LFP", fontsize=9)


def _spectrum(axis: Axes, signals: Recording, left_out: set[int]) -> None:
    x, _ = _window(signals, _SPECTRUM_S)
    usable = np.array([channel for channel in range(x.shape[1]) if channel not in left_out and x[:, channel].std() > 0])
    if not len(usable):
        axis.text(0.5, 0.5, "every channel is dead or masked", ha="center", va="center", transform=axis.transAxes)
        return
    chosen = usable[_spread(len(usable), _SPECTRA)]
    scale, unit = _readable(signals.lfp_scale, signals.lfp_unit)
    segment = min(len(x), max(16, round(2 * signals.lfp_rate)))
    frequency, power = signal.welch(scale * x[:, chosen], signals.lfp_rate, nperseg=segment, axis=0)
    frequency, power = frequency[1:], np.maximum(power[1:], np.finfo(float).tiny)  # without the constant part
    if len(chosen) > 1:
        low, high = np.percentile(power, [10, 90], axis=1)
        axis.fill_between(frequency, low, high, color=_BLUE, alpha=0.25, linewidth=0, label="10 to 90 % of channels")
    axis.loglog(frequency, np.median(power, axis=1), color=_BLUE, linewidth=1.0, label="median channel")
    plain_decades(axis.xaxis)
    plain_decades(axis.yaxis)
    axis.set_xlim(frequency[0], frequency[-1])
    axis.set_xlabel("frequency (Hz)")
    axis.set_ylabel(f"power density ({unit}²/Hz)")
    axis.set_title(f"Spectrum of {_channels(len(chosen))}", fontsize=9)
    if len(chosen) > 1:
        axis.legend(frameon=False, fontsize=8, loc="lower left")


def _behavior(axis: Axes, name: str, series: BehaviorSeries, start: float, end: float) -> None:
    inside = (series.times >= start) & (series.times <= end)
    for column, label in zip(series.values[inside].T[:_COLUMNS], series.names, strict=False):
        axis.plot(series.times[inside], column, linewidth=0.9, label=label.removeprefix(f"{name}_"))
    if not np.isfinite(series.values[inside]).any():
        axis.text(0.5, 0.5, "unknown here", ha="center", va="center", transform=axis.transAxes)
    axis.set_ylabel(f"{name}\n({series.unit})", fontsize=8)
    axis.set_xlim(start, end)
    if len(series.names) > 1:
        axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _window(signals: Recording, seconds: float) -> tuple[NDArray, NDArray[np.float64]]:
    """Samples around the middle of the longest stretch ``(samples, channels)`` and their times in s."""
    first, stop, start = max(signals.stretches, key=lambda stretch: stretch[1] - stretch[0])
    wanted = min(stop - first, math.ceil(seconds * signals.lfp_rate))
    begin = (first + stop - wanted) // 2
    x = np.asarray(lfp_of(signals)[begin : begin + wanted], np.float64)
    return x, start + np.arange(begin - first, begin - first + wanted) / signals.lfp_rate


def _behavior_window(signals: Recording) -> tuple[float, float]:
    """Start and end in s, around the middle of the longest stretch of LFP and within it."""
    first, stop, start = max(signals.stretches, key=lambda stretch: stretch[1] - stretch[0])
    seconds = (stop - first) / signals.lfp_rate
    middle, shown = start + seconds / 2, min(seconds, _BEHAVIOR_S)
    return middle - shown / 2, middle + shown / 2


def _shown_channels(count: int, suspect: set[int]) -> NDArray[np.int64]:
    """Channels to draw, in order: some of those with faults, and others evenly spread."""
    faulty = sorted(suspect)[: _TRACES // 2]
    others = np.array([channel for channel in range(count) if channel not in suspect], np.int64)
    return np.sort(np.concatenate([np.array(faulty, np.int64), others[_spread(len(others), _TRACES - len(faulty))]]))


def _spread(count: int, at_most: int) -> NDArray[np.int64]:
    """Up to ``at_most`` of the indices below ``count``, evenly spread."""
    return np.linspace(0, count - 1, min(count, at_most)).round().astype(np.int64)


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _readable(value: float, unit: str) -> tuple[float, str]:
    """Volts as microvolts."""
    return (1e6 * value, "µV") if unit == "V" else (value, unit)
