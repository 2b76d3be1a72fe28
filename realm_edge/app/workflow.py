"""Opens a run for a command and performs its stages, skipping what is done already."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_sim.compiler.names import check_prefix
from realm_edge.app.boards import kept
from realm_edge.app.lock import held
from realm_edge.app.rundir import RunDir, command, require_free
from realm_edge.app.stages import Stage
from realm_edge.errors import UserError
from realm_edge.files import sha256_file
from realm_edge.progress import Progress
from realm_edge.settings import Settings, load, preset
from realm_edge.sources import Recordings, fitted


@dataclass(frozen=True)
class Workflow:
    """A run, and what performs its stages."""

    run: RunDir
    progress: Progress
    stage_of: Callable[[str], Stage]  # :func:`realm_edge.app.stages.stage_of`

    def perform(self, stage: str, *arguments: Any, request: dict[str, Any] | None = None, options: Sequence[str] = ()) -> Any:
        """Perform ``stage`` now; return its summary. Where it fails, a stage that was finished before still is.

        Args:
            stage: stage id; what follows the dot is the target.
            arguments: passed to the stage's ``run``.
            request: what the stage uses from outside the run; see :meth:`RunDir.request`.
            options: of the command line, by which it is asked for that; see :meth:`RunDir.remember`.
        """
        self.progress.say(f"[{stage}]")
        asked, options_before = self.run.asked(stage), self.run.remembered(stage)
        self._ask(stage, request or {}, options)
        try:
            summary = self.stage_of(stage.partition(".")[0])(self.run, self.progress, *arguments)
        except BaseException:
            if stage in self.run.performed() and asked is not None:
                self._ask(stage, asked, options_before)
            raise
        return summary

    def _ask(self, stage: str, request: dict[str, Any], options: Sequence[str]) -> None:
        self.run.request(stage, request)
        self.run.remember(stage, options)

    def resume(self, stage: str, *arguments: Any, request: dict[str, Any] | None = None, options: Sequence[str] = ()) -> Any:
        """As :meth:`perform`, unless the stage is complete and was asked for the same."""
        fault = self.run.fault(stage)
        if fault is None and self.run.requested(stage) == (request or {}):
            self.progress.say(f"[{stage}] complete, skipped")
            return self.run.summary(stage)
        if fault not in (None, "missing"):
            self.progress.say(f"[{stage}] is {fault}")
        return self.perform(stage, *arguments, request=request, options=options)


@contextmanager
def opened(out: Path, leads: bool = True) -> Iterator[RunDir]:
    """Open the run in ``out`` and hold its lock within the block.

    Args:
        leads: of processes that work on one run together, one does, and holds the lock for all.

    Raises:
        UserError: there is no run, or another command writes into it.
    """
    with held(out) if leads and (out / "config.toml").exists() else nullcontext():
        yield RunDir.open(out)


@contextmanager
def open_for_data(
    out: Path, settings: Settings | None, recordings: Recordings, *, fresh: bool, may_skip: bool
) -> Iterator[tuple[RunDir, dict[str, Any]]]:
    """Make or reopen the run in ``out``, and hold its lock within the block; an existing one keeps its settings and recordings where none
    are named.

    Args:
        out: directory of the run.
        settings: None for those of the existing run, or the ``demo`` preset.
        recordings: what is decoded; no files for those of the existing run, or the synthetic ones. A run that is made gets the bins of
            the first recording of features.
        fresh: remove an existing run first.
        may_skip: whether the data stage is not needed where it is complete.

    Yields:
        The run and the request of its data stage.

    Raises:
        UserError: a recording is missing, the run was made with other settings or from other recordings, or another command writes into it.
    """
    wanted = recordings.request()
    config = out / "config.toml"
    reopens = settings is None and not fresh and config.exists()
    chosen = load(config) if reopens else settings or preset("demo")
    chosen = fitted(chosen, recordings) if recordings.files else chosen
    if not config.exists():
        require_free(out)  # before anything is put there
    with held(out):
        if fresh:
            RunDir.erase(out)
        run = RunDir.create(out, chosen)
        yield run, _data_request(run, recordings, wanted, may_skip)


def _data_request(run: RunDir, recordings: Recordings, wanted: dict[str, Any], may_skip: bool) -> dict[str, Any]:
    if run.was_made_from("data", wanted) or "data" not in run.performed() or run.forgot("data"):
        return wanted
    had = run.requested("data")
    if had == wanted:
        return wanted
    if recordings.files or not (may_skip and run.is_complete("data")):
        names = ", ".join(name for name, _ in had.get("recordings", [])) or "the synthetic recordings"
        raise UserError(
            f"{run.path}: this run was made from {names}, behaviour {had.get('behavior')}: name them again "
            f"('{command('data', run.path)}'), or another --out, or --fresh"
        )
    return had


def compile_request(prefix: str | None) -> dict[str, Any]:
    """What a compile stage is asked for: names that begin so; nothing for those that it chooses itself.

    Raises:
        UserError: it is no prefix.
    """
    if prefix is None:
        return {}
    check_prefix(prefix)
    return {"prefix": prefix}


def compile_options(prefix: str | None) -> list[str]:
    """The command line's options that ask for these names."""
    return [] if prefix is None else ["--prefix", prefix]


def simulation_request(budget: Path | None, components: Path | None) -> dict[str, Any]:
    """What a simulation is asked to price by and to hold against: hashes of files, or None for the product's figures and budgets."""
    files = {"budget": budget, "components": components}
    return {name: None if path is None else sha256_file(path) for name, path in files.items()}


def report_request(run: RunDir, targets: Sequence[str]) -> dict[str, Any]:
    """What a report is asked to show: targets, a verification that still holds, and boards.

    Raises:
        UserError: what is kept of a board was changed.
    """
    measured = kept(run, targets)
    more = {"verified": True} if run.is_complete("verify") else {}
    return {"targets": list(targets), **more, **({"boards": measured} if measured else {})}


def simulation_options(budget: Path | None, components: Path | None) -> list[str]:
    """The command line's options that ask for these files, with paths that hold from any directory."""
    files = {"--budget": budget, "--components": components}
    return [word for option, path in files.items() if path for word in (option, str(path.absolute()))]


def target_options(targets: Sequence[str]) -> list[str]:
    """The command line's options that ask for these targets."""
    return [word for target in targets for word in ("--target", target)]
