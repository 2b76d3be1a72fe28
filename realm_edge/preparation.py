"""From a recording to a session: one grid of bins, causal resampling, LFP features, spike counts, splits."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from realm_edge.broadband import Broadband
from realm_edge.errors import UserError
from realm_edge.frontend import THRESHOLD_SECONDS, design, design_spike, lfp_features, running_z, spike_counts, spike_threshold
from realm_edge.recording import Recording
from realm_edge.resample import to_counts, to_rate
from realm_edge.session import Session, broadband_block
from realm_edge.settings import Settings

_GAP_S = 1.0  # unknown behaviour no longer than this is interpolated
_MAX_UNKNOWN = 0.2  # share of the bins
_SAME_TIME_S = 1e-6  # two clock readings closer than this are the same


def prepare(
    recording: Recording,
    settings: Settings,
    heldout: bool,
    broadband: Broadband | None = None,
    threshold: NDArray[np.int32] | None = None,
) -> Session:
    """Put a recording on the bins of ``settings``.

    The session starts with the first LFP sample or behaviour sample, whichever is later. The held-out session is split
    as ``settings.split`` says; the others have no test part, and the shares of their training and validation parts are
    in the same proportion. Behaviour gaps up to 1 s are interpolated; the bins of longer ones carry NaN in all targets.

    Args:
        recording: in ADC counts at any rate.
        settings: front ends, bins, splits, behaviour transform.
        heldout: whether this is the session that is decoded.
        broadband: of a synthetic recording; its threshold crossings replace the sorted spikes.
        threshold: (channels,) ADC counts, of another session's spike front end; None estimates it from this one.

    Raises:
        UserError: the recording is too short, its LFP is too slow or constant, or its behaviour is unknown in more than
            20 % of the bins; the message names the file.
    """
    label = recording.provenance.get("file", recording.name)
    bin_s = settings.bin_ms / 1000
    origin = max(recording.lfp_start if recording.lfp is not None else -math.inf, float(recording.behavior_times[0]))
    bins = max(0, math.floor((recording.seconds - origin + _SAME_TIME_S) / bin_s))
    notes = dict(recording.provenance)

    raw, lfp, delay = None, None, 0.0
    if recording.lfp is not None:
        raw = recording.lfp[round((origin - recording.lfp_start) * recording.lfp_rate) :]
        lfp, delay = _at_front_end_rate(raw, recording.lfp_rate, settings, label)
        bins = min(bins, len(lfp) // settings.lfp_samples_per_bin)
        lfp = lfp[: bins * settings.lfp_samples_per_bin]
        if delay:
            notes["resampled"] = f"LFP {recording.lfp_rate:g} Hz to {settings.lfp.rate_hz} Hz, {1e3 * delay:.2f} ms late"
        delay += recording.lfp_delay_s
    train_end, validation_end = split(bins, settings, heldout, label)
    ends = origin + bin_s * np.arange(1, bins + 1)
    targets, unit = _targets(recording, settings, ends - settings.output_delay_ms / 1000, label, notes)
    good, features = np.ones(0, bool), None
    if raw is not None and lfp is not None:
        good = _good_channels(raw[: round(train_end * bin_s * recording.lfp_rate)], recording.good_channels, label)
        features = lfp_features(design(settings, good), lfp)
    has_units = any(len(times) for times in recording.spike_times)
    counts = running_z(_unit_counts(recording.spike_times, origin, bin_s, bins), settings.spike.zscore_bins) if has_units else None
    session = Session(
        name=recording.name,
        heldout=heldout,
        synthetic=recording.synthetic,
        targets=targets,
        target_names=recording.behavior_names,
        target_unit=unit,
        train_end=train_end,
        validation_end=validation_end,
        lfp=lfp,
        good_channels=good,
        features=features,
        counts=counts,
        spike_source="units" if has_units else "none",
        spike_threshold=None,
        broadband=None,
        provenance=notes,
        resampling_delay_s=delay,
    )
    return session if broadband is None else _with_crossings(session, broadband, settings, threshold)


def _at_front_end_rate(raw: NDArray[np.int16], rate: float, settings: Settings, label: str) -> tuple[NDArray[np.int16], float]:
    """The LFP resampled, and its delay in s."""
    top = max((high for _, high in settings.lfp.bands_hz), default=0.0)
    if rate < 2 * top:
        raise UserError(f"{label}: LFP at {rate:g} Hz is too slow for a band up to {top:g} Hz: lower lfp.bands_hz")
    try:
        resampled, delay = to_rate(raw, rate, settings.lfp.rate_hz)
    except UserError as error:
        raise UserError(f"{label}: LFP: {error}") from error
    return to_counts(resampled), delay


def split(bins: int, settings: Settings, heldout: bool, label: str) -> tuple[int, int]:
    """Ends of the training and the validation part, as :func:`prepare` divides sessions.

    Raises:
        UserError: a part is shorter than a training window; ``label`` names the recording.
    """
    train, validation = settings.split.train, settings.split.validation
    whole = 1.0 if heldout else train + validation
    train_end, validation_end = round(bins * train / whole), round(bins * (train + validation) / whole)
    parts = {"training": train_end, "validation": validation_end - train_end, **({"test": bins - validation_end} if heldout else {})}
    shortest = min(parts, key=lambda part: parts[part])
    if parts[shortest] < settings.window_bins:
        share = {"training": train, "validation": validation, "test": 1 - train - validation}[shortest] / whole
        needed = math.ceil(settings.window_bins / share * settings.bin_ms / 1000)
        raise UserError(
            f"{label}: its {bins * settings.bin_ms / 1000:g} s leave {parts[shortest]} bins for the {shortest} part, less than one "
            f"training window of {settings.window_bins} bins: use a recording of {needed} s or more, or lower window_bins"
        )
    return train_end, validation_end


def _targets(
    recording: Recording, settings: Settings, times: NDArray[np.floating], label: str, notes: dict[str, str]
) -> tuple[NDArray[np.float32], str]:
    """Behaviour ``(len(times), dims)`` at ``times`` and its unit; what was filled is added to ``notes``."""
    known = np.asarray(np.isfinite(recording.behavior).all(axis=1))
    series = ", ".join(recording.behavior_names)
    if not known.any():
        raise UserError(f"{label}: behaviour '{series}' is NaN throughout: choose another series with --behavior")
    at, values = recording.behavior_times[known], recording.behavior[known].astype(np.float64)
    targets = np.stack([np.interp(times, at, column) for column in values.T], axis=1)
    # A bin is known when the known samples on both of its sides (or one right at its end) are not too far apart.
    period = float(np.median(np.diff(recording.behavior_times))) if len(known) > 1 else 0.0
    before, after = np.searchsorted(at, times + _SAME_TIME_S, "right") - 1, np.searchsorted(at, times - _SAME_TIME_S)
    unknown = (before < 0) | (after == len(at))
    unknown |= at[np.minimum(after, len(at) - 1)] - at[before] > _GAP_S + period
    if unknown.mean() > _MAX_UNKNOWN:
        raise UserError(
            f"{label}: behaviour '{series}' is NaN in {100 * unknown.mean():.0f} % of the bins, more than {100 * _MAX_UNKNOWN:.0f} %: "
            "choose another series with --behavior, or interpolate or crop the recording"
        )
    if not known.all():
        left = int(unknown.sum())
        notes["behavior_gaps"] = f"{int((~known).sum())} samples unknown; interpolated up to {_GAP_S:g} s, {left} bins left unknown"
    targets[unknown] = np.nan
    if settings.behavior_transform == "log":
        return np.log1p(np.maximum(targets, 0.0)).astype(np.float32), f"ln({recording.behavior_unit} + 1)"
    return targets.astype(np.float32), recording.behavior_unit


def _good_channels(training: NDArray[np.int16], given: NDArray[np.bool_] | None, label: str) -> NDArray[np.bool_]:
    """Channels that the recording does not mask and that are not constant over the training part."""
    good = (training != training[0]).any(axis=0)
    if given is not None:
        good &= given
    if not good.any():
        raise UserError(f"{label}: all {len(good)} LFP channels are constant or masked: nothing to decode from")
    return good


def _unit_counts(spike_times: tuple[NDArray[np.float64], ...], origin: float, bin_s: float, bins: int) -> NDArray[np.float32]:
    counts = np.zeros((bins, len(spike_times)), np.float32)
    for unit, times in enumerate(spike_times):
        index = np.floor((times - origin) / bin_s).astype(np.int64)
        counts[:, unit] = np.bincount(index[(index >= 0) & (index < bins)], minlength=bins)
    return counts


def _with_crossings(session: Session, broadband: Broadband, settings: Settings, threshold: NDArray[np.int32] | None) -> Session:
    """Replace the counts of sorted units by what the spike front end makes of the broadband signal."""
    session = dataclasses.replace(session, broadband=broadband, spike_source="broadband")
    a_second = max(1, 1000 // settings.bin_ms)
    blocks = ((start, min(a_second, session.bins - start)) for start in range(0, session.bins, a_second))
    if threshold is None:
        threshold = spike_threshold(settings, broadband_block(session, settings, 0, min(THRESHOLD_SECONDS * a_second, session.train_end)))
    counts = spike_counts(design_spike(settings, threshold), (broadband_block(session, settings, *block) for block in blocks))
    return dataclasses.replace(session, counts=counts, spike_threshold=threshold)
