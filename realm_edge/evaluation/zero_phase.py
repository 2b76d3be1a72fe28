"""The LFP features as an implant cannot have them: the same filters forward and backward. Only to measure what causality costs."""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from realm_edge.broadband import Broadband
from realm_edge.evaluation.tasks import Chain
from realm_edge.frontend import LfpFrontend, design, segments_z, sos
from realm_edge.preparation import prepare
from realm_edge.recording import Recording
from realm_edge.segments import Starts, bounds
from realm_edge.session import Session
from realm_edge.settings import Settings


def zero_phase_features(frontend: LfpFrontend, lfp: NDArray[np.int16], starts: Starts = (0,)) -> NDArray[np.float32]:
    """As :func:`realm_edge.frontend.lfp_features`, but every filter runs forward and backward, which doubles its order. A running
    z-score stays as it is: it is a statistic.

    Args:
        frontend: from :func:`realm_edge.frontend.design`.
        lfp: ``(samples, channels)`` ADC counts at ``frontend.rate_hz``; a last, incomplete bin is left out.
        starts: bins at which segments start (:mod:`realm_edge.segments`); filters run within each.

    Returns:
        ``(bins, n_features)``, feature-major.
    """
    length = frontend.samples_per_bin
    spans = bounds(starts, len(lfp) // length)
    features = np.concatenate([_segment_features(frontend, lfp[first * length : stop * length]) for first, stop in spans])
    return segments_z(features, frontend.zscore_bins, starts)


def _segment_features(frontend: LfpFrontend, lfp: NDArray[np.int16]) -> NDArray[np.float32]:
    """Features of one segment, before the running z-score."""
    channels, bins = len(frontend.good), len(lfp) // frontend.samples_per_bin
    common = lfp[:, frontend.good].mean(axis=1) if frontend.common_average else 0.0
    features = np.zeros((bins, 1 + len(frontend.bands), channels), np.float32)
    for channel in np.flatnonzero(frontend.good):  # one at a time: the float64 copies stay small
        y = signal.sosfiltfilt(sos(frontend.pre), lfp[:, channel] - common, padlen=_padding(2 * len(frontend.pre) + 1, len(lfp)))
        features[:, 0, channel] = y.reshape(bins, -1).mean(axis=1)
        for kind, band in enumerate(frontend.bands, 1):
            power = np.square(signal.sosfiltfilt(sos(band), y, padlen=_padding(3, len(lfp)))).reshape(bins, -1).sum(axis=1)
            leak = 1 / frontend.power_bins
            power = signal.filtfilt([leak], [1.0, leak - 1.0], power, padtype="even", padlen=_padding(2, bins))  # odd makes power negative
            features[:, kind, channel] = np.log2(1.0 + power)
    return features.reshape(bins, -1)


def _padding(taps: int, length: int) -> int | None:
    """Samples that scipy mirrors at either end: its default of three times the taps, unless the segment is too short for that."""
    return None if length > 3 * taps else length - 1


def _prepare(recording: Recording, settings: Settings, heldout: bool, broadband: Broadband | None) -> Session:
    session = prepare(recording, settings, heldout, broadband)
    if session.lfp is None:
        return session
    features = zero_phase_features(design(settings, session.good_channels), np.asarray(session.lfp), session.starts)
    return dataclasses.replace(session, features=features)


ZERO_PHASE = Chain("zero phase", _prepare)
WHOLE_SESSION = Chain("zero phase, statistics of the whole session", _prepare, whole_session=True)
