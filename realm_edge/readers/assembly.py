"""From what files hold to a recording: series, channels and segments are chosen, counts made, clocks compared."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm_edge.behavior import interpolated, one_unit, units_of_columns
from realm_edge.errors import UserError
from realm_edge.readers import alignment, sheets
from realm_edge.readers.arrays import SLOWEST_LFP, check_rate, check_units
from realm_edge.readers.choices import TABLES, Choices, channels_of, pick, usable
from realm_edge.readers.clock import Clock
from realm_edge.readers.contents import Contents, Signal, Units
from realm_edge.readers.counts import counts_of
from realm_edge.recording import BehaviorSeries, Intervals, Recording
from realm_edge.table import Rows

_SAME_GAIN = 1e-9  # relative
_NO_NAME = ("", "nan", "none", "<na>", "nat", "inf", "-inf")  # of an electrode, as text


@dataclass(frozen=True)
class Sources:
    """The contents of the files that make one recording."""

    main: Contents
    behavior: Contents | None = None  # of --behavior-file
    units: Contents | None = None  # of --units-file


def assemble(sources: Sources, choices: Choices, training: float, max_gap_s: float, label: str) -> Recording:
    """Put one recording together, with the behaviour that is chosen.

    Args:
        training: share of the recording that scales may be chosen on.
        max_gap_s: longer gaps are pauses.
        label: the main file, for messages.

    Raises:
        UserError: something that is wanted is not there or cannot be used, or clocks do not agree; the message says what would help.
    """
    behavior, names = behavior_of(sources, choices, label)
    signals = without_behavior(sources, choices, training, max_gap_s, label)
    where = str(choices.behavior_file or label)
    given = choices.sync_offset if sources.behavior is not None else 0.0
    note = behavior_outside(behavior, signals, given, f"{where}: {names}")
    spikes = spikes_outside(signals, choices, label)
    known = np.asarray(np.isfinite(behavior.values).any(axis=0))
    if not known.any():
        raise UserError(f"{where}: behaviour '{names}' is NaN throughout: choose another series with --behavior")
    left_out = ", ".join(name for name, one in zip(behavior.names, known, strict=True) if not one)
    behavior = with_columns(behavior, known)
    found = {
        "behavior_outside": note,
        "spikes_outside": spikes,
        "behavior_left_out": f"{left_out}: NaN throughout" if left_out else "",
    }
    notes = {"behavior_series": names} | {key: text for key, text in found.items() if text}
    return dataclasses.replace(
        signals,
        behavior=behavior.values,
        behavior_times=behavior.times,
        behavior_names=behavior.names,
        behavior_unit=behavior.unit,
        provenance=signals.provenance | notes,
    )


def without_behavior(sources: Sources, choices: Choices, training: float, max_gap_s: float, label: str) -> Recording:
    """As :func:`assemble`, with no behaviour in it yet."""
    main = sources.main
    signal, notes = signal_of(main, choices, label)
    where = f"{label}: {signal.series}"
    check_rate(signal.clock.rate, where, SLOWEST_LFP)
    if len(signal.data.shape) == 2 and signal.data.shape[1] > signal.data.shape[0]:
        rows, wide = signal.data.shape
        raise UserError(f"{where}: shape ({rows}, {wide}): {rows} samples of {wide} channels: transpose it")
    columns = channels_of(signal, choices, where)
    counts = counts_of(signal, columns, training, max_gap_s, where, main.invalid)
    if signal.mask:
        notes["channel_mask"] = signal.mask
    if len(columns) < len(signal.channels):
        notes["channels"] = f"{len(columns)} of {len(signal.channels)} taken"
    units = units_of(sources, choices, notes)
    left_out = _left_out(sources, choices)
    if choices.spike_electrodes is not None and not units.times:
        left_out.append(f"--spike-electrodes {choices.spike_electrodes}: there are no units that it could be of")
    if left_out:
        notes["left_out"] = "; ".join(left_out)
    spans = [(start, start + (stop - first) / signal.clock.rate) for first, stop, start in counts.stretches]
    trials = _trials(main, choices, label, spans, signal.clock.rate, max_gap_s, notes)
    invalid, invalid_note = alignment.touching(main.invalid, spans)
    if invalid_note:
        notes["invalid_outside"] = invalid_note
    return Recording(
        name=main.name,
        behavior=np.zeros((0, 0), np.float32),
        behavior_times=np.zeros(0),
        behavior_names=(),
        behavior_unit="",
        lfp=counts.data,
        lfp_rate=signal.clock.rate,
        lfp_start=counts.stretches[0][2],
        lfp_scale=counts.scale,
        lfp_offset=counts.offset,
        lfp_unit=signal.unit,
        lfp_gaps=(*signal.gaps, *signal.clock.gaps),
        lfp_stretches=counts.stretches,
        lfp_clips=counts.clips,
        lfp_delay_s=signal.delay_s,
        channels=tuple(signal.channels[column] for column in columns),
        channel_columns={name: tuple(cells[column] for column in columns) for name, cells in signal.columns.items()},
        rail_share=None if signal.rail_share is None else signal.rail_share[columns],
        good_channels=counts.good,
        spike_times=units.times,
        spike_observed=units.observed,
        unit_electrodes=units.electrodes,
        spike_electrodes=choices.spike_electrodes if units.times else None,
        trials=trials,
        invalid=invalid,
        synthetic=main.synthetic,
        provenance={**main.provenance, "lfp_series": signal.series, **notes, **counts.notes},
    )


def behavior_outside(behavior: BehaviorSeries, signals: Recording, given: float, label: str) -> str:
    """What there is to say of behaviour outside the LFP; empty where there is nothing.

    Args:
        given: s, the offset that its times have already.

    Raises:
        UserError: nearly all is.
    """
    return alignment.checked(behavior.times, _spans(signals), "behaviour samples", "--behavior-file", signals.lfp_rate, label, given)


def spikes_outside(signals: Recording, choices: Choices, label: str) -> str:
    """What there is to say of spikes outside the LFP; empty where there is nothing.

    Raises:
        UserError: nearly all are.
    """
    fired = [times for times in signals.spike_times if len(times)]
    if not fired:
        return ""
    where = f"{choices.units_file or label}: units"
    given = choices.sync_offset if choices.units_file is not None else 0.0
    return alignment.checked(np.concatenate(fired), _spans(signals), "spikes", "--units-file", signals.lfp_rate, where, given)


def signal_of(main: Contents, choices: Choices, label: str) -> tuple[Signal, dict[str, str]]:
    """The LFP series that is chosen, or the first that can be used, and what there is to say about the choice."""
    notes: dict[str, str] = {}
    if not main.lfp:
        others = ", ".join(sorted(main.behaviors)) or "no series at all"
        left_out = f" (left out: {main.provenance['left_out']})" if "left_out" in main.provenance else ""
        raise UserError(
            f"{label}: no LFP in it, only {others}{left_out}: add the LFP voltage to the file (NWB: an ElectricalSeries in "
            "processing/ecephys/LFP or acquisition), or name a series of features with --features"
        )
    if choices.lfp:
        return _joined([pick(main.lfp, name, "--lfp", label)[1]() for name in choices.lfp], label), notes
    reasons = []
    for read in main.lfp.values():
        try:
            signal = read()
        except UserError as error:
            reasons.append(error)
            continue
        if reasons:
            notes["lfp_unusable"] = "; ".join(str(reason) for reason in reasons)
        if len(main.lfp) > 1:
            notes["lfp_choices"] = ", ".join(main.lfp)
        return signal, notes
    raise reasons[0]


def behavior_of(sources: Sources, choices: Choices, label: str) -> tuple[BehaviorSeries, str]:
    """The behaviour that is chosen, or the only one there is, and its name."""
    source = sources.behavior or sources.main
    where = str(choices.behavior_file or label)
    wanted: Sequence[str] = choices.behavior
    if not wanted and choices.behavior_file is not None and choices.behavior_file.suffix.lower() in TABLES:
        wanted = tuple(source.behaviors)  # of a table that was named for its behaviour, all columns
    if wanted:
        found = dict(pick(source.behaviors, name, "--behavior", where) for name in wanted)
        series = {name: read() for name, read in found.items()}
    else:
        series, unusable = usable(source.behaviors)
        if not series:
            reasons = "".join(f"; {reason}" for reason in unusable.values())
            left_out = f"; left out: {source.provenance['left_out']}" if "left_out" in source.provenance else ""
            raise UserError(
                f"{where}: no behaviour series: nothing to decode: give a file that has one with --behavior-file{reasons}{left_out}"
            )
        if len(series) > 1:
            raise UserError(f"{where}: several behaviour series: choose one with --behavior: {', '.join(sorted(series))}")
    together = _together(list(series.values()))
    if sources.behavior is not None:
        together = dataclasses.replace(together, times=together.times + choices.sync_offset)
    return together, ", ".join(series)


def _left_out(sources: Sources, choices: Choices) -> list[str]:
    """What the readers of the files say that they left out; of extra files, with their names."""
    is_table = choices.units_file is not None and choices.units_file.suffix.lower() in TABLES  # whose other columns are no spikes
    files = ((sources.main, None), (sources.behavior, choices.behavior_file), (None if is_table else sources.units, choices.units_file))
    told = [(contents.provenance.get("left_out", ""), file) for contents, file in files if contents is not None]
    return [text if file is None else f"{file.name}: {text}" for text, file in told if text]


def units_of(sources: Sources, choices: Choices, notes: dict[str, str]) -> Units:
    """Spike times, on the LFP's clock; broken ones beside an LFP are left out, with a note."""
    if sources.units is None:
        try:
            found = sources.main.units()
            check_units(len(found.times), f"{sources.main.name}: units")
            return _with_known_electrodes(found)
        except UserError as error:
            notes["units_unusable"] = str(error)
            return Units(())
    found, offset = sources.units.units(), choices.sync_offset
    if not found.times:
        raise UserError(f"{choices.units_file}: no spike times in it: name another --units-file")
    check_units(len(found.times), str(choices.units_file))
    found = _with_known_electrodes(found)
    shifted = tuple(times + offset for times in found.times)
    return Units(shifted, tuple(spans + offset for spans in found.observed), found.electrodes)


