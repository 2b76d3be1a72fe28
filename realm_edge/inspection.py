"""What is in a recording, before anything is made of it; and its conversion to the project's own format."""

import dataclasses
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.behavior import gaps_of
from realm_edge.errors import UserError
from realm_edge.files import naming
from realm_edge.readers import cache
from realm_edge.readers.assembly import Sources, behavior_outside
from realm_edge.readers.choices import Choices, pick, usable
from realm_edge.readers.clock import Clock
from realm_edge.readers.contents import Contents, Signal, Units
from realm_edge.readers.rails import Rails, rail_share
from realm_edge.readers.reading import open_sources, signals_of
from realm_edge.recording import BehaviorSeries, Recording
from realm_edge.resample import Resampler, to_counts
from realm_edge.settings import Settings
from realm_edge.table import Table, blocks, spooled

SATURATED = 1e-3  # share of samples at an extreme value from which on a channel counts as clipping
_ALL = Choices()  # nothing is left out
_PNG = b"\x89PNG"
_BROADBAND_HZ = 6000.0  # faster recordings hold spikes; converted, they keep the LFP alone


@dataclass(frozen=True)
class Inspection:
    """A recording without behaviour, its behaviour series, and what is said about them."""

    recording: Recording
    behaviors: Mapping[str, BehaviorSeries]
    summary: dict[str, Any]


def inspect(path: Path, choices: Choices = _ALL, session: int | None = None) -> Inspection:
    """Look at a recording with all its behaviour series.

    Args:
        path: any recording that :func:`realm_edge.readers.reading.read_recording` takes.
        choices: what is taken of it.
        session: number of the session, where the file holds several.

    Raises:
        UserError: as :func:`realm_edge.readers.reading.read_recording`.
    """
    settings = Settings()
    sources = open_sources(path, choices, settings.bin_ms / 1000, session)
    recording = signals_of(sources, path, choices, settings)
    behaviors, unusable = _behaviors(sources, choices, path)
    return Inspection(recording, behaviors, describe(recording, behaviors, unusable, sources.main, _outside(behaviors, recording, choices)))


def summary(path: Path, choices: Choices = _ALL, session: int | None = None, png: Path | None = None) -> dict[str, Any]:
    """What :func:`describe` says of a recording, and a picture of it in the file ``png``.

    Raises:
        UserError: as :func:`inspect`, or the place of the picture holds something else.
    """
    if png is not None:
        _check_place(png)
    found = inspect(path, choices, session)
    if png is not None:
        from realm_edge.quicklook import draw  # which draws what is found here

        draw(found, png)
    return found.summary


def _check_place(png: Path) -> None:
    """A picture takes the place of a picture, and of nothing else."""
    if any(folder.suffix == cache.SUFFIX for folder in png.absolute().parents):
        raise UserError(f"{png}: lies in a recording: name another place with --png")
    if png.is_file() and png.stat().st_size:
        with png.open("rb") as file:
            if file.read(len(_PNG)) != _PNG:
                raise UserError(f"{png}: exists, and is no PNG: name another file with --png")


def convert(path: Path, out: Path, settings: Settings, choices: Choices = _ALL, session: int | None = None) -> dict[str, Any]:
    """Write a recording in the project's own format (:mod:`realm_edge.readers.cache`).

    Args:
        path: any recording.
        out: directory to make, ``NAME.realm``.
        settings: ``lfp.rate_hz`` is what broadband is resampled to; gaps longer than a bin are pauses.
        choices: what is taken; without a behaviour, all series are kept.
        session: number of the session, where the file holds several.

    Returns:
        What :func:`describe` says, and "out".

    Raises:
        UserError: as :func:`realm_edge.readers.reading.read_recording`, or ``out`` exists.
    """
    cache.check_free(out)
    sources = open_sources(path, choices, settings.bin_ms / 1000, session)
    recording = signals_of(sources, path, choices, settings)
    behaviors, unusable = _behaviors(sources, choices, path)
    out.parent.mkdir(parents=True, exist_ok=True)
    with naming(out), tempfile.TemporaryFile(dir=out.parent) as spool:
        recording, signal = _stored(recording, settings, spool)
        summary = describe(recording, behaviors, unusable, sources.main, _outside(behaviors, recording, choices))
        units = Units(recording.spike_times, recording.spike_observed, recording.unit_electrodes)
        intervals = sources.main.intervals if recording.trials is None else {**sources.main.intervals, "trials": recording.trials}
        stored = cache.Stored(signal, behaviors, units, intervals, recording.invalid, recording.synthetic, recording.provenance)
        cache.write(stored, out)
    return {"out": str(out), **summary}


