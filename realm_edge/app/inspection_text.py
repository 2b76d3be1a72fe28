"""What :func:`realm_edge.inspection.describe` says, for people."""

from collections.abc import Collection, Iterator
from typing import Any

from realm_edge.printable import printable

_NOTES = (
    *(
        "lfp_series",
        "lfp_choices",
        "lfp_unusable",
        "channels",
        "scale",
        "few_counts",
        "too_large",
        "nan_channels",
        "nan_samples",
        "resampled",
    ),
    *("channel_mask", "trials", "units", "units_unusable", "spikes_outside", "left_out"),
    *("segments_outside", "intervals_left_out", "invalid_outside", "cut_short"),
)  # of the provenance, that are shown


def lines(summary: dict[str, Any]) -> Iterator[str]:
    """Of one recording."""
    return map(printable, _lines(summary))


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    lfp = summary["lfp"]
    yield f"{summary['file']}"
    late = f", {lfp['delay_ms']:.2f} ms late by resampling" if lfp["delay_ms"] else ""
    yield f"LFP        {lfp['channels']} channel(s), {lfp['rate_hz']:.6g} Hz, {lfp['seconds']:.1f} s from {lfp['start_s']:.3f} s{late}"
    yield f"scale      {lfp['unit_per_count']:.4g} {lfp['unit']} a count"
    for key in _NOTES:
        if key in summary["provenance"]:
            yield f"{'':<10} {key.replace('_', ' ')}: {summary['provenance'][key]}"
    pauses, gaps = summary["pauses"], summary["gaps"]
    if pauses:
        longest = max(pauses, key=lambda pause: pause["length_s"])
        at = f"the longest {longest['length_s']:.3f} s at {longest['start_s']:.3f} s"
        yield f"pauses     {len(pauses)}, {at}: a segment starts after each"
    if gaps:
        longest = max(gaps, key=lambda gap: gap["length_s"])
        yield f"gaps       {len(gaps)}, the longest {1e3 * longest['length_s']:.1f} ms at {longest['start_s']:.3f} s"
    else:
        yield "gaps       none"
    yield f"dead       {_listed(summary['dead_channels'])}"
    saturated = [f"{channel} ({100 * share:.3g} % at the rail)" for channel, share in summary["saturated_channels"].items()]
    yield f"saturated  {_listed(saturated)}"
    yield f"masked     {_listed(summary['masked_channels'])}"
    if len({*summary["dead_channels"], *summary["masked_channels"]}) == lfp["channels"]:
        yield "           every channel is dead or masked: there is nothing to decode from"
    units = summary["units"]
    outside = f"; {units['outside']} more outside the LFP" if units["outside"] else ""
    found_on = f"{units['electrodes']} electrode(s)" if units["electrodes"] else "an unknown number of electrodes"
    yield f"units      {units['count']}" + (
        f", {units['spikes']} spikes, median {units['median_rate_hz']:.2f} Hz{outside}; of {found_on}" if units["count"] else ""
    )
    for name, series in summary["behaviors"].items():
        rate = f"{series['rate_hz']:.6g} Hz" if series["rate_hz"] else "one sample"
        jumps = f", {series['gaps']} gap(s), the longest {series['longest_gap_s']:.3f} s" if series["gaps"] else ""
        outside = f"; {series['outside']}" if series["outside"] else ""
        unknown = f"{100 * series['nan_share']:.3g} % NaN" if series["nan_share"] is not None else "empty"
        unknown += f", {series['infinite']} sample(s) infinite, and so unknown" if series["infinite"] else ""
        yield f"behaviour  {name}: {len(series['columns'])} dim(s), {series['unit']}, {rate}, {unknown}{jumps}{outside}"
    for name, reason in summary["unusable_behaviors"].items():
        yield f"unusable   {name}: {reason}"
    for name, count in summary["intervals"].items():
        yield f"intervals  {name}: {count}; --segments {name} makes them segments"
    if summary["invalid_times"]:
        yield f"invalid    {len(summary['invalid_times'])} interval(s): their bins are unknown"
    if not summary["behaviors"]:
        yield "behaviour  none: there is nothing to decode"


def _listed(channels: Collection[Any]) -> str:
    return ", ".join(str(channel) for channel in channels) or "none"
