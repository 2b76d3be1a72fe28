"""The arms of the comparison: every decoder with the same inputs, splits, optimiser and early stopping."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from realm_edge import wiener
from realm_edge.baselines import cost, kalman, recurrent, scratch, transformer
from realm_edge.files import sha256_json
from realm_edge.models.student import Student, decode
from realm_edge.progress import Silent
from realm_edge.settings import Settings
from realm_edge.training.distil import distil
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import History, Phase
from realm_edge.training.material import Kind, Material
from realm_edge.training.pretrain import pretrain

DISTILLED = "student"  # the decoder that the others are compared with
DOUBLED = "_x2"


@dataclass(frozen=True)
class Bench:
    """What one decoder is trained with."""

    settings: Settings
    material: Material
    channels: int  # electrodes; each column of a feature table is one
    window: int  # bins a training segment
    seed: int
    partial: Path  # directory for teachers, which several cells share, and for fits that were interrupted
    made_from: dict[str, Any]

    @property
    def student_parameters(self) -> int:
        """Of the student on these inputs."""
        series = self.material.decoded
        with torch.device("meta"):  # draws no random numbers
            student = Student(self.settings.student, series.inputs.shape[1], series.targets.shape[1], kinds=series.kinds)
        return cost.parameters(student)

    def phase(self, name: str) -> Phase:
        return Phase(name, self.seed)

    def shared(self, name: str, **more: Any) -> Phase:
        """A phase whose result is kept in ``partial``, so that it is trained once for all cells with the same material."""
        digest = sha256_json({"settings": self.settings.digest(), "seed": self.seed, **self.made_from, **more})
        return Phase(name, self.seed, self.partial / f"{name}-{digest[:16]}.safetensors", digest)


@dataclass(frozen=True)
class Outcome:
    """A trained decoder, and what it said."""

    predicted: NDArray[np.float32]  # (bins, dims), the whole decoded session, target units
    parameters: int
    macs_per_step: int
    seconds: float  # training on the decoded session
    pretraining_seconds: float = 0.0  # before that, shared by all decoded sessions with the same pretraining sessions
    history: History | None = None  # of the training on the decoded session; None: fitted in one go


@dataclass(frozen=True)
class Decoder:
    """One arm."""

    name: str
    label: str
    fit: Callable[[Bench], Outcome]
    inputs: Kind = "features"
    chance: bool = False  # decodes behaviour that was shifted against the inputs


def decoders(double: bool, spikes: bool) -> tuple[Decoder, ...]:
    """The arms, in the order of the table.

    Args:
        double: also the trained baselines at twice the student's parameters.
        spikes: also from spike counts.
    """
    arms = [
        Decoder(DISTILLED, "student, distilled", _student),
        Decoder("scratch", "student, from scratch", _scratch),
        *(Decoder(name, label, _baseline(name, 1)) for name, label in _BASELINES.items()),
    ]
    if double:
        arms += [Decoder(name + DOUBLED, f"{label}, doubled", _baseline(name, 2)) for name, label in _BASELINES.items()]
    arms += [Decoder("kalman", "Kalman", _kalman), Decoder("wiener", "Wiener", _wiener)]
    if spikes:
        arms += [
            Decoder("spike_scratch", "spikes: student", _scratch, "counts"),
            Decoder("spike_gru", "spikes: GRU", _baseline("gru", 1), "counts"),
            Decoder("spike_wiener", "spikes: Wiener", _wiener, "counts"),
        ]
    return (*arms, Decoder("null", "chance: Wiener, behaviour shifted", _wiener, chance=True))


_BASELINES = {"gru": "GRU", "lstm": "LSTM", "transformer": "transformer"}


def _student(bench: Bench) -> Outcome:
    """Teacher and distillation on the pretraining sessions, then fine-tuning, as the train stage does it."""
    settings, material, quiet = bench.settings, bench.material, Silent()
    series = material.pretraining or (material.decoded,)
    # Alone, the decoded session also distils: then what is shared depends on how many of its labels are known.
    labels = {} if material.pretraining else {"labelled": int(torch.isfinite(material.decoded.targets).all(dim=1).sum())}
    phase = bench.shared("pretrain")
    teacher, taught = pretrain(settings.teacher, settings.pretrain, series, bench.channels, bench.window, phase, quiet)
    phase = bench.shared("distil", **labels)
    student, distilled = distil(teacher, settings.student, settings.distil, series, bench.window, phase, quiet)
    history = finetune(student, settings.finetune, [material.decoded], bench.window, bench.phase("finetune"), quiet)
    return _of_student(student, material, history, taught.seconds + distilled.seconds)


def _scratch(bench: Bench) -> Outcome:
    settings, series = bench.settings, bench.material.decoded
    student, history = scratch.fit(settings.student, settings.finetune, series, bench.window, bench.phase("scratch"), Silent())
    return _of_student(student, bench.material, history, 0.0)


def _of_student(student: Student, material: Material, history: History, pretraining_seconds: float) -> Outcome:
    predicted = decode(student, torch.from_numpy(material.inputs)).numpy()
    size, macs = cost.parameters(student), cost.macs_per_step(student)
    return Outcome(predicted, size, macs, history.seconds, pretraining_seconds, history)


def _baseline(name: str, times: int) -> Callable[[Bench], Outcome]:
    """A trained baseline with ``times`` the student's parameters."""

    def fit(bench: Bench) -> Outcome:
        settings, series, size = bench.settings, bench.material.decoded, times * bench.student_parameters
        common = (settings.finetune, series, bench.window, bench.phase(name), Silent())
        decoder: recurrent.Recurrent | transformer.Transformer
        if name == "transformer":
            # As far back a layer as the longest Wiener filter.
            decoder, history = transformer.fit(size, settings.student.n_layer, max(settings.wiener_lags), *common)
        else:
            decoder, history = recurrent.fit("gru" if name == "gru" else "lstm", size, *common)
        return Outcome(decoder.predict(series), cost.parameters(decoder), decoder.macs_per_step(), seconds=history.seconds, history=history)

    return fit


def _kalman(bench: Bench) -> Outcome:
    start = time.monotonic()
    fitted = kalman.fit(bench.material.decoded)
    seconds = time.monotonic() - start
    return Outcome(fitted.predict(bench.material.decoded), fitted.parameters, fitted.macs_per_step(), seconds)


def _wiener(bench: Bench) -> Outcome:
    start = time.monotonic()
    series = bench.material.decoded
    inputs = series.inputs.numpy()
    fitted = wiener.fit(inputs, series.targets.numpy(), series.train_end, series.validation_end, bench.settings.wiener_lags)
    seconds = time.monotonic() - start
    predicted = wiener.predict(fitted, inputs) * series.target_std.numpy() + series.target_mean.numpy()
    return Outcome(predicted, fitted.parameters, fitted.weights.size, seconds)