def _behaviors(sources: Sources, choices: Choices, path: Path) -> tuple[dict[str, BehaviorSeries], dict[str, str]]:
    """The behaviour series to show or keep, and why others cannot be used."""
    source, offset = (sources.main, 0.0) if sources.behavior is None else (sources.behavior, choices.sync_offset)
    if choices.behavior:
        wanted = dict(pick(source.behaviors, name, "--behavior", str(choices.behavior_file or path)) for name in choices.behavior)
        found, unusable = {name: read() for name, read in wanted.items()}, dict[str, str]()
    else:
        found, unusable = usable(source.behaviors)
    return {name: dataclasses.replace(series, times=series.times + offset) for name, series in found.items()}, unusable


def _outside(behaviors: Mapping[str, BehaviorSeries], recording: Recording, choices: Choices) -> dict[str, str]:
    """What is said of behaviour outside the LFP, or why the ``data`` stage will refuse it."""
    given = choices.sync_offset if choices.behavior_file is not None else 0.0
    found = {}
    for name, series in behaviors.items():
        try:
            found[name] = behavior_outside(series, recording, given, name) if len(series.times) else ""
            still = [each for each, column in zip(series.names, series.values.T, strict=True) if _is_constant(column)]
            if still:
                where = "" if len(still) == len(series.names) else f" in {', '.join(still)}"
                found[name] = "; ".join(text for text in (found[name], f"it never changes{where}: nothing to decode there") if text)
        except UserError as error:
            found[name] = str(error)
    return found


def _is_constant(values: NDArray[np.floating]) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(known.min() == known.max())


def _stored(recording: Recording, settings: Settings, spool: Any) -> tuple[Recording, Signal]:
    """The LFP as it is stored: stretch after stretch, and broadband at the front end's rate."""
    lfp = lfp_of(recording)
    channels, rate, delay, share = lfp.shape[1], recording.lfp_rate, recording.lfp_delay_s, recording.rail_share
    resampler = Resampler(rate, settings.lfp.rate_hz) if rate > _BROADBAND_HZ else None
    starts: list[tuple[int, float]] = []
    lengths: list[int] = []
    for first, stop, start in recording.stretches:
        starts.append((sum(lengths), start))
        lengths.append(stop - first if resampler is None else resampler.length(first, stop, stop))
    if resampler is None:
        parts = (block for first, stop, _ in recording.stretches for block in blocks(lfp, first, stop))
    else:
        rails = Rails()
        for first, stop, _ in recording.stretches:
            for block in blocks(lfp, first, stop):
                rails.add(block)
        share, rate, delay = rails.share(), float(settings.lfp.rate_hz), delay + resampler.delay_s
        new = resampler
        parts = (to_counts(part) for first, stop, _ in recording.stretches for part in new.blocks(lfp, first, stop, first, stop))
        recording.provenance["resampled"] = (
            f"{recording.lfp_rate:.9g} Hz to {rate:g} Hz as it was converted; a sample looks {1e3 * new.delay_s:.2f} ms ahead"
        )
    table = spooled(spool, parts, channels, np.int16)
    good = np.ones(channels, bool) if recording.good_channels is None else recording.good_channels
    if share is not None:
        good = good & (share < 1.0)  # after the low-pass's start a dead channel is not constant any more
    none = np.zeros(0, np.int64)
    signal = Signal(
        series="lfp",
        data=table,
        clock=Clock(rate, len(table), tuple(starts), none, none),
        gain=np.full(channels, recording.lfp_scale),
        offset=np.zeros(channels) if recording.lfp_offset is None else recording.lfp_offset,
        unit=recording.lfp_unit,
        channels=recording.channels or tuple(map(str, range(channels))),
        columns=recording.channel_columns,
        good=good,
        delay_s=delay,
        gaps=recording.lfp_gaps,
        rail_share=share,
    )
    stretches = signal.clock.stretches
    changed = dataclasses.replace(
        recording, lfp=table, lfp_rate=rate, lfp_stretches=stretches, lfp_delay_s=delay, rail_share=share, good_channels=good
    )
    return changed, signal


