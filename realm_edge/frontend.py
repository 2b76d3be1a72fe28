"""What the implant computes from ADC samples: LFP features and threshold crossings, causal and in float64.

These are the definitions that the step graphs of the firmware reproduce: every filter is a second-order section
``b0 b1 b2 a1 a2`` (``a0 = 1``) that starts at rest with the first sample of each segment.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from realm_edge.segments import Starts, bounds, within
from realm_edge.settings import Settings
from realm_edge.table import BLOCK_VALUES, Table

ZSCORE_SD = float(np.sqrt(np.pi / 2))  # standard deviation over mean absolute deviation, for Gaussian x
ZSCORE_FLOOR = 1 / 32  # smallest mean absolute deviation, in ADC counts, log2 power or spikes: constant features have none
COMMON_AVERAGE_MIN_CHANNELS = 4  # the mean of fewer channels is mostly the channel itself
THRESHOLD_SECONDS = 10  # of the recording's start, from which the spike threshold is estimated
_MEDIAN_TO_SD = 0.6745  # median of |x| over its standard deviation for Gaussian x (Quian Quiroga et al. 2004, eq. 3.1)


@dataclass(frozen=True)
class LfpFrontend:
    """LFP front end of one array.

    A tick takes the ADC counts of all channels, subtracts the mean of the good channels (``common_average``), sets
    the bad channels to 0, applies ``pre`` and accumulates the result and, for each band, the square of its
    band-passed copy. At a bin's last tick the features are [mean of the result (local motor potential), log2(1 + mean
    power) of band 0, band 1, ...], each for all channels. The mean power starts at 0 and moves by 1 / ``power_bins`` of the
    way to the bin's sum of squares. With ``zscore_bins`` the features are what :func:`running_z` makes of these.
    """

    rate_hz: int
    samples_per_bin: int
    good: NDArray[np.bool_]  # (channels,)
    common_average: bool  # only when there are at least 4 good channels
    pre: NDArray[np.float64]  # (n_pre, 5), b0 b1 b2 a1 a2, applied in order: high-pass, then the line notch if there is one
    bands: NDArray[np.float64]  # (n_bands, 5), each applied to the output of ``pre``
    power_bins: int
    zscore_bins: int

    @property
    def n_features(self) -> int:
        return len(self.good) * (1 + len(self.bands))


@dataclass(frozen=True)
class SpikeFrontend:
    """Spike front end of the baseline: high-pass, one count for each downward crossing of a channel's threshold, :func:`running_z`."""

    rate_hz: int
    samples_per_bin: int
    highpass: NDArray[np.float64]  # (5,), b0 b1 b2 a1 a2
    threshold: NDArray[np.int32]  # (channels,), ADC counts, negative
    zscore_bins: int


def design(settings: Settings, good_channels: NDArray[np.bool_]) -> LfpFrontend:
    """Design the LFP front end: Butterworth high-pass (order 2), line notch, one Butterworth band-pass section a band."""
    lfp = settings.lfp
    pre = [_section(*signal.butter(2, lfp.highpass_hz, "highpass", fs=lfp.rate_hz))]
    if lfp.line_hz > 0:
        pre.append(_section(*signal.iirnotch(lfp.line_hz, lfp.line_q, fs=lfp.rate_hz)))
    bands = [_section(*signal.butter(1, band, "bandpass", fs=lfp.rate_hz)) for band in lfp.bands_hz]
    good = np.array(good_channels, dtype=bool)
    return LfpFrontend(
        rate_hz=lfp.rate_hz,
        samples_per_bin=settings.lfp_samples_per_bin,
        good=good,
        common_average=int(good.sum()) >= COMMON_AVERAGE_MIN_CHANNELS,
        pre=np.array(pre),
        bands=np.array(bands).reshape(-1, 5),
        power_bins=lfp.power_bins,
        zscore_bins=lfp.zscore_bins,
    )


def filter_delay_s(settings: Settings) -> float:
    """Group delay of the latest band at its geometric centre, with the high-pass before it, s; 0 without bands.

    A band is late by about 1 / (pi width). The notch is left out, as it delays the line and little else; so is the high-pass of spikes,
    0.1 ms at 1 kHz.
    """
    lfp = settings.lfp
    sections = design(settings, np.ones(1, bool))
    late = 0.0
    for (low, high), band in zip(lfp.bands_hz, sections.bands, strict=True):
        chain = sos(np.vstack([sections.pre[:1], band]))
        samples = sum(signal.group_delay((one[:3], one[3:]), [np.sqrt(low * high)], fs=lfp.rate_hz)[1][0] for one in chain)
        late = max(late, float(samples) / lfp.rate_hz)
    return late


