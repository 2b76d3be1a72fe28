"""The train stage: teacher, student, spike baseline and Wiener filters, scored on the held-out session's test part."""

import io
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from realm_edge import wiener
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.stages.data import load_sessions
from realm_edge.app.summaries import METRICS, Bins, Machine, Metrics, StudentScores, Teacher, WienerScores
from realm_edge.baselines.cost import parameters
from realm_edge.checkpoint import save_student, save_teacher
from realm_edge.documents import write_document
from realm_edge.files import write_bytes
from realm_edge.metrics import score_test_part
from realm_edge.models.student import Student, decode
from realm_edge.progress import Progress
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.training.distil import distil, tokenizer_kept
from realm_edge.training.finetune import finetune
from realm_edge.training.history import History
from realm_edge.training.loop import Phase, seeded
from realm_edge.training.machine import machine
from realm_edge.training.material import Material, gather
from realm_edge.training.memory import Inputs, check_training
from realm_edge.training.pretrain import pretrain


@dataclass(frozen=True)
class _Decoder:
    predicted: NDArray[np.float32]  # (bins, dims) over the whole decoded session, target units
    scores: StudentScores | WienerScores
    seconds: dict[str, list[float]]  # by phase and epoch


@dataclass(frozen=True)
class _Trainer:
    """What every phase of one run shares."""

    run: RunDir
    progress: Progress
    made_from: Mapping[str, str]
    fabric: Fabric

    @property
    def settings(self) -> Settings:
        return self.run.settings

    @property
    def bin_s(self) -> float:
        return self.settings.bin_ms / 1000

    @property
    def writes(self) -> bool:
        """Under torchrun one process does."""
        return self.fabric.is_global_zero

    @property
    def partial(self) -> Path:
        return self.run.file("train.partial")

    def phase(self, name: str) -> Phase:
        partial, curves = self.partial / f"{name}.safetensors", self.run.file("tensorboard", name)
        return Phase(name, self.settings.seed, partial, self.run.digest("data"), self.fabric, curves)


def run(run: RunDir, progress: Progress, device: str = "cpu", precision: str = "32") -> Metrics:
    """Write checkpoints, ``metrics.json``, ``predictions.npz`` and ``tensorboard/``; what was interrupted goes on at the step where it was.

    Under torchrun all processes train together and see one directory; the first one writes.

    How long each phase took goes into ``stages/train.timing.json``.

    Accuracies are on the held-out session's test part, in target units, decoded causally from the session's first bin with the state
    carried through each segment. ``predictions.npz``: ``bins`` (n,) int64, ``true`` (n, dims), and one (n, dims) float32 array a decoder,
    by its name in ``metrics.json``.

    Args:
        device, precision: see :func:`realm_edge.training.machine.machine`. They decide how fast training is and how it rounds.

    Raises:
        UserError: the data stage is missing or stale, its sessions cannot be trained on, there is no such device, or too little memory.
    """
    run.require("data")
    with machine(device, precision) as fabric:
        return _train(run, progress, fabric, precision)


def _train(run: RunDir, progress: Progress, fabric: Fabric, precision: str) -> Metrics:
    sessions = load_sessions(run)
    heldout = next(session for session in sessions if session.heldout)
    trainer = _Trainer(run, progress, {"settings": run.settings.digest(), "data": run.lineage("data")}, fabric)
    outputs = [run.file(name) for name in ("teacher.safetensors", "student.safetensors", "metrics.json", "predictions.npz")]

    lfp = gather(sessions, heldout, "features", trainer.bin_s)
    check_training(run.settings, Inputs(lfp.inputs.shape[1], len(heldout.target_names), lfp.decoded.kinds), fabric)
    decoders, teacher, pretrained = _lfp_student(trainer, lfp, heldout)
    decoders["lfp_wiener"] = _wiener(trainer, lfp, heldout, "lfp_wiener")
    pretraining = {"lfp": lfp.summary()}
    if heldout.counts is not None:
        spikes = gather(sessions, heldout, "counts", trainer.bin_s)
        decoders["spike_student"] = _spike_student(trainer, spikes, heldout)
        decoders["spike_wiener"] = _wiener(trainer, spikes, heldout, "spike_wiener")
        pretraining["spike"] = spikes.summary()
        outputs.append(run.file("student_spike.safetensors"))
    elif trainer.writes:
        run.file("student_spike.safetensors").unlink(missing_ok=True)  # of an earlier run on other recordings

    bins = np.arange(heldout.validation_end, len(heldout.targets))
    metrics = Metrics(
        session=heldout.name,
        synthetic=heldout.synthetic,
        spike_source=heldout.spike_source,
        target_names=heldout.target_names,
        target_unit=heldout.target_unit,
        bin_ms=run.settings.bin_ms,
        segments=len(heldout.starts),
        bins=Bins(train=heldout.train_end, validation=heldout.validation_end - heldout.train_end, test=len(bins)),
        machine=Machine(device=fabric.device.type, processes=fabric.world_size, precision=precision),
        pretraining=pretraining,
        teacher=teacher,
        decoders={name: decoder.scores for name, decoder in decoders.items()},
    )
    if trainer.writes:
        write_document(run.file("metrics.json"), METRICS, metrics, MAKERS["train"])
        predicted = {name: decoder.predicted[bins] for name, decoder in decoders.items()}
        _write_arrays(run.file("predictions.npz"), {"bins": bins, "true": heldout.targets[bins], **predicted})
        took = {name: decoder.seconds for name, decoder in decoders.items()}
        run.note_seconds("train", {"teacher": {"pretrain": list(pretrained.seconds_by_epoch)}, **took})
        shutil.rmtree(trainer.partial)
        run.complete("train", outputs, metrics)
    return metrics