def _with_known_electrodes(units: Units) -> Units:
    """Units whose electrodes are known: a cell that is empty or no number names none, and then nobody can count them."""
    unnamed = any(each.strip().lower() in _NO_NAME for unit in units.electrodes for each in unit)
    return dataclasses.replace(units, electrodes=()) if unnamed else units


def with_columns(series: BehaviorSeries, taken: NDArray[np.bool_]) -> BehaviorSeries:
    """Some columns of a series; ``taken``: (dims,)."""
    if taken.all():
        return series
    units = units_of_columns(series.unit, len(series.names))
    kept = [unit for unit, one in zip(units, taken, strict=True) if one]
    names = tuple(name for name, one in zip(series.names, taken, strict=True) if one)
    return BehaviorSeries(series.values[:, taken], series.times, names, one_unit(kept))


def _together(series: list[BehaviorSeries]) -> BehaviorSeries:
    """Several series as one, on the clock of the one with most samples."""
    if len(series) == 1:
        return series[0]
    times = max(series, key=lambda one: len(one.times)).times
    columns = [
        one.values if np.array_equal(one.times, times) else interpolated(one.times, one.values, times, one.unit).astype(np.float32)
        for one in series
    ]
    names = tuple(name for one in series for name in one.names)
    units = [one.unit for one in series for _ in one.names]
    return BehaviorSeries(np.concatenate(columns, axis=1), times, names, one_unit(units))


