"""Students that nobody trained: integer step graphs of any signal and number of channels, whose firmware takes what a trained one's does.

Cycles depend on shapes and hardly on weights, so a decoder of a thousand channels can be counted without a recording of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from export.decoder_graph import decoder_graph
from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from export.stepgraph import metadata
from firmware_sim.verdict.counts import Signal
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.frontend import quantize_frontend
from realm_edge.errors import UserError
from realm_edge.frontend import design, design_spike, lfp_features, spike_counts
from realm_edge.models.student import Student
from realm_edge.settings import Settings, changed, flaw

WARM_UP, CALIBRATED = 50, 150  # bins: those that are not calibrated on, and all
SLOW_HZ, SLOW_TOP_HZ = 200, 80.0  # of 'lfp-200': rate, and what its bands end below
SBP_BAND_HZ = (300.0, 1000.0)  # Nason et al. 2020
_OVERSAMPLED = 2.5  # rate over the top of the highest band, as of the settings' own bands
# White noise, ADC counts. What crosses the threshold is rarer in the noise that is calibrated on than in the noise that is run.
_LFP_SD = 300.0
_THRESHOLD, _RARE_SD, _FREQUENT_SD = -235, 60.0, 80.0


def signal_settings(settings: Settings, signal: Signal) -> Settings:
    """Settings with which the LFP chain is the chain of ``signal``; those of 'lfp' and 'spike' are the settings' own.

    'lfp-200' has samples at 200 Hz and of the bands what lies below 80 Hz. 'sbp' has one band, 300 to 1,000 Hz, of samples at two and a
    half times its upper end, behind a high-pass at its lower end; there is no line to take out. Where a bin does not hold a whole number of
    samples at such a rate, the next higher one that it does is taken.

    Raises:
        UserError: the settings' high-pass, or another of its values, does not go with the signal's rate.
    """
    lfp: dict[str, Any]
    if signal == "lfp-200":
        kept = [(low, min(high, SLOW_TOP_HZ)) for low, high in settings.lfp.bands_hz if low < SLOW_TOP_HZ]
        lfp = {"rate_hz": _rate(SLOW_HZ, settings), "bands_hz": kept}
    elif signal == "sbp":
        low, high = SBP_BAND_HZ
        lfp = {"rate_hz": _rate(_OVERSAMPLED * high, settings), "bands_hz": [SBP_BAND_HZ], "highpass_hz": low, "line_hz": 0.0}
    else:
        return settings
    try:
        return changed(settings, {"lfp": lfp})
    except ValidationError as error:
        raise UserError(f"settings: {signal}: {flaw(error)}") from error


def _rate(at_least: float, settings: Settings) -> int:
    """The lowest rate, Hz, from which a bin holds a whole number of samples."""
    step = 1000 // gcd(1000, settings.bin_ms)
    return step * -(-int(at_least) // step)


@dataclass(frozen=True)
class Untrained:
    """Integer step graphs.

    Attributes:
        ticks: samples of a bin.
        features: (CALIBRATED, n_features) float32, what the float front end makes of the noise that was calibrated on.
    """

    frontend: onnx.ModelProto
    decoder: onnx.ModelProto
    ticks: int
    features: NDArray[np.float32]


@lru_cache(maxsize=4)  # every signal, wanted for one part after the other: of a thousand channels it takes ten seconds
def untrained(signal: Signal, channels: int, settings: Settings, outputs: int) -> Untrained:
    """Front end and decoder of a student as large as the settings', calibrated on noise; the same graphs each time.

    Args:
        signal: whose chain.
        channels: electrodes.
        settings: as :func:`signal_settings` gives them.
        outputs: values that the decoder answers.

    Raises:
        UserError: a filter or tensor that does not fit integers.
    """
    rng = np.random.default_rng(2)
    if signal == "spike":
        spikes, ticks = design_spike(settings, np.full(channels, _THRESHOLD, np.int32)), settings.spike_samples_per_bin
        features = plain = spike_counts(spikes, _blocks(rng, ticks, channels, _RARE_SD))
        exact = spike_frontend_graph(spikes, {})
    else:
        lfp, ticks = design(settings, np.ones(channels, bool)), settings.lfp_samples_per_bin
        samples = np.concatenate(list(_blocks(rng, ticks, channels, _LFP_SD)))
        features = plain = lfp_features(lfp, samples)
        if lfp.zscore_bins:
            plain = lfp_features(replace(lfp, zscore_bins=0), samples)
        exact = lfp_frontend_graph(lfp, {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = Student(settings.student, features.shape[1], outputs, kinds=features.shape[1] // channels).eval()
    student.feature_mean.copy_(torch.from_numpy(features[WARM_UP:].mean(axis=0)))
    student.feature_inv_std.copy_(torch.from_numpy(1 / np.maximum(features[WARM_UP:].std(axis=0), 0.1)))
    frontend = quantize_frontend(exact, plain[WARM_UP:], {})
    decoder = decoder_graph(student, 1000 / settings.bin_ms, tuple(f"y{index}" for index in range(outputs)), "a.u.", {})
    scale = metadata(frontend)["io"]["features"]["scale"]
    observed, formats = observe(decoder, features, WARM_UP), Formats(settings.quantize.activations)
    return Untrained(frontend, quantize_decoder(decoder, observed, scale, {}, formats), ticks, features)


def _blocks(rng: np.random.Generator, ticks: int, channels: int, sd: float) -> Iterator[NDArray[np.int16]]:
    """Noise to calibrate on, a bin at a time: a second of a thousand channels at 30 kHz is 30 million samples."""
    for _ in range(CALIBRATED):
        yield normal(rng, ticks, channels, sd)


def normal(rng: np.random.Generator, ticks: int, channels: int, sd: float) -> NDArray[np.int16]:
    """White noise in ADC counts, (ticks, channels)."""
    return rng.normal(0, sd, (ticks, channels)).astype(np.int16)


def noise(signal: Signal, ticks: int, channels: int) -> NDArray[np.int16]:
    """White noise in ADC counts, (ticks, channels), the same each time: what firmware of an untrained student is run on."""
    return normal(np.random.default_rng(5), ticks, channels, _FREQUENT_SD if signal == "spike" else _LFP_SD)
