"""The comparison: every arm on every held-out session, seed and share of labels."""

from dataclasses import dataclass, field
from pathlib import Path

from realm_edge.documents import write_document
from realm_edge.errors import UserError
from realm_edge.evaluation.cells import Cell, Conditions
from realm_edge.evaluation.decoders import chosen, decoders, learns
from realm_edge.evaluation.forms import EVALUATION, Evaluation
from realm_edge.evaluation.summary import summarise
from realm_edge.evaluation.table import markdown, plot
from realm_edge.evaluation.tasks import tasks
from realm_edge.evaluation.workers import results
from realm_edge.files import write_bytes, write_text
from realm_edge.progress import Progress
from realm_edge.settings import Settings
from realm_edge.sources import Recordings
from realm_edge.training.machine import check_device

MOST_SEEDS, MOST_WORKERS = 1000, 1000


@dataclass(frozen=True)
class Plan:
    """What to compare."""

    settings: Settings
    recordings: Recordings = field(default_factory=Recordings)
    seeds: int = 3  # from settings.seed on; they decide weights and batches, never the recordings
    heldout: int | None = 1  # sessions decoded; None: each in turn
    labels: tuple[float, ...] = (1.0,)  # shares of the training part whose behaviour is known
    double: bool = False
    decoders: tuple[str, ...] = ()  # names of arms; none: all
    command: str = ""
    workers: int = 1  # processes
    device: str = "cpu"
    precision: str = "32"

    def __post_init__(self) -> None:
        for option, value, most in (("--seeds", self.seeds, MOST_SEEDS), ("--workers", self.workers, MOST_WORKERS)):
            if not 1 <= value <= most:
                raise UserError(f"{option} {value}: use 1 to {most}")
        for share in self.labels:
            if not 0 <= share <= 1:
                raise UserError(f"--labels {share:g}: a share of the labels lies from 0 to 1")
        check_device(self.device)
        self.recordings.check()
        chosen(self.decoders, spikes=True, others=True)


def evaluate(plan: Plan, out: Path, progress: Progress) -> Evaluation:
    """Compute the cells that ``out/results`` lacks, then write ``evaluation.json``, ``.md``, ``.png`` and ``.svg`` into ``out``.

    Raises:
        UserError: a recording cannot be used, a share of labels is too small, or ``out`` holds results of other settings or recordings.
    """
    if not plan.labels:
        raise UserError("labels: name at least one share of the labels")
    todo = tasks(plan.recordings, plan.settings, plan.heldout, progress)
    spikes, others = all(task.decoded.counts is not None for task in todo), all(task.others for task in todo)
    arms = chosen(plan.decoders, spikes, others) if plan.decoders else decoders(plan.double, spikes, others, min(plan.labels) < 1)
    seeds = range(plan.settings.seed, plan.settings.seed + plan.seeds)
    conditions = Conditions(plan.settings, plan.recordings, plan.command, out, out / "pretrained", plan.device, plan.precision)
    # Neighbouring cells have different seeds, so that workers seldom wait for each other's pretraining.
    cells = [
        Cell(conditions, task, arm.name, share, seed)
        for arm in arms
        for task in todo
        for share in plan.labels
        for seed in seeds
        if learns(arm, task, share)
    ]
    if not cells:
        raise UserError("labels: none of the decoders learns without a label of the decoded session: name a share above 0")
    summary = summarise(results(cells, plan.workers, progress), arms, plan.settings, plan.command)
    write_document(out / "evaluation.json", EVALUATION, summary, ("numpy", "torch"))
    write_text(out / "evaluation.md", markdown(summary))
    for kind, drawn in plot(summary).items():
        write_bytes(out / f"evaluation.{kind}", drawn)
    return summary
