"""The train stage: teacher, student, spike baseline and Wiener filters, scored on the held-out session's test part."""

import io
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from realm_edge import wiener
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.sessions import load_sessions
from realm_edge.app.summaries import METRICS, Bins, Machine, Metrics, StudentScores, Teacher, WienerScores
from realm_edge.baselines.cost import parameters
from realm_edge.checkpoint import save_student, save_teacher
from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.files import write_bytes
from realm_edge.metrics import score_test_part
from realm_edge.models.student import Student, decode
from realm_edge.parallel import cores, parallel
from realm_edge.progress import Progress
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.summaries import Pretraining
from realm_edge.training.distil import distil
from realm_edge.training.finetune import finetune
from realm_edge.training.history import History
from realm_edge.training.loop import Phase, seeded
from realm_edge.training.machine import machine
from realm_edge.training.material import Material, gather
from realm_edge.training.memory import Inputs, check_training, fit_together
from realm_edge.training.pretrain import pretrain


@dataclass(frozen=True)
class _Decoder:
    predicted: NDArray[np.float32]  # (bins, dims) over the whole decoded session, target units
    scores: StudentScores | WienerScores
    seconds: dict[str, list[float]]  # by phase and epoch


@dataclass(frozen=True)
class _Branch:
    """All that is trained on one kind of input."""

    decoders: dict[str, _Decoder]
    pretraining: Pretraining
    seconds: float  # of this command
    teacher: Teacher | None = None
    pretrained: History | None = None  # of the teacher


@dataclass(frozen=True)
class _Trainer:
    """What every phase of one run shares."""

    run: RunDir
    progress: Progress
    fabric: Fabric

    @property
    def settings(self) -> Settings:
        return self.run.settings

    @property
    def made_from(self) -> dict[str, str]:
        return {"settings": self.run.settings.digest(), "data": self.run.lineage("data")}

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


Branch = Callable[[_Trainer, Sequence[Session]], _Branch]


