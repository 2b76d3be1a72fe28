"""Runs the cells of a comparison: one result file each, written whole, skipped when it is there."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realm_edge.errors import UserError
from realm_edge.evaluation.blocks import block_sums
from realm_edge.evaluation.decoders import Bench, Decoder, decoders
from realm_edge.evaluation.summary import summarise
from realm_edge.evaluation.table import markdown, plot
from realm_edge.evaluation.tasks import Recordings, Task, shifted, tasks, with_labels
from realm_edge.files import read_json, write_bytes, write_json, write_text
from realm_edge.metrics import accuracy
from realm_edge.progress import Progress
from realm_edge.settings import Settings
from realm_edge.training.loop import one_thread
from realm_edge.training.material import gather

FORMAT = "realm-edge result/1"


@dataclass(frozen=True)
class Plan:
    """What to compare."""

    settings: Settings
    recordings: Recordings = field(default_factory=Recordings)
    seeds: int = 3  # from settings.seed on; they decide weights and batches, never the recordings
    heldout: int | None = 1  # sessions decoded; None: each in turn
    labels: tuple[float, ...] = (1.0,)  # shares of the training part whose behaviour is known
    double: bool = False
    command: str = ""


@dataclass(frozen=True)
class _Cell:
    task: Task
    decoder: Decoder
    labels: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.task.decoded.name}.{self.decoder.name}.labels{100 * self.labels:g}.seed{self.seed}"


def evaluate(plan: Plan, out: Path, progress: Progress) -> dict[str, Any]:
    """Compute the cells that ``out/results`` lacks, then write ``evaluation.json``, ``.md``, ``.png`` and ``.svg`` into ``out``.

    Interrupted and started again, it goes on with the next cell; teachers go on after their last epoch.

    Returns:
        The content of ``evaluation.json``.

    Raises:
        UserError: a recording cannot be used, a share of labels is too small, or ``out`` holds results of other settings or recordings.
    """
    if plan.seeds < 1:
        raise UserError(f"--seeds {plan.seeds}: use 1 or more")
    for share in plan.labels:
        if not 0 < share <= 1:
            raise UserError(f"--labels {share:g}: a share of the labels lies above 0 and up to 1")
    if plan.recordings.features is not None and not plan.recordings.files:
        raise UserError(f"--features {plan.recordings.features}: the synthetic recordings have LFP: leave it out, or give --data")
    if plan.recordings.behavior is not None and not plan.recordings.files:
        raise UserError(f"--behavior {plan.recordings.behavior}: the synthetic recordings have one behaviour: leave it out, or give --data")
    todo = tasks(plan.recordings, plan.settings, plan.heldout, progress)
    spikes = all(task.decoded.counts is not None for task in todo)
    arms = decoders(plan.double, spikes)
    seeds = range(plan.settings.seed, plan.settings.seed + plan.seeds)
    cells = [_Cell(task, arm, share, seed) for seed in seeds for task in todo for share in plan.labels for arm in arms]
    results = _results(plan, cells, out, progress)

    summary = {"command": plan.command, "settings": plan.settings.digest()} | summarise(results, arms, plan.settings)
    write_json(out / "evaluation.json", summary)
    write_text(out / "evaluation.md", markdown(summary))
    for kind, drawn in plot(summary).items():
        write_bytes(out / f"evaluation.{kind}", drawn)
    return summary


def _results(plan: Plan, cells: Sequence[_Cell], out: Path, progress: Progress) -> list[dict[str, Any]]:
    found = [_read(_path(out, cell), _made_from(plan, cell)) for cell in cells]
    missing = [index for index, result in enumerate(found) if result is None]
    progress.say(f"{len(cells)} cells, {len(cells) - len(missing)} of them done")
    start = time.monotonic()
    for count, index in enumerate(progress.track(missing, "decoders", total=len(missing)), 1):
        cell = cells[index]
        result = _compute(plan, cell, out)
        write_json(_path(out, cell), result)
        found[index] = result
        left = (time.monotonic() - start) / count * (len(missing) - count)
        progress.say(f"  {count}/{len(missing)} {cell.name}: R2 {result['r2']:.3f}, about {left:.0f} s left")
    return [result for result in found if result is not None]


def _compute(plan: Plan, cell: _Cell, out: Path) -> dict[str, Any]:
    task = cell.task
    session = shifted(task.decoded, task.bin_s, cell.seed) if cell.decoder.chance else task.decoded
    decoded = with_labels(session, cell.labels)
    material = gather((*task.others, decoded), decoded, cell.decoder.inputs)
    made_from = _made_from(plan, cell)
    # A teacher is shared by all decoded sessions with the same pretraining sessions.
    shared = made_from["recordings"]
    if material.pretraining:
        names = {one.name for one in material.pretraining}
        shared = shared | {"decoded": None, "pretraining": [one for one in shared["pretraining"] if one[0] in names]}
    bench = Bench(plan.settings, material, len(session.good_channels), task.window, cell.seed, out / "teachers", shared)
    with one_thread():  # decoding too: results do not depend on the number of cores
        outcome = cell.decoder.fit(bench)
    test = np.arange(session.validation_end, session.bins)
    scored = accuracy(session.targets[test], outcome.predicted[test]).as_json(session.target_names)
    return {
        "made_from": made_from,
        "command": plan.command,
        "session": session.name,
        "synthetic": session.synthetic,
        "decoder": cell.decoder.name,
        "seed": cell.seed,
        "labels": cell.labels,
        **scored,
        "blocks": block_sums(session.targets[test], outcome.predicted[test], task.bin_s),
        "parameters": outcome.parameters,
        "macs_per_step": outcome.macs_per_step,
        "training_seconds": outcome.seconds,
        "pretraining_seconds": outcome.pretraining_seconds,
        "steps_to_best": outcome.history.steps_to_best if outcome.history else None,
        "validation_loss": list(outcome.history.validation_loss) if outcome.history else None,
        "steps_by_epoch": list(outcome.history.steps) if outcome.history else None,
    }


def _made_from(plan: Plan, cell: _Cell) -> dict[str, Any]:
    recordings = cell.task.made_from() | {"behavior": plan.recordings.behavior, "features": plan.recordings.features}
    return {"format": FORMAT, "settings": plan.settings.digest(), "recordings": recordings}


def _path(out: Path, cell: _Cell) -> Path:
    return out / "results" / f"{cell.name}.json"


def _read(path: Path, made_from: dict[str, Any]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    result = read_json(path)
    if not isinstance(result, dict) or result.get("made_from") != made_from:
        raise UserError(f"{path}: made with other settings or recordings, or by another version: name another --out, or remove it")
    return result
