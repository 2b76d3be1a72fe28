"""Adapts a run's student to a day and writes what came of it."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from realm_edge.app import artefacts
from realm_edge.app.adapt import firmware
from realm_edge.app.adapt.day import Asked, read, recordings_of, tested_starts
from realm_edge.app.adapt.decision import BY_BEHAVIOUR, BY_TEACHER, LastPart, by_behaviour, by_teacher
from realm_edge.app.adapt.form import ADAPTATION, MAKERS, Adaptation, Row
from realm_edge.app.adapt.text import lines
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.data import load_sessions
from realm_edge.checkpoint import load_student, load_teacher, save_student
from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.files import replacing_directory, sha256_json, write_text
from realm_edge.metrics import accuracy
from realm_edge.models.student import decode
from realm_edge.progress import Progress
from realm_edge.session import Session
from realm_edge.streams import LFP
from realm_edge.training.adapt import Adapted, Basis, adapt
from realm_edge.training.loop import Phase
from realm_edge.training.machine import machine
from realm_edge.training.material import gather
from realm_edge.training.segments import Statistics, behaviour_of, standardise

RESULT = "adaptation.json"


def adapt_run(
    run: RunDir, asked: Asked, out: Path | None, targets: Sequence[str], progress: Progress, device: str = "cpu", precision: str = "32"
) -> tuple[Adaptation, Path]:
    """Adapt the run's student to a day, and write ``adaptation.json`` and ``.md``, and what an implant needs of a student that is better.

    What was interrupted goes on at the step where it was.

    Args:
        out: None for ``adapted/<name of the day>/`` in the run. What an earlier call wrote there is replaced, whole.
        device, precision: see :func:`realm_edge.training.machine.machine`.

    Returns:
        What was found, and the directory.

    Raises:
        UserError: the quantize stage is missing or stale, the day cannot be used, or the new firmware differs from onnxruntime.
    """
    run.require("quantize")
    recordings = recordings_of(asked, run)
    sessions = load_sessions(run)
    decoded = next(session for session in sessions if session.heldout)
    progress.say(f"  reading {recordings.files[0]}")
    day = read(recordings, asked, run, decoded, progress)
    out = run.file("adapted", day.name) if out is None else out
    _check_place(out)
    basis = _basis(run, sessions, decoded, day)
    made_from = {"train": run.lineage("train"), "today": sha256_json(recordings.request())}
    partial = out.with_name(f"{out.name}.training")
    with machine(device, precision) as fabric:

        def phase(name: str) -> Phase:
            return Phase(f"adapt_{name}", run.settings.seed, partial / f"{name}.safetensors", sha256_json(made_from), fabric)

        adapted = adapt(basis, run.settings, phase, progress)
    found = _judged(run, adapted, basis.today.statistics, decoded, day, asked.checks)
    with replacing_directory(out) as folder:
        if found.winner == "hindsight":
            student = adapted.students["hindsight"]
            save_student(folder / "student.safetensors", student, made_from)
            lost, updates = firmware.write(folder, run, student, day, made_from, targets, progress)
            found = found.model_copy(update={"nrmse_int8_float": lost, "updates": updates})
        write_document(folder / RESULT, ADAPTATION, found, MAKERS)
        write_text(folder / "adaptation.md", "\n".join([f"# Adaptation to {found.today}", "", *lines(found), ""]))
    shutil.rmtree(partial)
    return found, out


def _check_place(out: Path) -> None:
    """What an earlier call wrote is replaced, and nothing else."""
    if out.exists() and not (out / RESULT).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not empty, and no earlier adaptation: choose another --out")


def _basis(run: RunDir, sessions: Sequence[Session], decoded: Session, day: Session) -> Basis:
    """Student, teacher and series; the day's own behaviour, if it has one, is left out."""
    bin_s = run.settings.bin_ms / 1000
    material = gather(sessions, decoded, "features", bin_s)
    teacher = load_teacher(run.file("teacher.safetensors"))
    inputs, kinds = LFP.inputs(day), material.decoded.kinds
    if str(inputs.shape[1]) not in teacher.tokenizers:
        raise UserError(
            f"{run.path}: its teacher was pretrained on arrays of other sizes than {decoded.name}'s {len(decoded.good_channels)} channels, "
            "and cannot label a day of these: train a run with another session of this array"
        )
    blank = replace(day, targets=np.full_like(day.targets, np.nan))
    today = standardise(blank, inputs, bin_s, kinds, borrowed=behaviour_of(decoded))
    return Basis(load_student(artefacts.student(run, LFP)), teacher, material.pretraining, material.decoded, today)


def _judged(run: RunDir, adapted: Adapted, statistics: Statistics, decoded: Session, day: Session, checks: bool) -> Adaptation:
    """Every arm on the last part of the day, and which student is kept."""
    bin_s, test = run.settings.bin_ms / 1000, slice(day.validation_end, day.bins)
    inputs = torch.from_numpy(LFP.inputs(day))
    answers = {name: decode(student, inputs, day.starts).numpy()[test] for name, student in adapted.students.items()}
    hindsight = statistics.in_units(adapted.hindsight.numpy())
    if day.valid is not None:
        hindsight[~day.valid] = np.nan
    behaviour = day.targets[test] if checks else None
    tested = LastPart(answers, hindsight[test], bin_s, tested_starts(day))
    with_teacher = by_teacher(adapted, tested, decoded.name)
    with_behaviour = () if behaviour is None else by_behaviour(tested, behaviour)
    deciding = with_behaviour[:1] or with_teacher
    return Adaptation(
        today=day.name,
        session=decoded.name,
        synthetic=decoded.synthetic or day.synthetic,
        seconds=day.bins * bin_s,
        tested_seconds=(day.bins - day.validation_end) * bin_s,
        winner="hindsight" if all(check.holds for check in deciding) else "old",
        rests_on=BY_BEHAVIOUR if with_behaviour else BY_TEACHER,
        behaviour_checks=with_behaviour,
        teacher_checks=with_teacher,
        teacher_error=adapted.teacher_error,
        trust=adapted.trust,
        rows=tuple(
            Row(
                arm=name,
                steps=adapted.steps[name],
                old_error=adapted.errors[name],
                near=_r2(tested.hindsight, answer),
                r2=None if behaviour is None else _r2(behaviour, answer),
            )
            for name, answer in answers.items()
        ),
        nrmse_int8_float=None,
        updates={},
    )


def _r2(true: NDArray[np.float32], answer: NDArray[np.float32]) -> float:
    return float(np.mean(accuracy(true, answer).r2))
