"""From a recording to a session: segments on one grid of bins, resampling, LFP features, spike counts, splits."""

import dataclasses
import tempfile
from collections.abc import Iterator
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from realm_edge.behavior import SAME_TIME_S
from realm_edge.broadband import Broadband
from realm_edge.cutting import Piece, at_front_end_rate, pieces_of, split
from realm_edge.errors import UserError
from realm_edge.frontend import THRESHOLD_SECONDS, design, design_spike, feature_blocks, segments_z, spike_counts, spike_threshold
from realm_edge.progress import Progress, Silent
from realm_edge.readers.counts import LIMIT
from realm_edge.recording import Axes, BehaviorSeries, Recording
from realm_edge.resample import Resampler, same_rate
from realm_edge.session import Session, broadband_block
from realm_edge.settings import Settings, preset
from realm_edge.table import spooled
from realm_edge.targets import check_parts, targets_of, unknown

_SEEN = 0.8  # of the bins in which somebody looked for a unit's spikes, below which the unit is left out


def prepare(
    recording: Recording,
    settings: Settings,
    heldout: bool,
    broadband: Broadband | None = None,
    threshold: NDArray[np.int32] | None = None,
) -> Session:
    """:func:`prepare_in` with LFP and features in memory."""
    with tempfile.TemporaryFile() as spool:
        session = prepare_in(spool, recording, settings, heldout, broadband, threshold)
        if session.lfp is None or session.features is None:
            return session
        return dataclasses.replace(session, lfp=np.asarray(session.lfp), features=np.asarray(session.features))


