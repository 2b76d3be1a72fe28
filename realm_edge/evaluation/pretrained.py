"""The arms that learn from the other sessions first: distilled, autoencoded, supervised, and the teacher itself."""

import math
import time
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from realm_edge import wiener
from realm_edge.baselines import autoencoded, cost, scratch
from realm_edge.baselines.sequence import SequenceDecoder, train
from realm_edge.errors import UserError
from realm_edge.evaluation.bench import Bench, Outcome, facts
from realm_edge.evaluation.forms import PhaseCost
from realm_edge.models import looking_back
from realm_edge.models.looking_back import ReadOut
from realm_edge.models.student import Student, decode, represent
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Silent
from realm_edge.settings import DistilSettings, ModelSettings
from realm_edge.training.distil import distil, tokenizer_kept
from realm_edge.training.finetune import WARM_UP_WINDOWS, finetune, supervise
from realm_edge.training.hindsight import known
from realm_edge.training.loop import History, Phase, seeded
from realm_edge.training.pretrain import pretrain
from realm_edge.training.segments import Series

LABEL_FREE = {"w_task": 0.0, "w_ae": 1.0}  # weights of distillation in REALM's second code
RIDGE_FRAMES = 11  # bins that the ridge read-out of a frozen teacher or student sees (REALM's code)


def student(bench: Bench) -> Outcome:
    """Teacher and distillation on the pretraining sessions, then fine-tuning, as the train stage does it."""
    return _tuned(bench, bench.settings.student, bench.settings.distil)


def half_student(bench: Bench) -> Outcome:
    """The same at about half the student's parameters; its tokenizer is never the teacher's, which is wider."""
    return _tuned(bench, halved(bench), bench.settings.distil.model_copy(update={"tokenizer": "own"}))


