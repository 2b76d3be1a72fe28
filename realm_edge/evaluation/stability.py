"""Stability over days: decoders of one day decode later days of an array that ages, with and without a short recalibration.

Synthetic arrays (``synthetic.days_apart``): units give way to others, electrodes change gain and noise, tuning drifts. LFP and spikes
are decoded by the same student, trained in the same way: with labels on the sessions before, then on the training day. Spike
thresholds, statistics and weights are those of the training day.
"""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from torch import Tensor

from realm_edge import synthetic, wiener
from realm_edge.baselines import scratch
from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.evaluation import stability_output
from realm_edge.evaluation.estimate import Part, Parts
from realm_edge.evaluation.forms import STABILITY, ArrayResult, DayScore, StabilitySummary
from realm_edge.evaluation.sweep import Plan
from realm_edge.evaluation.workers import results
from realm_edge.files import write_bytes, write_text
from realm_edge.frontend import segments_z
from realm_edge.metrics import accuracy
from realm_edge.models.by_segment import over_segments
from realm_edge.models.student import CLIP, Student
from realm_edge.preparation import prepare
from realm_edge.progress import Progress, Silent
from realm_edge.segments import Starts
from realm_edge.session import Session
from realm_edge.settings import Settings, changed
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import Phase, one_thread
from realm_edge.training.machine import machine
from realm_edge.training.memory import Inputs, check_training
from realm_edge.training.segments import Series, standardise

NAME = "stability"
FORMAT = "realm-edge stability/3"
BEFORE, AFTER = 2, 6  # sessions before the training day and after it
DAYS_APART = 3.0  # where the settings have none
ZSCORE_BINS = 2048  # time constant of the running z-score
REFIT_S = 60.0  # labelled seconds of a later day that a read-out is refitted on
_ALPHAS = tuple(np.logspace(-1, 5, 13))  # penalties that the refit chooses from


@dataclass(frozen=True)
class AgeingArray:
    """One array, from implantation to the last session."""

    settings: Settings  # their seed makes the array and its sessions
    command: str
    out: Path
    device: str
    precision: str
    kind = ArrayResult

    @property
    def name(self) -> str:
        return f"array{self.settings.seed}"

    @property
    def path(self) -> Path:
        return self.out / "results" / f"{self.name}.json"

    @property
    def folders(self) -> tuple[Path, ...]:
        return (self.out,)

    @property
    def made_from(self) -> dict[str, Any]:
        return {"format": FORMAT, "settings": self.settings.digest()}

    @property
    def parts(self) -> Parts:
        return (Part(NAME),)

    def spent(self, result: ArrayResult) -> list[tuple[Part, float]]:
        return [(self.parts[0], result.seconds)]

    def compute(self) -> ArrayResult:
        """Train on the training day and decode it and all later ones."""
        start = time.monotonic()
        sessions, rows = tuple(_sessions(self.settings)), list[DayScore]()
        with one_thread(), machine(self.device, self.precision) as fabric:
            for kind in ("features", "counts"):
                for statistics in ("frozen", "running"):
                    rows += _decoded(self.settings, sessions, kind, statistics, fabric)
        return ArrayResult(command=self.command, seed=self.settings.seed, seconds=time.monotonic() - start, rows=tuple(rows))


def run(plan: Plan, out: Path, progress: Progress) -> StabilitySummary:
    """Compute one result file per array, then write ``study.json``, ``.md``, ``.png`` and ``.svg`` into ``out``.

    Args:
        plan: ``seeds`` counts arrays, from ``settings.seed`` on.

    Raises:
        UserError: the plan asks for what this study has no choice of.
    """
    if plan.recordings.files or plan.decoders or plan.labels or plan.heldout != 1:
        raise UserError(
            f"study {NAME}: it has sessions, decoders and labels of its own: leave --data, --heldout, --decoders and --labels out"
        )
    if plan.settings.lfp.zscore_bins or plan.settings.spike.zscore_bins:
        raise UserError(f"study {NAME}: it compares statistics itself: set zscore_bins to 0")
    sizes = plan.settings.synthetic
    aged = {"sessions": BEFORE + 1 + AFTER, "seconds": sizes.heldout_seconds, "days_apart": sizes.days_apart or DAYS_APART}
    seeds = range(plan.settings.seed, plan.settings.seed + plan.seeds)
    settings = [changed(plan.settings, {"seed": seed, "synthetic": aged}) for seed in seeds]
    arrays = [AgeingArray(own, plan.command, out, plan.device, plan.precision) for own in settings]
    found, zscore_s = results(arrays, plan.workers, progress), ZSCORE_BINS * plan.settings.bin_ms / 1000
    summary = stability_output.summarise(found, REFIT_S, zscore_s, study=NAME, command=plan.command, settings=arrays[0].settings.digest())
    write_document(out / "study.json", STABILITY, summary, ("numpy", "torch"))
    write_text(out / "study.md", stability_output.markdown(summary))
    for kind, drawn in stability_output.plot(summary).items():
        write_bytes(out / f"study.{kind}", drawn)
    return summary


