"""Opens a run for a command and performs its stages, skipping what is done already."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from realm_edge.errors import UserError
from realm_edge.files import sha256_file
from realm_edge.progress import Progress
from realm_edge.rundir import RunDir
from realm_edge.settings import Settings, load, preset
from realm_edge.sources import Recordings, fitted


@dataclass(frozen=True)
class Workflow:
    """A run, and the modules that perform its stages: each has ``run(run, progress, *arguments) -> summary``."""

    run: RunDir
    progress: Progress
    modules: dict[str, str]  # stage -> module

    def perform(self, stage: str, *arguments: Any, request: dict[str, Any] | None = None) -> dict[str, Any]:
        """Perform ``stage`` now; return its summary.

        Args:
            stage: stage id; what follows the dot is the target.
            arguments: passed to the stage's ``run``.
            request: what the stage uses from outside the run; see :meth:`RunDir.request`.
        """
        self.progress.say(f"[{stage}]")
        self.run.request(stage, request or {})
        summary: dict[str, Any] = import_module(self.modules[stage.partition(".")[0]]).run(self.run, self.progress, *arguments)
        return summary

    def resume(self, stage: str, *arguments: Any, request: dict[str, Any] | None = None) -> dict[str, Any]:
        """As :meth:`perform`, unless the stage is complete and was asked for the same."""
        fault = self.run.fault(stage)
        if fault is None and self.run.requested(stage) == (request or {}):
            self.progress.say(f"[{stage}] complete, skipped")
            return self.run.summary(stage)
        if fault not in (None, "missing"):
            self.progress.say(f"[{stage}] is {fault}")
        return self.perform(stage, *arguments, request=request)


def open_for_data(
    out: Path, settings: Settings | None, recordings: Recordings, *, fresh: bool, may_skip: bool
) -> tuple[RunDir, dict[str, Any]]:
    """Make or reopen the run in ``out``; an existing one keeps its settings and recordings where none are named.

    Args:
        out: directory of the run.
        settings: None for those of the existing run, or the ``demo`` preset.
        recordings: what is decoded; no files for those of the existing run, or the synthetic ones. A run that is made gets the bins of
            the first recording of features.
        fresh: remove an existing run first.
        may_skip: whether the data stage is not needed where it is complete.

    Returns:
        The run and the request of its data stage.

    Raises:
        UserError: a recording is missing, or the run was made with other settings or from other recordings.
    """
    wanted = recordings.request()
    if fresh:
        RunDir.erase(out)
    config = out / "config.toml"
    reopens = settings is None and config.exists()
    if recordings.files:
        before = load(config) if reopens else settings or preset("demo")
        run = RunDir.create(out, fitted(before, recordings))
    else:
        run = RunDir.open(out) if reopens else RunDir.create(out, settings or preset("demo"))
    had = run.requested("data")
    if had == wanted or run.was_made_from("data", wanted) or "data" not in run.performed():
        return run, wanted
    if recordings.files or not (may_skip and run.is_complete("data")):
        names = ", ".join(name for name, _ in had.get("recordings", [])) or "the synthetic recordings"
        raise UserError(
            f"{out}: this run was made from {names}, behaviour {had.get('behavior')}: name them again, or another --out, or --fresh"
        )
    return run, had


def budget_request(budget: Path | None) -> dict[str, Any]:
    """What a simulation is asked to hold against: the hash of a file, or None for the default budgets.

    Raises:
        UserError: there is no such file.
    """
    return {"budget": None if budget is None else sha256_file(_existing(budget))}


def report_request(run: RunDir, targets: Sequence[str]) -> dict[str, Any]:
    """What a report is asked to show: targets, and a verification that still holds."""
    return {"targets": list(targets), **({"verified": True} if run.is_complete("verify") else {})}


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path
