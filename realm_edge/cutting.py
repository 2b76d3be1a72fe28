"""Where a recording is cut: into segments on a grid of bins, and these into training, validation and test part."""

import dataclasses
import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from realm_edge.behavior import SAME_TIME_S
from realm_edge.errors import UserError
from realm_edge.recording import Recording
from realm_edge.resample import Resampler, to_counts
from realm_edge.segments import Starts
from realm_edge.settings import Settings
from realm_edge.table import block_rows

_NEAR = 0.05  # of a session, within which a split moves to the next pause


@dataclasses.dataclass(frozen=True)
class Piece:
    """A segment: bins one after the other, from a time on."""

    start: float  # s
    bins: int
    valid: bool  # False in the recording's invalid times
    sample: int = 0  # of the LFP, at the start
    begin: int = 0  # the stretch of LFP that it lies in: first sample and end
    end: int = 0


def pieces_of(recording: Recording, settings: Settings, resampler: Resampler | None, notes: dict[str, str]) -> list[Piece]:
    """The segments of a recording, in order."""
    bin_s = settings.bin_ms / 1000
    known = (0.0, 0.0) if recording.lfp is None else (-math.inf, math.inf)  # without any behaviour, all of the LFP counts
    if len(recording.behavior_times):
        known = (float(recording.behavior_times[0]), float(recording.behavior_times[-1]))
    if recording.lfp is None:
        stretches = [(0, 0, known[0], known[1])]
    else:
        rate = recording.lfp_rate
        stretches = [(first, stop, start, start + (stop - first) / rate) for first, stop, start in recording.stretches]
    found, short, without = [], 0, 0.0  # pieces, how many were too short, and s of LFP before and after all behaviour
    for first, stop, start, end in stretches:
        whole = [(max(start, known[0]), min(end, known[1]))]
        without += (end - start) - max(0.0, whole[0][1] - whole[0][0]) if recording.lfp is not None else 0.0
        for low, high in whole if recording.trials is None else _overlaps(recording.trials, *whole[0]):
            for begin, until, valid in _around(recording.invalid, low, high):
                piece = _piece(begin, until, valid, (first, stop, start), recording, settings, resampler, bin_s)
                if piece.bins > 0:
                    found.append(piece)
                else:
                    short += 1
    steps = np.diff(recording.behavior_times)
    if without > bin_s + max(bin_s, float(np.median(steps)) if len(steps) else 0.0) + SAME_TIME_S:  # beyond what rounding leaves
        notes["without_behavior"] = (
            f"{without:.3f} s of the LFP lie before or after the behaviour ({known[0]:.3f} to {known[1]:.3f} s): left out"
        )
    if short:
        notes["short_segments"] = f"{short} shorter than a bin of {settings.bin_ms} ms, left out"
    if len(found) > 1:
        lengths = [piece.bins * bin_s for piece in found]
        notes["segments"] = (
            f"{len(found)}, of {min(lengths):.3g} to {max(lengths):.3g} s; filters, lags and decoder states start anew at each"
        )
    return found or [Piece(max(known[0], 0.0), 0, True)]