def averaging_s(settings: Settings) -> float:
    """Mean age of what the leaky mean of a band's power holds, beyond the bin itself; 0 without bands."""
    return (settings.lfp.power_bins - 1) * settings.bin_ms / 1000 if settings.lfp.bands_hz else 0.0


def lfp_features(frontend: LfpFrontend, lfp: Table, starts: Starts = (0,)) -> NDArray[np.float32]:
    """Compute the features of every whole bin, each segment from rest.

    Args:
        frontend: from :func:`design`.
        lfp: ``(samples, channels)`` ADC counts at ``frontend.rate_hz``; a last, incomplete bin is left out.
        starts: bins at which segments start (:mod:`realm_edge.segments`).

    Returns:
        ``(bins, n_features)``, feature-major: the mean of all channels in ADC counts, then for each band the log2 power
        of all channels; z-scores of these where ``frontend.zscore_bins`` is not 0.
    """
    none = np.empty((0, frontend.n_features), np.float32)
    return np.concatenate([none, *feature_blocks(frontend, lfp, starts)])


def feature_blocks(frontend: LfpFrontend, lfp: Table, starts: Starts) -> Iterator[NDArray[np.float32]]:
    """:func:`lfp_features`, a block of bins at a time; ``lfp`` is never in memory as a whole."""
    for start, stop in bounds(starts, len(lfp) // frontend.samples_per_bin):
        yield from running_z_blocks(_segment_features(frontend, lfp, start, stop), frontend.zscore_bins)


def _segment_features(frontend: LfpFrontend, lfp: Table, first: int, end: int) -> Iterator[NDArray[np.float32]]:
    """Features of the bins of one segment, before the running z-score."""
    channels = len(frontend.good)
    pre_state = np.zeros((len(frontend.pre), 2, channels))
    band_states = [np.zeros((1, 2, channels)) for _ in frontend.bands]
    power_states = np.zeros((len(frontend.bands), 1, channels))
    leak = 1 / frontend.power_bins
    chunk = max(1, BLOCK_VALUES // channels // frontend.samples_per_bin)
    for start in range(first, end, chunk):
        stop = min(start + chunk, end)
        features = np.empty((stop - start, frontend.n_features), np.float32)
        x = np.asarray(lfp[start * frontend.samples_per_bin : stop * frontend.samples_per_bin], np.float64)
        if frontend.common_average:
            x -= x[:, frontend.good].mean(axis=1, keepdims=True)
        x[:, ~frontend.good] = 0.0
        y, pre_state = signal.sosfilt(sos(frontend.pre), x, axis=0, zi=pre_state)
        features[:, :channels] = _by_bin(y, frontend.samples_per_bin).mean(axis=1)
        for i, band in enumerate(frontend.bands):
            z, band_states[i] = signal.sosfilt(sos(band), y, axis=0, zi=band_states[i])
            power = _by_bin(np.square(z, out=z), frontend.samples_per_bin).sum(axis=1)
            power, power_states[i] = signal.lfilter([leak], [1.0, leak - 1.0], power, axis=0, zi=power_states[i])
            features[:, (i + 1) * channels : (i + 2) * channels] = np.log2(1.0 + power)
        yield features


def spike_threshold(settings: Settings, broadband: NDArray[np.int16]) -> NDArray[np.int32]:
    """Estimate each channel's threshold from the recording's start.

    Args:
        settings: ``settings.spike`` decides the high-pass and the multiple of the noise level.
        broadband: ``(samples, channels)`` ADC counts, the first :data:`THRESHOLD_SECONDS` of the training part.

    Returns:
        ``(channels,)`` ADC counts: ``-round(threshold_sd * median(|y|) / 0.6745)``, at most -1 (a dead channel has no noise).
    """
    y = signal.sosfilt(sos(_highpass(settings)), broadband.astype(np.float64), axis=0)
    sd = np.median(np.abs(y), axis=0) / _MEDIAN_TO_SD
    return -np.maximum(np.rint(settings.spike.threshold_sd * sd), 1).astype(np.int32)


def design_spike(settings: Settings, threshold: NDArray[np.int32]) -> SpikeFrontend:
    """Design the spike front end: Butterworth high-pass (order 2) and the thresholds of :func:`spike_threshold`."""
    spike = settings.spike
    return SpikeFrontend(spike.rate_hz, settings.spike_samples_per_bin, _highpass(settings), threshold, spike.zscore_bins)


def spike_counts(frontend: SpikeFrontend, blocks: Iterable[NDArray[np.int16]], starts: Starts = (0,)) -> NDArray[np.float32]:
    """Count threshold crossings a bin over consecutive blocks of one recording, each segment from rest.

    A crossing is a filtered sample below the threshold whose predecessor (0 before the first) is not.

    Args:
        frontend: from :func:`design_spike`.
        blocks: ``(samples, channels)`` ADC counts at ``frontend.rate_hz``, each a whole number of bins long.
        starts: bins at which segments start (:mod:`realm_edge.segments`).

    Returns:
        ``(bins, channels)`` counts; z-scores of these where ``frontend.zscore_bins`` is not 0.

    Raises:
        ValueError: a block does not hold a whole number of bins.
    """
    state = at_rest = np.zeros((1, 2, len(frontend.threshold)))
    below = np.zeros((1, len(frontend.threshold)), bool)  # the sample before the block
    counts = [np.empty((0, len(frontend.threshold)), np.float32)]
    bin_ = 0
    for block in blocks:
        if len(block) % frontend.samples_per_bin:
            raise ValueError(f"a block of {len(block)} samples does not hold whole bins of {frontend.samples_per_bin}")
        bins = len(block) // frontend.samples_per_bin
        for start, stop in bounds(within(starts, bin_, bin_ + bins), bins):
            if bin_ + start in starts:
                state, below = at_rest, np.zeros_like(below[-1:])
            samples = block[start * frontend.samples_per_bin : stop * frontend.samples_per_bin].astype(np.float64)
            y, state = signal.sosfilt(sos(frontend.highpass), samples, axis=0, zi=state)
            below = np.concatenate([below[-1:], y < frontend.threshold])
            crossings = below[1:] & ~below[:-1]
            counts.append(_by_bin(crossings, frontend.samples_per_bin).sum(axis=1, dtype=np.float32))
        bin_ += bins
    return segments_z(np.concatenate(counts), frontend.zscore_bins, starts)


def segments_z(x: NDArray[np.float32], bins: int, starts: Starts) -> NDArray[np.float32]:
    """:func:`running_z` of each segment by itself."""
    return np.concatenate([running_z(x[start:stop], bins) for start, stop in bounds(starts, len(x))])


def running_z(x: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Features in robust standard deviations from their own running mean, so that slow changes of gain and offset cancel.

    m' = m + (x - m) / w;  d' = d + (|x - m'| - d) / w;  z = (x - m') / (ZSCORE_SD * max(d', ZSCORE_FLOOR)), from m = d = 0.
    w is the largest power of two that neither ``bins`` nor the number of bins seen so far exceeds: statistics are there from
    the start, and the implant divides by shifts.

    Args:
        x: ``(bins, n)``, from a segment's first bin.
        bins: time constant, a power of two; 0 returns ``x``.
    """
    return np.concatenate([x[:0], *running_z_blocks([x], bins)])


def running_z_blocks(blocks: Iterable[NDArray[np.float32]], bins: int) -> Iterator[NDArray[np.float32]]:
    """:func:`running_z` of a segment that comes in blocks ``(bins, n)``."""
    seen, mean, deviation = 0, np.zeros((1, 1)), np.zeros((1, 1))
    for x in blocks:
        if bins == 0 or not len(x):
            yield x
            continue
        wide = x.astype(np.float64)
        means = _running_mean(wide, bins, seen, mean)
        centred = wide - means
        deviations = _running_mean(np.abs(centred), bins, seen, deviation)
        yield (centred / (ZSCORE_SD * np.maximum(deviations, ZSCORE_FLOOR))).astype(np.float32)
        seen, mean, deviation = seen + len(x), means[-1:], deviations[-1:]


def _running_mean(x: NDArray[np.float64], bins: int, seen: int, last: NDArray[np.float64]) -> NDArray[np.float64]:
    """The running mean over ``x``, before which ``seen`` bins came with the mean ``last``, (1, n)."""
    mean = np.empty_like(x)
    last, start = np.broadcast_to(last, (1, x.shape[1])), 0
    while start < len(x):  # bin k is the (k + 1)-th that is seen: w doubles at bins 1, 3, 7, ...
        w = min(bins, 1 << (seen + start + 1).bit_length() - 1)
        stop = len(x) if w == bins else min(2 * w - 1 - seen, len(x))
        keep = 1 - 1 / w
        mean[start:stop], _ = signal.lfilter([1 / w], [1.0, -keep], x[start:stop], axis=0, zi=keep * last)
        last, start = mean[stop - 1 : stop], stop
    return mean


def _highpass(settings: Settings) -> NDArray[np.float64]:
    return _section(*signal.butter(2, settings.spike.highpass_hz, "highpass", fs=settings.spike.rate_hz))


def _section(b: NDArray[np.float64], a: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([b, a[1:]]) / a[0]


def sos(sections: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sections ``b0 b1 b2 a1 a2`` as scipy wants them, ``(n, 6)`` with ``a0 = 1``."""
    return np.insert(np.atleast_2d(sections), 3, 1.0, axis=1)


def _by_bin(x: NDArray, samples_per_bin: int) -> NDArray:
    """View ``(samples, channels)`` as ``(bins, samples_per_bin, channels)``."""
    return x.reshape(-1, samples_per_bin, x.shape[1])