def _lfp_student(trainer: _Trainer, material: Material, session: Session) -> tuple[dict[str, _Decoder], Teacher, History]:
    """Teacher, distillation, fine-tuning; writes both checkpoints."""
    settings, window = trainer.settings, trainer.settings.window_bins
    series = material.pretraining or (material.decoded,)
    phase = trainer.phase("pretrain")
    teacher, pretrained = pretrain(settings.teacher, settings.pretrain, series, window, phase, trainer.progress)
    if trainer.writes:
        save_teacher(trainer.run.file("teacher.safetensors"), teacher, trainer.made_from)

    phase = trainer.phase("distil")
    inputs = material.inputs.shape[1]
    student, distilled = distil(teacher, settings.student, settings.distil, series, inputs, window, phase, trainer.progress)
    with tokenizer_kept(student, settings.distil):
        tuned = finetune(student, settings.finetune, [material.decoded], window, trainer.phase("finetune"), trainer.progress)
    if trainer.writes:
        save_student(trainer.run.file("student.safetensors"), student, trainer.made_from)
    decoder = _decoder(trainer, student, material, session, {"distil": distilled, "finetune": tuned})
    return {"lfp_student": decoder}, Teacher(parameters=parameters(teacher), pretrain=pretrained.summary()), pretrained


def _spike_student(trainer: _Trainer, material: Material, session: Session) -> _Decoder:
    """The student's architecture on spike counts, supervised only; writes its checkpoint."""
    settings, window = trainer.settings, trainer.settings.window_bins
    inputs, dims = material.decoded.inputs.shape[1], material.decoded.targets.shape[1]
    histories = {}
    with seeded(trainer.phase("spike_finetune"), "init"):
        student = Student(settings.student, inputs, dims, kinds=material.decoded.kinds)
    if material.pretraining:
        phase = trainer.phase("spike_pretrain")
        histories["pretrain"] = finetune(student, settings.distil, material.pretraining, window, phase, trainer.progress)
    phase = trainer.phase("spike_finetune")
    histories["finetune"] = finetune(student, settings.finetune, [material.decoded], window, phase, trainer.progress)
    if trainer.writes:
        save_student(trainer.run.file("student_spike.safetensors"), student, trainer.made_from)
    return _decoder(trainer, student, material, session, histories)


def _decoder(trainer: _Trainer, student: Student, material: Material, session: Session, histories: Mapping[str, History]) -> _Decoder:
    predicted = decode(student, torch.from_numpy(material.inputs), material.decoded.starts).numpy()
    scores = StudentScores(
        **score_test_part(session, predicted, trainer.bin_s).given(),
        parameters=parameters(student),
        epochs=sum(history.epochs for history in histories.values()),
        phases={name: history.summary() for name, history in histories.items()},
    )
    return _Decoder(predicted, scores, {name: list(history.seconds_by_epoch) for name, history in histories.items()})


def _wiener(trainer: _Trainer, material: Material, session: Session, name: str) -> _Decoder:
    start = time.monotonic()
    series = material.decoded
    inputs, targets = series.inputs.numpy(), series.targets.numpy()
    fitted = wiener.fit(inputs, targets, series.train_end, session.starts)
    trainer.progress.say(f"  {name}: ridge with {fitted.lags} lags")
    predicted = series.statistics.in_units(wiener.predict(fitted, inputs, session.starts))
    seconds = {"fit": [time.monotonic() - start]}
    about = score_test_part(session, predicted, trainer.bin_s).given()
    scores = WienerScores(**about, parameters=fitted.parameters, lags=fitted.lags, alpha=fitted.alpha)
    return _Decoder(predicted, scores, seconds)


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    write_bytes(path, stream.getvalue())
