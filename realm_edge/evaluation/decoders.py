"""The arms of the comparison: every decoder with the same inputs, splits, optimiser and early stopping."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from realm_edge import wiener
from realm_edge.baselines import cost, kalman, recurrent, scratch, transformer
from realm_edge.baselines.sequence import SequenceDecoder, train
from realm_edge.errors import UserError
from realm_edge.evaluation import pretrained
from realm_edge.evaluation.bench import Bench, Outcome
from realm_edge.progress import Silent
from realm_edge.training.loop import Phase
from realm_edge.training.material import Kind

DISTILLED = "student"  # the decoder that the others are compared with
DOUBLED = "_x2"
PRETRAINED = "_pretrained"
_BASELINES = {"gru": "GRU", "lstm": "LSTM", "transformer": "transformer"}


@dataclass(frozen=True)
class Decoder:
    """One arm."""

    name: str
    label: str
    fit: Callable[[Bench], Outcome]
    inputs: Kind = "features"
    chance: bool = False  # decodes behaviour that was shifted against the inputs
    needs_others: bool = False  # learns from the labels of other sessions


def _scratch(bench: Bench) -> Outcome:
    settings, series = bench.settings, [bench.material.decoded]
    inputs = bench.material.inputs.shape[1]
    student, history = scratch.fit(settings.student, settings.finetune, series, inputs, bench.window, bench.phase("scratch"), Silent())
    return pretrained.of_student(bench, student, history, {})


def _builder(name: str, times: int) -> Callable[[Bench, Phase], SequenceDecoder]:
    """A baseline with ``times`` the student's parameters and random weights."""

    def build(bench: Bench, phase: Phase) -> SequenceDecoder:
        size, inputs, dims = times * bench.student_parameters, bench.material.inputs.shape[1], bench.material.decoded.targets.shape[1]
        if name == "transformer":
            context = bench.settings.transformer_bins
            return transformer.build(size, bench.settings.student.n_layer, context, inputs, dims, phase)
        return recurrent.build("gru" if name == "gru" else "lstm", size, inputs, dims, phase)

    return build


def _baseline(name: str, times: int) -> Callable[[Bench], Outcome]:
    build = _builder(name, times)

    def fit(bench: Bench) -> Outcome:
        series, phase = bench.material.decoded, bench.phase(name)
        decoder = build(bench, phase)
        history = train(decoder, bench.settings.finetune, [series], bench.window, phase, Silent())
        return Outcome(decoder.predict(series), cost.parameters(decoder), decoder.macs_per_step(), history.seconds, history=history)

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
    fitted = wiener.fit(inputs, series.targets.numpy(), series.train_end, series.starts)
    seconds = time.monotonic() - start
    predicted = series.statistics.in_units(wiener.predict(fitted, inputs, series.starts))
    return Outcome(predicted, fitted.parameters, fitted.weights.size, seconds)


def decoders(double: bool, spikes: bool, others: bool) -> tuple[Decoder, ...]:
    """The arms, in the order of the table.

    Args:
        double: also the trained baselines at twice the student's parameters.
        spikes: also from spike counts.
        others: also those that learn from the labels of other sessions.
    """
    arms = [
        Decoder(DISTILLED, "student, distilled", pretrained.student),
        Decoder("student_half", "student, distilled, half the size", pretrained.half_student),
        Decoder("student_ridge", "student, distilled, frozen, ridge", pretrained.ridge_on_student),
        Decoder("supervised", "student, supervised on the other sessions", pretrained.supervised_student, needs_others=True),
        Decoder("autoencoded", "student, masked autoencoding alone", pretrained.autoencoded_student),
        Decoder("scratch", "student, from scratch", _scratch),
        *(Decoder(name, label, _baseline(name, 1)) for name, label in _BASELINES.items()),
        *(
            Decoder(
                name + PRETRAINED,
                f"{_BASELINES[name]}, supervised on the other sessions",
                pretrained.supervised_baseline(name, _builder(name, 1)),
                needs_others=True,
            )
            for name in ("gru", "transformer")
        ),
    ]
    if double:
        arms += [Decoder(name + DOUBLED, f"{label}, doubled", _baseline(name, 2)) for name, label in _BASELINES.items()]
    arms += [
        Decoder("kalman", "Kalman", _kalman),
        Decoder("wiener", "Wiener", _wiener),
        Decoder("teacher", "teacher, fine-tuned (not causal)", pretrained.tuned_teacher),
        Decoder("teacher_ridge", "teacher, frozen, ridge (not causal)", pretrained.ridge_on_teacher),
    ]
    if spikes:
        arms += [
            Decoder("spike_scratch", "spikes: student", _scratch, "counts"),
            Decoder("spike_gru", "spikes: GRU", _baseline("gru", 1), "counts"),
            Decoder("spike_wiener", "spikes: Wiener", _wiener, "counts"),
        ]
    arms.append(Decoder("null", "chance: Wiener, behaviour shifted", _wiener, chance=True))
    return tuple(arm for arm in arms if others or not arm.needs_others)


ALL = {arm.name: arm for arm in decoders(double=True, spikes=True, others=True)}


def chosen(names: tuple[str, ...], spikes: bool, others: bool) -> tuple[Decoder, ...]:
    """The arms of these names, in the order of the table.

    Raises:
        UserError: there is no such arm, or these recordings do not have what it needs.
    """
    for name in names:
        if name not in ALL:
            raise UserError(f"--decoders {name or repr(name)}: no such decoder: use some of {','.join(ALL)}")
        if ALL[name].inputs == "counts" and not spikes:
            raise UserError(f"--decoders {name}: a recording has no spikes: leave it out")
        if ALL[name].needs_others and not others:
            raise UserError(f"--decoders {name}: it learns from other sessions and there is one recording: leave it out")
    return tuple(arm for name, arm in ALL.items() if name in names)
