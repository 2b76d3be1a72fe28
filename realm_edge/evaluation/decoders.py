"""The arms of the comparison: every decoder with the same inputs, splits, optimiser and early stopping."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from realm_edge import wiener
from realm_edge.baselines import cost, kalman, recurrent, scratch, transformer
from realm_edge.baselines.sequence import SequenceDecoder, train
from realm_edge.errors import UserError
from realm_edge.evaluation import hindsight, pretrained
from realm_edge.evaluation.bench import Bench, Outcome
from realm_edge.evaluation.tasks import Task
from realm_edge.progress import Silent
from realm_edge.segments import within
from realm_edge.training.hindsight import known
from realm_edge.training.loop import Phase
from realm_edge.training.material import Kind
from realm_edge.training.segments import has_labels

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
    needs_own: bool = True  # of the decoded session's labels at least some


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


_HINDSIGHT = (
    Decoder("hindsight", "student, hindsight", hindsight.hindsight, needs_own=False),
    Decoder("hindsight_safe", "student, hindsight where the teacher validates better", hindsight.safe, needs_own=False),
    Decoder("hindsight_own", "control: relabelled by its own causal twin", hindsight.own, needs_own=False),
    Decoder("restarted", "control: best of three without a teacher", hindsight.restarted, needs_own=False),
)


def _wiener_on_all(bench: Bench) -> Outcome:
    """One filter for the training parts of all sessions of the array, each standardised with its own statistics."""
    start = time.monotonic()
    own = bench.material.decoded
    series = [one for one in (*bench.material.same_array, own) if known(one)]
    parts = [(one.inputs[: one.train_end].numpy(), one.targets[: one.train_end].numpy()) for one in series]
    inputs, targets = (np.concatenate(each) for each in zip(*parts, strict=True))
    first = np.cumsum([0, *(one.train_end for one in series[:-1])])
    starts = np.concatenate([at + within(one.starts, 0, one.train_end) for at, one in zip(first, series, strict=True)])
    fitted = wiener.fit(inputs, targets, len(inputs), starts)
    seconds = time.monotonic() - start
    predicted = own.statistics.in_units(wiener.predict(fitted, own.inputs.numpy(), own.starts))
    return Outcome(predicted, fitted.parameters, fitted.weights.size, seconds)


def decoders(double: bool, spikes: bool, others: bool, relabel: bool = True) -> tuple[Decoder, ...]:
    """The arms, in the order of the table.

    Args:
        double: also the trained baselines at twice the student's parameters.
        spikes: also from spike counts.
        others: also those that learn from the labels of other sessions.
        relabel: also those of hindsight, which give labels to what has none.
    """
    arms = [
        Decoder(DISTILLED, "student, distilled", pretrained.student, needs_own=False),
        Decoder("student_half", "student, distilled, half the size", pretrained.half_student, needs_own=False),
        Decoder("student_ridge", "student, distilled, frozen, ridge", pretrained.ridge_on_student),
        Decoder("unlabelled", "student, distilled without labels", pretrained.unlabelled_student),
        *(_HINDSIGHT if relabel else ()),
        Decoder(
            "supervised", "student, supervised on the other sessions", pretrained.supervised_student, needs_others=True, needs_own=False
        ),
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
        Decoder("wiener_pretrained", "Wiener, also on the other sessions", _wiener_on_all, needs_others=True, needs_own=False),
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


def learns(arm: Decoder, task: Task, labels: float) -> bool:
    """Whether there are labels that an arm can learn from: a share of the decoded session's, or those of other sessions."""
    return labels > 0 or (not arm.needs_own and any(has_labels(one) for one in task.others))


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