def describe(
    recording: Recording,
    behaviors: Mapping[str, BehaviorSeries],
    unusable: Mapping[str, str],
    contents: Contents,
    outside: Mapping[str, str],
) -> dict[str, Any]:
    """Channels, rates, units, behaviour series, pauses, gaps, dead, saturated and masked channels; JSON-able.

    Dead is a channel that never changes; saturated one that spends 0.1 % of its samples or more at its largest or
    smallest value; masked one that the file calls bad. Where LFP was resampled while it was converted, dead and saturated tell of
    the raw signal. ``outside`` says of behaviour series what lies outside the LFP.
    """
    lfp = lfp_of(recording)
    share = recording.rail_share if recording.rail_share is not None else rail_share(lfp)
    dead = share == 1.0
    good = recording.good_channels if recording.good_channels is not None else np.ones(len(share), bool)
    stretches = [(start, start + (stop - first) / recording.lfp_rate) for first, stop, start in recording.stretches]
    seconds = sum(end - start for start, end in stretches)
    counts = [len(_between(times, stretches)) for times in recording.spike_times]
    return {
        "file": recording.provenance["file"],
        "sha256": recording.provenance["sha256"],
        "lfp": {
            "channels": lfp.shape[1],
            "names": list(recording.channels),
            "samples": len(lfp),
            "rate_hz": recording.lfp_rate,
            "start_s": recording.stretches[0][2],
            "seconds": seconds,
            "unit_per_count": recording.lfp_scale,
            "unit": recording.lfp_unit,
            "delay_ms": 1e3 * recording.lfp_delay_s,
        },
        "pauses": [{"start_s": end, "length_s": start - end} for (_, end), (start, _) in pairwise(stretches)],
        "gaps": [{"start_s": start, "length_s": length} for start, length in recording.lfp_gaps],
        "dead_channels": np.flatnonzero(dead).tolist(),
        "saturated_channels": {str(channel): float(share[channel]) for channel in np.flatnonzero((share >= SATURATED) & ~dead)},
        "masked_channels": np.flatnonzero(~good & ~dead).tolist(),
        "units": {
            "count": len(counts),
            "electrodes": recording.spike_electrodes or len({each for unit in recording.unit_electrodes for each in unit}) or None,
            "spikes": sum(counts),
            "outside": sum(map(len, recording.spike_times)) - sum(counts),
            "median_rate_hz": float(np.median(counts)) / seconds if counts else None,
        },
        "behaviors": {name: _describe_behavior(series) | {"outside": outside.get(name, "")} for name, series in behaviors.items()},
        "unusable_behaviors": dict(unusable),
        "intervals": {name: len(table) for name, table in contents.intervals.items()},
        "invalid_times": contents.invalid.tolist(),
        "provenance": {key: value for key, value in recording.provenance.items() if key not in ("file", "sha256")},
    }


def lfp_of(recording: Recording) -> Table:
    """The LFP.

    Raises:
        UserError: the recording has none.
    """
    if recording.lfp is None:
        raise UserError(f"{recording.name}: no LFP: add the LFP voltage to the recording")
    return recording.lfp


def _between(times: NDArray[np.float64], spans: Collection[tuple[float, float]]) -> NDArray[np.float64]:
    inside = np.zeros(len(times), bool)
    for start, end in spans:
        inside |= (times >= start) & (times < end)
    return times[inside]


def _describe_behavior(series: BehaviorSeries) -> dict[str, Any]:
    period = float(np.median(np.diff(series.times))) if len(series.times) > 1 else 0.0
    wide = gaps_of(series.times)
    return {
        "columns": list(series.names),
        "unit": series.unit,
        "samples": len(series.times),
        "rate_hz": 1 / period if period else None,
        "start_s": float(series.times[0]) if len(series.times) else None,
        "end_s": float(series.times[-1]) if len(series.times) else None,
        "nan_share": float(np.isnan(series.values).any(axis=1).mean()) if len(series.values) else None,
        "infinite": int(np.isinf(series.values).any(axis=1).sum()),  # samples; unknown, as those of NaN are
        "gaps": len(wide),
        "longest_gap_s": float(wide.max()) if len(wide) else 0.0,
    }
