"""Which observer sets the scale of each int8 tensor, and which of them have to be int16: measured on the decoder's output."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from export.stepgraph import Stepper, metadata, restarting
from quantization.calibrate import Observed
from quantization.decoder import quantize_decoder
from quantization.fixedpoint import INT8_LIMIT
from quantization.formats import Formats, factors, widenable
from quantization.golden import run_decoder
from quantization.inputs import stored
from quantization.observers import DEFAULT, OBSERVERS
from realm_edge.metrics import nrmse
from realm_edge.progress import Progress, Silent
from realm_edge.segments import Starts

STRETCHES, STRETCH_BINS = 4, 150  # of the training part, evenly spread
NEAR = 0.02  # peaks that differ by less make the same decoder, as far as these bins can tell
MARGIN = 0.02  # of the error, by which another observer has to beat the default: less is chance
AIM = 0.006  # NRMSE of the output on these bins: on others, later in a recording, it has been up to 2.5 times that


@dataclass(frozen=True)
class Stretches:
    """Stretches of training bins, joined, that decoders are compared on, each from the zero state; int8 reads what float reads, rounded."""

    features: NDArray[np.float32]  # (bins, n_features)
    stored: NDArray[np.int16]  # the same in units of the integer front end

    @staticmethod
    def of(features: NDArray[np.float32], feature_scale: ArrayLike) -> "Stretches":
        """From features (bins, n_features) of the training part, those that count one after the other; all of them where they are few."""
        bins = min(STRETCH_BINS, len(features) // STRETCHES)
        starts = np.linspace(0, len(features) - bins, STRETCHES).astype(int)
        chosen = features[(starts[:, None] + np.arange(bins)).ravel()]
        return Stretches(chosen, stored(chosen, feature_scale))


@dataclass(frozen=True)
class Choice:
    """The formats to quantise with, and the NRMSE of the output with each thing that was tried."""

    formats: Formats
    observers: dict[str, dict[str, float]]  # int8 tensor: {observer: NRMSE}
    alone: dict[str, float]  # where int8 alone did not do: tensor: NRMSE with it as the only one in int8 of those that may be int16

    def as_json(self) -> dict[str, dict]:
        return {"observers": self.observers, "alone": self.alone}


def choose_formats(
    model: onnx.ModelProto, observed: Observed, feature_scale: ArrayLike, stretches: Stretches, progress: Progress | None = None
) -> Choice:
    """Observers first, one tensor after the other in graph order, those before it as they were chosen and those after it with the default.

    Where the output then errs by more than :data:`AIM`, all tensors that may become int16, and as many of them int8 again as the aim
    allows, those first that harm least. In this order, and not from int8 on: errors of int8 tensors that happen to cancel on these bins
    would hide which of them are large.

    Args: as :func:`quantization.decoder.quantize_decoder`; ``stretches`` is what the decoders run over.
    """
    exact, track = float_decoded(model, stretches.features), (progress or Silent()).track

    def error(formats: Formats) -> float:
        decoder = quantize_decoder(model, observed, feature_scale, {}, formats)
        decoded, _ = run_decoder(decoder, stretches.stored)
        return nrmse(decoded * metadata(decoder)["scales"]["decoded"], exact)

    formats, tried = Formats(), {}
    least = error(formats)
    names = factors(model)
    for name in track(names, "choose observers", len(names)):
        tried[name], peaks = {DEFAULT: least}, [OBSERVERS[DEFAULT](observed.tensors[name], INT8_LIMIT)]
        for observer, peak_of in OBSERVERS.items():
            peak = peak_of(observed.tensors[name], INT8_LIMIT)
            if all(abs(peak - other) > NEAR * other for other in peaks):
                peaks.append(peak)
                tried[name][observer] = error(dataclasses.replace(formats, observers={**formats.observers, name: observer}))
        best = min(tried[name], key=tried[name].__getitem__)
        if tried[name][best] < (1 - MARGIN) * least:
            least = tried[name][best]
            formats = dataclasses.replace(formats, observers={**formats.observers, name: best})
    if least <= AIM:
        return Choice(formats, tried, {})
    names = widenable(model)
    formats = dataclasses.replace(formats, wide=frozenset(names))
    alone = {name: error(_narrower(formats, name)) for name in track(names, "choose what is int16", len(names))}
    for name in sorted(names, key=alone.__getitem__):
        if error(_narrower(formats, name)) <= AIM:
            formats = _narrower(formats, name)
    return Choice(formats, tried, alone)


def _narrower(formats: Formats, tensor: str) -> Formats:
    return dataclasses.replace(formats, wide=formats.wide - {tensor})


def float_decoded(model: onnx.ModelProto, features: Iterable[NDArray[np.float32]], starts: Starts = (0,)) -> NDArray[np.float32]:
    """Outputs (bins, dims) of a float decoder over feature rows (n_features,), at ``starts`` from the zero state."""
    stepper = Stepper(model)
    return np.array([stepper.step({"features": row})["decoded"] for row in restarting(stepper, features, starts)])