def run(run: RunDir, progress: Progress, device: str = "cpu", precision: str = "32", workers: int | None = 1) -> Metrics:
    """Write checkpoints, ``metrics.json``, ``predictions.npz`` and ``tensorboard/``; what was interrupted goes on at the step where it was.

    The LFP and the spike branch know nothing of one another. On a CPU they train side by side, with the same results to the bit. Under
    torchrun all processes train together and see one directory; the first one writes.

    How long each phase and branch took goes into ``stages/train.timing.json``.

    Accuracies are on the held-out session's test part, in target units, decoded causally from the session's first bin with the state
    carried through each segment. ``predictions.npz``: ``bins`` (n,) int64, ``true`` (n, dims), and one (n, dims) float32 array a decoder,
    by its name in ``metrics.json``.

    Args:
        device, precision: see :func:`realm_edge.training.machine.machine`. They decide how fast training is and how it rounds.
        workers: processes that train branches side by side; None for one a branch, but no more than cores. On a GPU, under torchrun and
            where memory is short it is one.

    Raises:
        UserError: the data stage is missing or stale, its sessions cannot be trained on, there is no such device, too little memory, or a
            process was killed.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: use 1 or more")
    run.require("data")
    with machine(device, precision) as fabric:
        return _train(_Trainer(run, progress, fabric), precision, cores() if workers is None else workers)


def _train(trainer: _Trainer, precision: str, workers: int) -> Metrics:
    run, fabric = trainer.run, trainer.fabric
    sessions = load_sessions(run)
    heldout = _decoded(sessions)
    outputs = [run.file(name) for name in ("teacher.safetensors", "student.safetensors", "metrics.json", "predictions.npz")]
    named: dict[str, Branch] = {"lfp": _lfp_branch}
    if heldout.counts is not None:
        named["spike"] = _spike_branch
        outputs.append(run.file("student_spike.safetensors"))
    elif trainer.writes:
        run.file("student_spike.safetensors").unlink(missing_ok=True)  # of an earlier run on other recordings

    workers = _processes(trainer, heldout, min(workers, len(named)))
    if workers == 1:
        branches = {name: branch(trainer, sessions) for name, branch in named.items()}
    else:
        calls = [partial(_in_own_process, branch, run, precision, torch.get_num_threads()) for branch in named.values()]
        with closing(parallel(calls, workers, trainer.progress)) as ended:
            results = dict(ended)
        branches = {name: results[at] for at, name in enumerate(named)}
    decoders = {name: decoder for branch in branches.values() for name, decoder in branch.decoders.items()}
    teacher, pretrained = branches["lfp"].teacher, branches["lfp"].pretrained
    assert teacher is not None and pretrained is not None

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
        pretraining={name: branch.pretraining for name, branch in branches.items()},
        teacher=teacher,
        decoders={name: decoder.scores for name, decoder in decoders.items()},
    )
    if trainer.writes:
        write_document(run.file("metrics.json"), METRICS, metrics, MAKERS["train"])
        predicted = {name: decoder.predicted[bins] for name, decoder in decoders.items()}
        _write_arrays(run.file("predictions.npz"), {"bins": bins, "true": heldout.targets[bins], **predicted})
        took = {name: decoder.seconds for name, decoder in decoders.items()}
        side_by_side = {"processes": workers, "seconds": {name: branch.seconds for name, branch in branches.items()}}
        run.note_seconds("train", {"teacher": {"pretrain": list(pretrained.seconds_by_epoch)}, **took, "branches": side_by_side})
        shutil.rmtree(trainer.partial)
        run.complete("train", outputs, metrics)
    return metrics


def _decoded(sessions: Sequence[Session]) -> Session:
    return next(session for session in sessions if session.heldout)


def _processes(trainer: _Trainer, heldout: Session, wanted: int) -> int:
    """How many processes are to train branches side by side, 1 for this one alone."""
    if wanted == 1 or trainer.fabric.world_size > 1 or trainer.fabric.device.type != "cpu":
        return 1
    features, counts = heldout.features, heldout.counts
    if features is None or counts is None:
        return 1
    dims, kinds = len(heldout.target_names), features.shape[1] // len(heldout.good_channels)
    if fit_together(trainer.settings, Inputs(features.shape[1], dims, kinds), Inputs(counts.shape[1], dims)):
        return wanted
    trainer.progress.say("  memory is short: LFP and spikes are trained one after the other")
    return 1


def _in_own_process(branch: Branch, run: RunDir, precision: str, threads: int, progress: Progress) -> _Branch:
    """Train a branch on this process' CPU, where nothing else is trained.

    Args:
        threads: of torch outside of training steps, on which rounding depends: those of the process that asks.
    """
    torch.set_num_threads(threads)
    with machine("cpu", precision) as fabric:
        return branch(_Trainer(run, progress, fabric), load_sessions(run))


def _lfp_branch(trainer: _Trainer, sessions: Sequence[Session]) -> _Branch:
    start, heldout = time.monotonic(), _decoded(sessions)
    material = gather(sessions, heldout, "features", trainer.bin_s)
    inputs = Inputs(material.inputs.shape[1], len(heldout.target_names), material.decoded.kinds)
    check_training(trainer.settings, inputs, trainer.fabric)
    decoders, teacher, pretrained = _lfp_student(trainer, material, heldout)
    decoders["lfp_wiener"] = _wiener(trainer, material, heldout, "lfp_wiener")
    return _Branch(decoders, material.summary(), time.monotonic() - start, teacher, pretrained)


def _spike_branch(trainer: _Trainer, sessions: Sequence[Session]) -> _Branch:
    start, heldout = time.monotonic(), _decoded(sessions)
    material = gather(sessions, heldout, "counts", trainer.bin_s)
    student = _spike_student(trainer, material, heldout)
    decoders = {"spike_student": student, "spike_wiener": _wiener(trainer, material, heldout, "spike_wiener")}
    return _Branch(decoders, material.summary(), time.monotonic() - start)


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
