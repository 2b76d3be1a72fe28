"""What is in a recording, before anything is made of it; and its conversion to the cache format."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers import cache, read_contents
from realm_edge.readers.arrays import choose_behavior
from realm_edge.readers.contents import BehaviorSeries, Contents, Request
from realm_edge.readers.rails import rail_share
from realm_edge.recording import Recording
from realm_edge.settings import Settings

SATURATED = 1e-3  # share of samples at an extreme value from which on a channel counts as clipping
_SHOWN_GAP_S = 60.0  # longer gaps are refused here too: filling them could take any amount of memory
_WIDE_STEP = 1.5  # periods between two behaviour samples that make a gap


def inspect(path: Path, lfp_series: str | None = None, session: int | None = None) -> tuple[dict[str, Any], Contents]:
    """Read a recording with all its behaviour series.

    Gaps in its clock that would be refused for decoding are shown, up to a minute.

    Args:
        path: any recording that :func:`realm_edge.readers.read_recording` takes.
        lfp_series: name of the LFP series, where there are several.
        session: number of the session, where the file holds several.

    Returns:
        What :func:`describe` says, and the contents.

    Raises:
        UserError: as :func:`realm_edge.readers.read_recording`.
    """
    contents = read_contents(path, Request(list, Settings().lfp.rate_hz, _SHOWN_GAP_S, lfp_series, session))
    return describe(contents), contents


def convert(
    path: Path,
    out: Path,
    settings: Settings,
    behavior: str | None = None,
    lfp_series: str | None = None,
    session: int | None = None,
) -> dict[str, Any]:
    """Write a recording in the cache format (:mod:`realm_edge.readers.cache`).

    Args:
        path: any recording.
        out: directory to make, ``NAME.realm``.
        settings: ``lfp.rate_hz`` is what broadband is resampled to; gaps longer than a bin are refused.
        behavior: the behaviour series to keep; None keeps all.
        lfp_series: name of the LFP series, where there are several.
        session: number of the session, where the file holds several.

    Returns:
        What :func:`describe` says, and "out".

    Raises:
        UserError: as :func:`realm_edge.readers.read_recording`, or ``out`` exists.
    """
    cache.check_free(out)

    def pick(names: Collection[str]) -> Collection[str]:
        return names if behavior is None else [choose_behavior(names, behavior, str(path))]

    contents = read_contents(path, Request(pick, settings.lfp.rate_hz, settings.bin_ms / 1000, lfp_series, session))
    cache.write(contents, out)
    return {"out": str(out), **describe(contents)}


def describe(contents: Contents) -> dict[str, Any]:
    """Channels, rates, units, behaviour series, gaps, dead, saturated and masked channels; JSON-able.

    Dead is a channel that never changes; saturated one that spends 0.1 % of its samples or more at its largest or
    smallest value; masked one that the file calls bad. Where LFP was resampled while it was read, dead and saturated tell of
    the raw signal.
    """
    signals = contents.signals
    lfp = lfp_of(signals)
    share = signals.rail_share if signals.rail_share is not None else rail_share(lfp)
    dead = share == 1.0
    good = signals.good_channels if signals.good_channels is not None else np.ones(len(share), bool)
    seconds = len(lfp) / signals.lfp_rate
    counts = [len(times) for times in signals.spike_times]
    return {
        "file": signals.provenance["file"],
        "sha256": signals.provenance["sha256"],
        "lfp": {
            "channels": lfp.shape[1],
            "samples": len(lfp),
            "rate_hz": signals.lfp_rate,
            "start_s": signals.lfp_start,
            "seconds": seconds,
            "unit_per_count": signals.lfp_scale,
            "unit": signals.lfp_unit,
            "delay_ms": 1e3 * signals.lfp_delay_s,
        },
        "gaps": [{"start_s": start, "length_s": length} for start, length in signals.lfp_gaps],
        "dead_channels": np.flatnonzero(dead).tolist(),
        "saturated_channels": {str(channel): float(share[channel]) for channel in np.flatnonzero((share >= SATURATED) & ~dead)},
        "masked_channels": np.flatnonzero(~good & ~dead).tolist(),
        "units": {"count": len(counts), "spikes": sum(counts), "median_rate_hz": float(np.median(counts)) / seconds if counts else None},
        "behaviors": {name: _describe_behavior(series) for name, series in contents.behaviors.items()},
        "provenance": {key: value for key, value in signals.provenance.items() if key not in ("file", "sha256")},
    }


def lfp_of(signals: Recording) -> NDArray[np.int16]:
    """The LFP.

    Raises:
        UserError: the recording has none.
    """
    if signals.lfp is None:
        raise UserError(f"{signals.name}: no LFP: add the LFP voltage to the recording")
    return signals.lfp


def _describe_behavior(series: BehaviorSeries) -> dict[str, Any]:
    steps = np.diff(series.times)
    period = float(np.median(steps)) if len(steps) else 0.0
    wide = steps[steps > _WIDE_STEP * period]
    return {
        "columns": list(series.names),
        "unit": series.unit,
        "samples": len(series.times),
        "rate_hz": 1 / period if period else None,
        "start_s": float(series.times[0]) if len(series.times) else None,
        "end_s": float(series.times[-1]) if len(series.times) else None,
        "nan_share": float(np.isnan(series.values).any(axis=1).mean()) if len(series.values) else None,
        "gaps": len(wide),
        "longest_gap_s": float(wide.max()) if len(wide) else 0.0,
    }


def lines(summary: dict[str, Any]) -> Iterator[str]:
    """What :func:`describe` says, for people."""
    lfp = summary["lfp"]
    yield f"{summary['file']}"
    late = f", {lfp['delay_ms']:.2f} ms late by resampling" if lfp["delay_ms"] else ""
    yield f"LFP        {lfp['channels']} channel(s), {lfp['rate_hz']:.6g} Hz, {lfp['seconds']:.1f} s from {lfp['start_s']:.3f} s{late}"
    yield f"scale      {lfp['unit_per_count']:.4g} {lfp['unit']} a count"
    for key in ("lfp_series", "lfp_choices", "resampled", "channel_mask", "trials", "units"):
        if key in summary["provenance"]:
            yield f"{'':<10} {key.replace('_', ' ')}: {summary['provenance'][key]}"
    gaps = summary["gaps"]
    if gaps:
        longest = max(gaps, key=lambda gap: gap["length_s"])
        yield f"gaps       {len(gaps)}, the longest {1e3 * longest['length_s']:.1f} ms at {longest['start_s']:.3f} s"
    else:
        yield "gaps       none"
    yield f"dead       {_listed(summary['dead_channels'])}"
    saturated = [f"{channel} ({100 * share:.2g} % at the rail)" for channel, share in summary["saturated_channels"].items()]
    yield f"saturated  {_listed(saturated)}"
    yield f"masked     {_listed(summary['masked_channels'])}"
    units = summary["units"]
    yield f"units      {units['count']}" + (
        f", {units['spikes']} spikes, median {units['median_rate_hz']:.2f} Hz" if units["count"] else ""
    )
    for name, series in summary["behaviors"].items():
        rate = f"{series['rate_hz']:.6g} Hz" if series["rate_hz"] else "one sample"
        jumps = f", {series['gaps']} gap(s), the longest {series['longest_gap_s']:.3f} s" if series["gaps"] else ""
        unknown = f"{100 * series['nan_share']:.2g} % NaN" if series["nan_share"] is not None else "empty"
        yield f"behaviour  {name}: {len(series['columns'])} dim(s), {series['unit']}, {rate}, {unknown}{jumps}"
    if not summary["behaviors"]:
        yield "behaviour  none: there is nothing to decode"


def _listed(channels: Collection[Any]) -> str:
    return ", ".join(str(channel) for channel in channels) or "none"