def _joined(signals: list[Signal], label: str) -> Signal:
    """Series that follow one another as one, with pauses between them."""
    if len(signals) == 1:
        return signals[0]
    signals = sorted(signals, key=lambda one: one.clock.start)
    first = signals[0]
    starts: list[tuple[int, float]] = []
    after, missing, samples, recorded = [], [], 0, 0
    for one in signals:
        name = f"{label}: {one.series}"
        if len(one.channels) != len(first.channels) or abs(one.clock.rate / first.clock.rate - 1) > 1e-4 or one.unit != first.unit:
            raise UserError(f"{name}: {len(one.channels)} channels at {one.clock.rate:g} Hz do not continue '{first.series}': leave it out")
        if not np.allclose(one.gain, first.gain, rtol=_SAME_GAIN, atol=0) or not np.array_equal(one.offset, first.offset):
            raise UserError(f"{name}: its gains are not those of '{first.series}': leave it out")
        if starts and one.clock.start < starts[-1][1] + (samples - starts[-1][0]) / first.clock.rate - 0.5 / first.clock.rate:
            raise UserError(f"{name}: it starts at {one.clock.start:.3f} s, before the series before it ends: leave one of them out")
        starts += [(at + samples, time) for at, time in one.clock.starts]
        after.append(one.clock.after + recorded)
        missing.append(one.clock.missing)
        samples, recorded = samples + one.clock.samples, recorded + len(one.data)
    clock = Clock(first.clock.rate, samples, tuple(starts), np.concatenate(after), np.concatenate(missing))
    return dataclasses.replace(
        first,
        series=", ".join(one.series for one in signals),
        data=_in_a_row([one.data for one in signals]),
        clock=clock,
        good=np.logical_and.reduce([one.good for one in signals]),
    )