def _sessions(settings: Settings) -> Iterator[Session]:
    """All sessions, split as decoded ones are; the spike thresholds of the training day hold for the later ones."""
    threshold = None
    for index in range(settings.synthetic.sessions):
        recording, broadband = synthetic.generate(settings, index)
        session = prepare(recording, settings, heldout=True, broadband=broadband, threshold=threshold)
        if index == BEFORE:
            threshold = session.spike_threshold
        yield dataclasses.replace(session, lfp=None, broadband=None)


def _decoded(settings: Settings, sessions: tuple[Session, ...], kind: str, statistics: str, fabric: Fabric) -> Iterator[DayScore]:
    """Of the training day's test part and of those of all later days."""
    zscore_bins = 0 if statistics == "frozen" else ZSCORE_BINS
    inputs = [segments_z(getattr(session, kind), zscore_bins, session.starts) for session in sessions]
    kinds = inputs[BEFORE].shape[1] // len(sessions[BEFORE].good_channels)
    series = [standardise(sessions[at], inputs[at], settings.bin_ms / 1000, kinds) for at in range(BEFORE + 1)]
    day = series[BEFORE]
    student = _student(settings, series, fabric)
    filtered = wiener.fit(day.inputs.numpy(), day.targets.numpy(), day.train_end, sessions[BEFORE].starts)
    for at in range(BEFORE, len(sessions)):
        session, z = sessions[at], ((torch.from_numpy(inputs[at]) - day.input_mean) * day.input_inv_std).clamp(-CLIP, CLIP)
        hidden = _hidden(student, z, session.starts)
        answers = {
            ("student", False): student.decoded(student.head(hidden)).detach().numpy(),
            ("Wiener", False): day.statistics.in_units(wiener.predict(filtered, z.numpy(), session.starts)),
        }
        if at > BEFORE:
            bins = min(round(REFIT_S / (settings.bin_ms / 1000)), session.train_end)
            answers["student", True] = _refitted(hidden.numpy(), session.targets, bins)
        test = np.arange(session.validation_end, session.bins)
        for (decoder, refit), predicted in answers.items():
            scored = accuracy(session.targets[test], predicted[test])
            yield DayScore(
                input="LFP" if kind == "features" else "spikes",
                decoder=decoder,
                statistics=statistics,
                refit=refit,
                day=(at - BEFORE) * settings.synthetic.days_apart,
                r2=float(np.mean(scored.r2)),
                r=float(np.mean(scored.r)),
            )


def _student(settings: Settings, series: list[Series], fabric: Fabric) -> Student:
    """Trained with labels on the earlier sessions, then on the training day."""
    window, inputs = settings.window_bins, series[BEFORE].inputs.shape[1]
    check_training(settings, Inputs(inputs, series[BEFORE].targets.shape[1], series[BEFORE].kinds), fabric)
    first, second = (Phase(name, settings.seed, fabric=fabric) for name in ("supervised", "finetune"))
    student, _ = scratch.fit(settings.student, settings.distil, series[:BEFORE], inputs, window, first, Silent())
    finetune(student, settings.finetune, series[BEFORE:], window, second, Silent())
    return student


@torch.no_grad()
def _hidden(student: Student, z: Tensor, starts: Starts) -> Tensor:
    """(bins, n_inputs) -> (bins, d_model), what the read-out sees, each segment from the zero state."""
    student.eval()

    def run(segments: Tensor, lengths: Tensor | None) -> Tensor:
        hidden, _ = student.encode(segments, student.initial_state(len(segments)))
        return cast(Tensor, student.final_norm(hidden))

    return over_segments(run, z, starts)


def _refitted(hidden: NDArray[np.float32], targets: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Ridge from the student's representation (all bins, d_model) to the behaviour, fitted on a session's first ``bins``."""
    known = np.flatnonzero(np.isfinite(targets[:bins]).all(axis=1))
    ridge = RidgeCV(alphas=_ALPHAS).fit(hidden[known], targets[known])
    return np.asarray(ridge.predict(hidden), np.float32).reshape(targets.shape)