def _piece(
    begin: float,
    until: float,
    valid: bool,
    stretch: tuple[int, int, float],
    recording: Recording,
    settings: Settings,
    resampler: Resampler | None,
    bin_s: float,
) -> Piece:
    first, stop, start = stretch
    if recording.lfp is None:
        return Piece(begin, max(0, math.floor((until - begin + SAME_TIME_S) / bin_s)), valid)
    rate = recording.lfp_rate if resampler is not None else float(settings.lfp.rate_hz)
    sample = max(first, first + math.ceil((begin - start) * rate - SAME_TIME_S * rate))
    at = start + (sample - first) / rate
    there = max(0, stop - sample) if resampler is None else resampler.length(sample, stop, stop)
    bins = min(math.floor((until - at + SAME_TIME_S) / bin_s), there // settings.lfp_samples_per_bin)
    return Piece(at, max(0, bins), valid, sample, first, stop)


def _overlaps(intervals: NDArray[np.float64], low: float, high: float) -> list[tuple[float, float]]:
    """The parts of the intervals that lie between two times."""
    clipped = np.clip(intervals, low, high)
    return [(float(a), float(b)) for a, b in clipped if b > a]


def _around(invalid: NDArray[np.float64], low: float, high: float) -> list[tuple[float, float, bool]]:
    """From ``low`` to ``high``, cut at the ends of invalid intervals; each part with whether it is valid."""
    inside = _overlaps(invalid, low, high)
    cuts = sorted({low, high, *(edge for interval in inside for edge in interval)})
    return [(a, b, not any(x <= a and b <= y for x, y in inside)) for a, b in pairwise(cuts)]


def at_front_end_rate(recording: Recording, pieces: list[Piece], resampler: Resampler | None, samples_per_bin: int) -> Iterator[NDArray]:
    """The LFP of all segments at the front end's rate, a block at a time."""
    assert recording.lfp is not None
    for piece in pieces:
        wanted = piece.bins * samples_per_bin
        if resampler is None:
            rows = block_rows(recording.lfp.shape)
            stop = piece.sample + wanted
            yield from (recording.lfp[at : min(at + rows, stop)] for at in range(piece.sample, stop, rows))
            continue
        stop = min(piece.end, piece.sample + math.ceil(wanted * resampler.rate / resampler.new_rate) + 1)
        for block in resampler.blocks(recording.lfp, piece.sample, stop, piece.begin, piece.end):
            yield to_counts(block[:wanted])
            wanted -= min(wanted, len(block))


def split(bins: int, settings: Settings, heldout: bool, label: str, starts: Starts = (0,)) -> tuple[int, int]:
    """Ends of the training and the validation part, as :func:`prepare` divides sessions.

    Args:
        starts: bins at which segments start; a split moves to one of them that is within 5 % of the session.

    Raises:
        UserError: a part is shorter than a training window; ``label`` names the recording.
    """
    train, validation = settings.split.train, settings.split.validation
    whole = 1.0 if heldout else train + validation
    train_end, validation_end = split_ends(bins, settings, whole)
    near_train, near_validation = (_nearest(starts, end, bins) for end in (train_end, validation_end))
    if near_train < near_validation and (near_validation < bins or not heldout):
        train_end, validation_end = near_train, near_validation
    parts = {"training": train_end, "validation": validation_end - train_end, **({"test": bins - validation_end} if heldout else {})}
    shortest = min(parts, key=lambda part: parts[part])
    if parts[shortest] < settings.window_bins:
        share = {"training": train, "validation": validation, "test": 1 - train - validation}[shortest] / whole
        needed = math.ceil(settings.window_bins / share * settings.bin_ms / 1000)
        raise UserError(
            f"{label}: its {bins * settings.bin_ms / 1000:g} s leave {parts[shortest]} bins for the {shortest} part, less than one "
            f"training window of {settings.window_bins} bins: use a recording of {needed} s or more, or lower window_bins (and "
            "pretrain.block_bins, which stay below it)"
        )
    return train_end, validation_end


def split_ends(bins: int, settings: Settings, whole: float = 1.0) -> tuple[int, int]:
    """Ends of the training and the validation part by the settings' shares alone; ``whole`` is the share that the bins are."""
    train, validation = settings.split.train, settings.split.validation
    return round(bins * train / whole), round(bins * (train + validation) / whole)


def _nearest(starts: Starts, end: int, bins: int) -> int:
    """A start of a segment that is near, or the end itself."""
    inner = np.asarray(starts)[1:]
    near = inner[np.abs(inner - end) <= _NEAR * bins]
    return int(near[np.argmin(np.abs(near - end))]) if end < bins and len(near) else end