def _in_a_row(tables: list) -> Rows:
    ends = np.cumsum([len(table) for table in tables])
    dtype = np.result_type(*(table.dtype for table in tables))

    def read(first: int, stop: int) -> NDArray:
        parts = []
        for table, end in zip(tables, ends, strict=True):
            begin = end - len(table)
            if first < end and stop > begin:
                parts.append(np.asarray(table[max(first - begin, 0) : min(stop, end) - begin]).reshape(-1, *tables[0].shape[1:]))
        return np.concatenate(parts).astype(dtype, copy=False)

    return Rows((int(ends[-1]), *tables[0].shape[1:]), dtype, read)


def _trials(
    main: Contents, choices: Choices, label: str, spans: list[tuple[float, float]], rate: float, bin_s: float, notes: dict[str, str]
) -> Intervals | None:
    if choices.segments is None:
        return None
    if choices.segments not in main.intervals and Path(choices.segments).suffix.lower() in TABLES:
        found = sheets.intervals(Path(choices.segments))
    elif choices.segments in main.intervals:
        found = main.intervals[choices.segments]
    else:
        there = ", ".join(main.intervals) or "(there is none)"
        raise UserError(
            f"{label}: --segments {choices.segments}: no such table of intervals: use one of {there}, or a .csv of start and stop"
        )
    found = found[np.argsort(found[:, 0], kind="stable")]
    if not len(found):
        raise UserError(f"{label}: --segments {choices.segments}: it has no interval: choose another table")
    overlaps = found[1:, 0] < found[:-1, 1] - 1e-6
    if overlaps.any():
        row = int(np.argmax(overlaps))
        raise UserError(
            f"{label}: --segments {choices.segments}: the interval from {found[row + 1, 0]:.6g} s begins before the one before it ends "
            f"({found[row, 1]:.6g} s): choose a table of intervals that follow one another"
        )
    outside = alignment.checked_intervals(found, spans, rate, bin_s, f"{label}: --segments {choices.segments}")
    if outside:
        notes["segments_outside"] = outside
    return found


def _spans(recording: Recording) -> list[tuple[float, float]]:
    return [(start, start + (stop - first) / recording.lfp_rate) for first, stop, start in recording.stretches]