def prepare_in(
    spool: IO[bytes],
    recording: Recording,
    settings: Settings,
    heldout: bool,
    broadband: Broadband | None = None,
    threshold: NDArray[np.int32] | None = None,
    progress: Progress | None = None,
) -> Session:
    """Put a recording on the bins of ``settings``; one without behaviour gets unknown targets, of the axes that it names.

    A segment starts with the first LFP sample or behaviour sample, whichever is later, after every pause of the LFP, with every trial
    where those were chosen, and at both ends of invalid times, whose bins have unknown targets. The held-out session is split as
    ``settings.split`` says; the others have no test part, and the shares of their training and validation parts are in the same
    proportion. A split moves to a pause that is near. Behaviour gaps up to 1 s are interpolated, but never across a split or a pause;
    other bins carry NaN in all targets.

    Args:
        spool: an empty file, open for reading and writing, that holds LFP and features as long as the session is used.
        recording: in ADC counts at any rate; its LFP is read a block at a time.
        settings: front ends, bins, splits, behaviour transform.
        heldout: whether this is the session that is decoded.
        broadband: of a synthetic recording; its threshold crossings replace the sorted spikes.
        threshold: (channels,) ADC counts, of another session's spike front end; None estimates it from this one.
        progress: notes how much of the LFP has been read.

    Raises:
        UserError: the recording is too short, its LFP is too slow or constant, or its behaviour is unknown in more than
            20 % of the bins; the message names the file.
    """
    label = recording.provenance.get("file", recording.name)
    bin_s = settings.bin_ms / 1000
    notes = dict(recording.provenance)
    resampler = _resampler(recording, settings, label)
    slow = [band for band in preset(settings.preset).lfp.bands_hz if band not in settings.lfp.bands_hz and 2 * band[1] > recording.lfp_rate]
    if recording.lfp is not None and slow:
        bands = ", ".join(f"{low:g} to {high:g} Hz" for low, high in slow)
        notes["bands"] = (
            f"LFP at {recording.lfp_rate:g} Hz has no {bands}: left out of the preset's bands; lfp.bands_hz in --config sets others"
        )
    pieces = pieces_of(recording, settings, resampler, notes)
    starts = np.cumsum([0, *(piece.bins for piece in pieces[:-1])]).astype(np.int64)
    bins = sum(piece.bins for piece in pieces)
    train_end, validation_end = split(bins, settings, heldout, label, starts)
    ends = np.concatenate([piece.start + bin_s * np.arange(1, piece.bins + 1) for piece in pieces])
    valid = np.repeat([piece.valid for piece in pieces], [piece.bins for piece in pieces])
    counts, unseen, electrodes = _unit_counts(recording, pieces, bin_s, valid, notes)
    valid &= ~unseen
    origins = np.repeat([piece.start for piece in pieces], [piece.bins for piece in pieces])
    edges = np.unique([edge for piece in pieces for edge in (piece.start, piece.start + piece.bins * bin_s)])
    edges = np.unique(np.concatenate([edges, ends[[train_end - 1, validation_end - 1]]]) - settings.output_delay_ms / 1000)
    times = ends - settings.output_delay_ms / 1000
    behavior = BehaviorSeries(recording.behavior, recording.behavior_times, recording.behavior_names, recording.behavior_unit)
    if len(behavior.times):
        known = valid & ~((times < origins - SAME_TIME_S) & (origins > origins[0]))  # before the segment lies the one before
        targets, names, unit = targets_of(behavior, settings, times, edges, valid, known, label, notes)
        check_parts(targets, names, {"training": train_end, "validation": validation_end, "test": bins}, label, notes)
    else:
        targets, names, unit = unknown(bins, Axes(behavior.names, behavior.unit))
    lfp, good, features, delay = None, np.ones(0, bool), None, 0.0
    if recording.lfp is not None:
        samples, channels = settings.lfp_samples_per_bin, recording.lfp.shape[1]
        watched = _Watched(channels, train_end * samples, bins * samples, progress or Silent())
        lfp = spooled(spool, watched.through(at_front_end_rate(recording, pieces, resampler, samples)), channels, np.int16)
        delay = recording.lfp_delay_s
        if resampler is not None:
            delay += resampler.delay_s
            notes["resampled"] = (
                f"LFP {resampler.rate:.9g} Hz to {resampler.new_rate:g} Hz; a sample looks {1e3 * resampler.delay_s:.2f} ms ahead, "
                "which counts as latency"
            )
        good = _good_channels(watched.changes, recording.good_channels, label)
        clipped = watched.clipped * good
        if recording.lfp_clips and clipped.any():
            worst = int(np.argmax(clipped))
            notes["clipped"] = (
                f"{int(clipped.sum())} sample(s) clipped at full scale, channel {(recording.channels or range(channels))[worst]} in "
                f"{100 * clipped[worst] / len(lfp):.3g} % of the time"
            )
        frontend = design(settings, good)
        features = spooled(spool, feature_blocks(frontend, lfp, starts), frontend.n_features, np.float32)
    if counts is not None:
        counts = segments_z(counts, settings.spike.zscore_bins, starts)
    session = Session(
        name=recording.name,
        heldout=heldout,
        synthetic=recording.synthetic,
        targets=targets,
        target_names=names,
        target_unit=unit,
        train_end=train_end,
        validation_end=validation_end,
        lfp=lfp,
        good_channels=good,
        features=cast("NDArray[np.float32] | None", features),  # a table of the spool, which the session is saved from
        counts=counts,
        spike_source="none" if counts is None else "units",
        spike_electrodes=electrodes,
        spike_threshold=None,
        broadband=None,
        provenance=notes,
        starts=starts,
        valid=valid,
        resampling_delay_s=delay,
    )
    return session if broadband is None else _with_crossings(session, broadband, settings, threshold)


def _resampler(recording: Recording, settings: Settings, label: str) -> Resampler | None:
    """What brings the LFP to the front end's rate; None where it has that rate."""
    if recording.lfp is None:
        return None
    top = max((high for _, high in settings.lfp.bands_hz), default=0.0)
    if recording.lfp_rate < 2 * top:
        raise UserError(f"{label}: LFP at {recording.lfp_rate:g} Hz is too slow for a band up to {top:g} Hz: lower lfp.bands_hz")
    if same_rate(recording.lfp_rate, settings.lfp.rate_hz, len(recording.lfp)):
        return None
    try:
        return Resampler(recording.lfp_rate, settings.lfp.rate_hz)
    except UserError as error:
        raise UserError(f"{label}: LFP: {error}") from error