def halved(bench: Bench) -> ModelSettings:
    """The student's settings at the width, with heads half as wide, that comes closest to half its parameters on these inputs."""
    whole = bench.settings.student
    headdim = max(1, whole.headdim // 2)  # whole heads then allow finer steps of the width
    narrow = whole.model_copy(update={"headdim": headdim})

    def count(width: int) -> int:
        return bench.parameters(narrow.model_copy(update={"d_model": width}))

    width = cost.width_for(bench.student_parameters // 2, count, multiple=headdim // math.gcd(headdim, whole.expand))
    return narrow.model_copy(update={"d_model": width})


def unlabelled_student(bench: Bench) -> Outcome:
    """Distilled without a label: by alignment and reconstruction alone (REALM's second code: w_task 0, w_ae 1); then fine-tuned."""
    return _tuned(bench, bench.settings.student, bench.settings.distil.model_copy(update=LABEL_FREE))


def _tuned(bench: Bench, model: ModelSettings, settings: DistilSettings) -> Outcome:
    made, before = _distilled(bench, model, settings)
    with tokenizer_kept(made, settings):
        return finetuned(bench, made, bench.material.decoded, before)


def _distilled(bench: Bench, model: ModelSettings, settings: DistilSettings) -> tuple[Student, dict[str, PhaseCost]]:
    series = others(bench)
    # Without a label there is nothing to weigh against: then it is what REALM's second code does.
    settings = settings if any(known(one) for one in series) else settings.model_copy(update=LABEL_FREE)
    teacher, taught = pretrained_teacher(bench)
    uses = ("teacher", "pretrain", "output_delay_ms")
    inputs, about = bench.material.inputs.shape[1], {"model": model.model_dump(mode="json"), "distil": settings.model_dump(mode="json")}
    with bench.once("distil", uses, **about, inputs=inputs, labels=labels_of(series) if settings.w_task else None) as phase:
        made, history = distil(teacher, model, settings, series, inputs, bench.window, phase, Silent())
    return made, {"pretrain": facts(taught, bench.settings.pretrain), "distil": facts(history, settings)}


def autoencoded_student(bench: Bench) -> Outcome:
    """The student, pretrained by masked autoencoding of its own."""
    settings = bench.settings
    with bench.once("autoencode", ("student", "pretrain")) as phase:
        made, history = autoencoded.fit(settings.student, settings.pretrain, _same_array(bench), bench.window, phase, Silent())
    return finetuned(bench, made, bench.material.decoded, {"autoencode": facts(history, settings.pretrain)})


def supervised_student(bench: Bench) -> Outcome:
    """The student, pretrained with the labels of the other sessions for as long as distillation lasts."""
    return finetuned(bench, *supervised(bench, labelled_others(bench)))


def supervised(bench: Bench, series: Sequence[Series]) -> tuple[Student, Series, dict[str, PhaseCost]]:
    """A student with the labels of ``series``; the decoded session, whose labels it has not seen; and what it took."""
    settings, inputs = bench.settings, bench.material.inputs.shape[1]
    with bench.once("supervised", ("student", "distil", "output_delay_ms"), inputs=inputs, labels=labels_of(series)) as phase:
        made, history = scratch.fit(settings.student, settings.distil, series, inputs, bench.window, phase, Silent())
    return made, bench.material.decoded, {"supervised": facts(history, settings.distil)}


def supervised_baseline(name: str, build: Callable[[Bench, Phase], SequenceDecoder]) -> Callable[[Bench], Outcome]:
    """A baseline, pretrained as :func:`supervised_student`."""

    def fit(bench: Bench) -> Outcome:
        settings, decoded = bench.settings, bench.material.decoded
        # Its size comes from the student's, its depth and reach from the settings.
        with bench.once(f"{name}_pretrained", ("student", "distil", "output_delay_ms", "transformer_bins")) as phase:
            decoder = build(bench, phase)
            before = train(decoder, settings.distil, _same_array(bench), bench.window, phase, Silent())
        history = train(decoder, settings.finetune, [decoded], bench.window, bench.phase(name), Silent())
        pretraining = {"supervised": facts(before, settings.distil)}
        size, macs = cost.parameters(decoder), decoder.macs_per_step()
        return Outcome(decoder.predict(decoded), size, macs, history.seconds, pretraining, history)

    return fit


def tuned_teacher(bench: Bench) -> Outcome:
    """The teacher with a linear read-out, fine-tuned as a whole on the decoded session; it sees the future."""
    settings, series = bench.settings, bench.material.decoded
    teacher, taught = pretrained_teacher(bench)
    phase = bench.phase("teacher")
    with seeded(phase, "init"):
        module = ReadOut(teacher, series.targets.shape[1])
    history = supervise(module, ReadOut.forward, settings.finetune, [series], bench.window, phase, Silent())
    out = looking_back.over_session(module, series.inputs[:], series.starts, WARM_UP_WINDOWS * bench.window)
    predicted = series.statistics.in_units(out.numpy())
    before = {"pretrain": facts(taught, settings.pretrain)}
    return Outcome(predicted, cost.parameters(module), cost.macs_per_step(module), history.seconds, before, history)


def ridge_on_teacher(bench: Bench) -> Outcome:
    """Ridge on :data:`RIDGE_FRAMES` bins of the frozen teacher, whose representation has never seen a label; it sees the future."""
    series = bench.material.decoded
    teacher, taught = pretrained_teacher(bench)
    start = time.monotonic()
    teacher.eval()

    def run(segments: Tensor, lengths: Tensor | None) -> Tensor:
        return cast(Tensor, teacher(segments, lengths=lengths))

    seen = looking_back.over_session(run, series.inputs[:], series.starts, WARM_UP_WINDOWS * bench.window).numpy()
    predicted, fitted = _ridge(series, seen)
    seconds = time.monotonic() - start
    del teacher.predictor, teacher.mask_token  # only pretraining needs them
    before = {"pretrain": facts(taught, bench.settings.pretrain)}
    size, macs = cost.parameters(teacher) + fitted.parameters, cost.macs_per_step(teacher) + fitted.weights.size
    return Outcome(predicted, size, macs, seconds, before)


def ridge_on_student(bench: Bench) -> Outcome:
    """The same of the frozen distilled student, which is causal: what REALM's code calls label-free.

    With ``distil.w_task = 0`` no label has reached the student; those of the decoded session reach the read-out alone.
    """
    _same_array(bench)  # or the student's input layer would be as it was drawn
    series = bench.material.decoded
    made, before = _distilled(bench, bench.settings.student, bench.settings.distil)
    start = time.monotonic()
    series.give_statistics(made)
    predicted, fitted = _ridge(series, represent(made, torch.from_numpy(bench.material.inputs), series.starts).numpy())
    seconds = time.monotonic() - start
    del made.head  # ridge is in its place
    size, macs = cost.parameters(made) + fitted.parameters, cost.macs_per_step(made) + fitted.weights.size
    return Outcome(predicted, size, macs, seconds, before)


def of_student(bench: Bench, student: Student, history: History | None, pretraining: dict[str, PhaseCost]) -> Outcome:
    """Decode with a student that was trained on the decoded session; without ``history``, by others alone."""
    predicted = decode(student, torch.from_numpy(bench.material.inputs), bench.material.decoded.starts).numpy()
    seconds = history.seconds if history else 0.0
    return Outcome(predicted, cost.parameters(student), cost.macs_per_step(student), seconds, pretraining, history)


def finetuned(bench: Bench, student: Student, decoded: Series, pretraining: dict[str, PhaseCost]) -> Outcome:
    """Fine-tune on the decoded session, which may be relabelled; without any label of it the student decodes as it is."""
    if not known(decoded):
        decoded.give_statistics(student)
        return of_student(bench, student, None, pretraining)
    phase = bench.phase("finetune")
    return of_student(bench, student, finetune(student, bench.settings.finetune, [decoded], bench.window, phase, Silent()), pretraining)


def _ridge(series: Series, seen: NDArray[np.float32]) -> tuple[NDArray[np.float32], wiener.Wiener]:
    """Ridge from what an encoder makes of the decoded session, (bins, n): all of it decoded, in target units, and the fit."""
    train_part = seen[: series.train_end]
    seen = ((seen - train_part.mean(axis=0)) / np.maximum(train_part.std(axis=0), 1e-6)).astype(np.float32)
    fitted = wiener.fit_windows(seen, series.targets.numpy(), series.train_end, range(RIDGE_FRAMES + 1), series.starts)
    return series.statistics.in_units(wiener.predict(fitted, seen, series.starts)), fitted


def pretrained_teacher(bench: Bench) -> tuple[Teacher, History]:
    """By masked autoencoding, without labels."""
    settings = bench.settings
    with bench.once("pretrain", ("teacher", "pretrain")) as phase:
        return pretrain(settings.teacher, settings.pretrain, others(bench), bench.window, phase, Silent())


def _same_array(bench: Bench) -> tuple[Series, ...]:
    """For arms without input layers of their own for other arrays."""
    series = bench.material.same_array or ((bench.material.decoded,) if not bench.material.pretraining else ())
    if not series:
        raise UserError(
            f"{bench.material.decoded.name}: no other session has its {bench.material.inputs.shape[1]} inputs to pretrain this arm: "
            "choose others with --decoders"
        )
    return series


def others(bench: Bench) -> tuple[Series, ...]:
    """The sessions that pretrain: without others, the decoded one."""
    return bench.material.pretraining or (bench.material.decoded,)


def labelled_others(bench: Bench) -> tuple[Series, ...]:
    """The other sessions with labels.

    Raises:
        UserError: there is none.
    """
    series = tuple(one for one in bench.material.pretraining if known(one))
    if not series:
        raise UserError(f"{bench.material.decoded.name}: no other session has labels to pretrain this arm: choose others with --decoders")
    return series


def labels_of(series: Sequence[Series]) -> list[tuple[str, int]]:
    """Names of sessions, and how many bins of each have a label: what is trained with these depends on it."""
    return [(one.name, int(torch.isfinite(one.targets[: one.validation_end]).all(dim=1).sum())) for one in series]