class _Watched:
    """What is noticed of the LFP while it passes: channels that never change in the training part, and samples at full scale."""

    def __init__(self, channels: int, training: int, total: int, progress: Progress) -> None:
        self.changes = np.zeros(channels, bool)
        self.clipped = np.zeros(channels, np.int64)
        self._training, self._first = training, np.zeros(0, np.int16)
        self._total, self._progress = total, progress

    def through(self, parts: Iterator[NDArray]) -> Iterator[NDArray]:
        left, seen = self._training, 0
        for part in parts:
            seen += len(part)
            self._progress.note(f"LFP: {100 * seen / self._total:.0f} %")
            if not len(self._first):
                self._first = part[:1]
            self.changes |= (part[: max(left, 0)] != self._first).any(axis=0)
            self.clipped += np.count_nonzero(np.abs(part.astype(np.int32)) >= LIMIT, axis=0)
            left -= len(part)
            yield part


def _good_channels(changes: NDArray[np.bool_], given: NDArray[np.bool_] | None, label: str) -> NDArray[np.bool_]:
    """Channels that the recording does not mask and that are not constant over the training part."""
    good = changes if given is None else changes & given
    if not good.any():
        raise UserError(f"{label}: all {len(good)} LFP channels are constant or masked: nothing to decode from")
    return good


def _unit_counts(
    recording: Recording, pieces: list[Piece], bin_s: float, valid: NDArray[np.bool_], notes: dict[str, str]
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_], int | None]:
    """Spikes a bin, ``(bins, units)``, None without spikes, the bins in which nobody looked for them, ``(bins,)``, and how many electrodes
    the units come from, None where nobody says.

    A unit that was looked for in less than 80 % of the bins is left out: its silence says nothing, and too little would be left.
    """
    bins = len(valid)
    nowhere = np.zeros(bins, bool)
    if not any(len(times) for times in recording.spike_times):
        return None, nowhere, None
    seen = np.ones((bins, len(recording.spike_times)), bool)
    counts = np.zeros((bins, len(recording.spike_times)), np.float32)
    first = 0
    for piece in pieces:
        here = slice(first, first + piece.bins)
        begin: NDArray[np.float64] = piece.start + bin_s * np.arange(piece.bins, dtype=np.float64)
        for unit, times in enumerate(recording.spike_times):
            index = np.floor((times - piece.start + SAME_TIME_S) / bin_s).astype(np.int64)
            counts[here, unit] = np.bincount(index[(index >= 0) & (index < piece.bins)], minlength=piece.bins)
            if recording.spike_observed:
                seen[here, unit] = _inside(recording.spike_observed[unit], begin, begin + bin_s)
        first += piece.bins
    never = seen.sum(axis=1) * 2 < seen.shape[1]  # most units: nobody looked
    kept = seen[~never].mean(axis=0) >= _SEEN if (~never).any() else np.zeros(seen.shape[1], bool)
    if not kept.any():
        notes["unobserved"] = "no unit is observed in 80 % of the bins: the spikes are left out"
        return None, nowhere, None
    if not kept.all():
        notes["unobserved"] = (
            f"units {', '.join(map(str, np.flatnonzero(~kept)[:12]))} are observed in less than 80 % of the bins: left out"
        )
    named = {each for unit, found_on in enumerate(recording.unit_electrodes) if kept[unit] for each in found_on}
    return counts[:, kept], np.asarray(~seen[:, kept].all(axis=1)), recording.spike_electrodes or len(named) or None


def _inside(intervals: NDArray[np.float64], begin: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which bins lie within one of the intervals."""
    found = np.zeros(len(begin), bool)
    for low, high in intervals:
        found |= (begin >= low - SAME_TIME_S) & (end <= high + SAME_TIME_S)
    return found


def _with_crossings(session: Session, broadband: Broadband, settings: Settings, threshold: NDArray[np.int32] | None) -> Session:
    """Replace the counts of sorted units by what the spike front end makes of the broadband signal."""
    session = dataclasses.replace(session, broadband=broadband, spike_source="broadband")
    a_second = max(1, 1000 // settings.bin_ms)
    blocks = ((start, min(a_second, session.bins - start)) for start in range(0, session.bins, a_second))
    if threshold is None:
        threshold = spike_threshold(settings, broadband_block(session, settings, 0, min(THRESHOLD_SECONDS * a_second, session.train_end)))
    found = (broadband_block(session, settings, *block) for block in blocks)
    counts = spike_counts(design_spike(settings, threshold), found, session.starts)
    return dataclasses.replace(session, counts=counts, spike_threshold=threshold)
