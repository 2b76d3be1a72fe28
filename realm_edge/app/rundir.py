"""The directory of a run: which stages are done, from what, and whether that still holds.

Every completed stage leaves ``stages/<stage>.json`` with the SHA-256 of its outputs, of what it was made from and of the record itself, so
that a later stage can refuse inputs that are missing, changed or older than what they depend on. What does not decide is in none of these:
``stages/<stage>.timing.json`` says how long a stage took.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from realm_edge import settings as settings_module
from realm_edge.app.links import require_inside
from realm_edge.app.lock import LOCK
from realm_edge.app.summaries import SUMMARIES
from realm_edge.documents import Form, formed, header, jsonable
from realm_edge.errors import UserError
from realm_edge.files import PARTIAL, read_json, remove_leftovers, sha256_file, sha256_json, write_json
from realm_edge.seal import is_intact, sealed
from realm_edge.settings import Settings
from realm_edge.versions import differing

ORDER = ("data", "train", "export", "quantize", "compile", "simulate", "report")
SIDE = ("baselines", "verify", "verdict")  # branch off: the last behind simulate, the others behind quantize
PER_TARGET = ("compile", "simulate")
_BESIDE = (".request.json", ".timing.json")  # what stands beside the records in stages/
_IN_RUN = (  # names of all that a run's directory may hold
    *("config.toml", "stages", LOCK, ".*.partial-*", "data", "*.safetensors", "train.partial", "metrics.json", "predictions.npz"),
    *("tensorboard", "*.onnx", "calibration.json", "golden", "baselines", "firmware", "simulation", "verification.*", "report.*", "boards"),
    *("verdict", "verdict.*", "hints", "adapted"),
)
_IN_STAGES = (*(f"{stage}{end}" for stage in (*ORDER, *SIDE) for end in ("*.json", ".*options", ".options")), ".*.partial-*")
_NAMES = ("recordings", "behavior_files", "units_files")  # of a request: they hold names of files


# Packages whose version decides what a stage writes, this one aside.
MAKERS = {
    "data": ("numpy", "scipy"),
    "train": ("numpy", "torch", "mamba-ssm"),
    "export": ("torch", "onnx", "onnxruntime"),
    "quantize": ("numpy", "onnx", "onnxruntime"),
    "compile": ("onnx", "apache-tvm", "ziglang"),
    "simulate": ("numpy", "ziglang"),
    "report": ("matplotlib", "jinja2"),
    "baselines": ("numpy", "torch", "onnx", "onnxruntime", "apache-tvm", "ziglang"),
    "verify": ("numpy", "onnxruntime"),
    "verdict": ("numpy", "torch", "onnx", "onnxruntime", "apache-tvm", "ziglang", "matplotlib", "jinja2"),
}


class StageRecord(Form):
    """``stages/<stage>.json``."""

    format: Literal["realm-edge stage/2"]  # 1 had neither this nor made_by
    made_by: dict[str, str]  # version by package
    summary: dict[str, Any]  # of the form that SUMMARIES names
    outputs: dict[str, str]  # path relative to the run: SHA-256 of the file
    made_from: dict[str, str]  # "settings", "request" and the upstream stages: SHA-256
    digest: str  # of the rest, see realm_edge.seal


FORMAT = "realm-edge stage/2"


@dataclass(frozen=True)
class RunDir:
    """One run. Stage ids are those of ``SIDE`` and ``ORDER``; two exist per target, as ``compile.cortex-m4``."""

    path: Path
    settings: Settings
    removed: tuple[Path, ...] = ()  # leftovers of interrupted runs that were removed when this one was opened

    @staticmethod
    def create(path: Path, settings: Settings) -> "RunDir":
        """Make the directory and its ``config.toml``, or open it when it was made with the same settings or nothing was done in it.

        Raises:
            UserError: the directory holds a run with other settings, or files that are no run.
        """
        config = path / "config.toml"
        if not config.exists():
            require_free(path)
            settings_module.save(settings, config)
        _stages_of(path).mkdir(exist_ok=True)
        run = RunDir.open(path)
        if run.settings == settings:
            return run
        if run.performed():
            raise UserError(f"{config}: the run was made with other settings: choose another --out, or --fresh to start over")
        settings_module.save(settings, config)
        return RunDir.open(path)

    @staticmethod
    def open(path: Path) -> "RunDir":
        """Open an existing run and remove the half-written files of processes that are gone.

        Raises:
            UserError: there is no run in ``path``, a link leads out of it, or its ``config.toml`` is broken.
        """
        config = path / "config.toml"
        if not config.exists():
            raise UserError(f"{path}: not a run directory (no config.toml): make one with '{command('data', path)}'")
        require_inside(path, _IN_RUN)
        _stages_of(path)
        settings = settings_module.load(config)
        return RunDir(path, settings, remove_leftovers(path))

    @staticmethod
    def erase(path: Path) -> None:
        """Remove all that is in a run (``--fresh``) but its lock, which who calls this holds. Nothing happens where there is none.

        Raises:
            UserError: the directory holds files but no run, or something that no run writes: it is not ours to remove.
        """
        if not ((path / "config.toml").exists() and (path / "stages").is_dir()):
            require_free(path)
            return
        for entry in sorted((*path.iterdir(), *(path / "stages").iterdir())):
            if not any(fnmatch(entry.name, name) for name in (_IN_STAGES if entry.parent != path else _IN_RUN)):
                where = entry.relative_to(path)
                raise UserError(f"{path}: --fresh would remove '{where}', which no run writes: move it away, or choose another --out")
        for entry in [entry for entry in path.iterdir() if entry.name != LOCK]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def file(self, *parts: str) -> Path:
        """Path of a file of this run."""
        return self.path.joinpath(*parts)

    def performed(self) -> tuple[str, ...]:
        """The stages that were completed at some time; they may be stale."""
        records = sorted(self.file("stages").glob("*.json"))
        return tuple(path.name.removesuffix(".json") for path in records if not path.name.endswith(_BESIDE))

    def targets(self, verb: str) -> tuple[str, ...]:
        """Targets for which ``verb`` (``compile`` or ``simulate``) was completed at some time."""
        return tuple(stage.removeprefix(f"{verb}.") for stage in self.performed() if stage.startswith(f"{verb}."))

    def request(self, stage: str, wanted: dict[str, Any]) -> None:
        """Record what from outside the run ``stage`` is asked to use (recordings, budgets, targets); it becomes part of its origin."""
        if self.asked(stage) != wanted:
            _write_record(self._request_file(stage), wanted)

    def remember(self, stage: str, options: Sequence[str]) -> None:
        """Keep the command line's options that ask for this, with paths, for messages that name the command; no digest holds them."""
        if self.remembered(stage) != list(options):
            write_json(_options_file(self.path, stage), list(options))

    def remembered(self, stage: str) -> list[str]:
        """What :meth:`remember` kept; nothing where that was never, or is broken: a message does without."""
        return _options(self.path, stage)

    def requested(self, stage: str) -> dict[str, Any]:
        """What :meth:`request` recorded; empty when nothing was.

        Raises:
            UserError: it is not as it was written.
        """
        wanted = self.asked(stage)
        if wanted is None:
            raise UserError(f"{self._request_file(stage)}: not a stage request: remove it and run '{command(stage, self.path)}'")
        return wanted

    def asked(self, stage: str) -> dict[str, Any] | None:
        """As :meth:`requested`; None where it is not as it was written: no JSON, or no file."""
        path = self._request_file(stage)
        if not path.exists():
            return {}
        try:
            wanted = read_json(path)
        except UserError:
            return None
        targets = wanted.get("targets", []) if isinstance(wanted, dict) else None
        return wanted if isinstance(targets, list) and all(isinstance(each, str) for each in targets) else None

    def was_made_from(self, stage: str, wanted: dict[str, Any]) -> bool:
        """Whether the stage was completed at some time and was asked for ``wanted``, whatever its request says since."""
        record = self._read(stage)
        return record is not None and record.made_from.get("request") == sha256_json(wanted)

    def forgot(self, stage: str) -> bool:
        """Whether neither record nor request tell any more what the stage was asked for."""
        return self._read(stage) is None and not self.asked(stage)

    def is_complete(self, stage: str) -> bool:
        """Whether the outputs are as recorded and nothing that they were made from has changed since."""
        return self.fault(stage) is None

    def require(self, *stages: str) -> None:
        """Check ``stages`` and all that they were made from.

        Raises:
            UserError: the first stage that is missing or stale, why, and the command that mends it.
        """
        for wanted in stages:
            for stage in self._chain(wanted):
                fault = self.fault(stage)
                if fault:
                    raise UserError(f"{self.path}: stage '{stage}' is {fault}: run '{command(stage, self.path)}'")

    def complete(self, stage: str, outputs: Sequence[Path], summary: Any) -> None:
        """Record that ``stage`` has written ``outputs`` from the present settings, request and upstream stages.

        Args:
            stage: stage id.
            outputs: files inside the run; they must exist.
            summary: results of the stage, of the form that :data:`realm_edge.app.summaries.SUMMARIES` names.
        """
        made_from = {key: self._origin(stage, key) for key in self._origins(stage)}
        hashes = {path.relative_to(self.path).as_posix(): sha256_file(path) for path in outputs}
        content = {"summary": jsonable(summary), "outputs": hashes, "made_from": made_from}
        _write_record(self._record_file(stage), sealed(header(FORMAT, MAKERS[stage.partition(".")[0]]) | content))

    def note_seconds(self, stage: str, seconds: Mapping[str, Any]) -> None:
        """Keep the wall time that ``stage`` took, JSON-able, where no digest covers it."""
        write_json(self.file("stages", f"{stage}.timing.json"), seconds)

    def summary(self, stage: str) -> Any:
        """What :meth:`complete` was given.

        Raises:
            UserError: the stage is missing, its record was changed, or it says other things than this version's do.
        """
        kind, remedy = SUMMARIES[stage.partition(".")[0]], f"run '{command(stage, self.path)}'"
        return formed(kind, self._record(stage).summary, self._record_file(stage), remedy)

    def made_by(self, stage: str) -> dict[str, str]:
        """Versions of the packages that made a stage.

        Raises:
            UserError: the stage is missing, or its record was changed.
        """
        return self._record(stage).made_by

    def digest(self, stage: str) -> str:
        """SHA-256 of a completed stage's record, as hex.

        Raises:
            UserError: the stage is missing, or its record was changed.
        """
        return sha256_json(self._record(stage).model_dump(exclude={"digest"}))

    def lineage(self, stage: str) -> str:
        """SHA-256, as hex, of all that decides what ``stage`` makes: the settings, and what all stages up to it were asked for.

        Names of files are left out, and so are those that the recordings have: the same content gives the same bytes under any name.
        """
        asked = [(each, self.requested(each)) for each in self._chain(stage)]
        hashes = [sha256 for _, wanted in asked for _, sha256 in wanted.get("recordings", [])]
        chosen = [[each, {key: value for key, value in wanted.items() if key not in _NAMES}] for each, wanted in asked]
        return sha256_json([self.settings.digest(), hashes, chosen])

    def fault(self, stage: str) -> str | None:
        """Why ``stage`` cannot be used, in words that follow 'is', or None: "missing", or "stale" and what changed."""
        if not self._record_file(stage).exists():
            return "missing"
        if self._is_of_earlier_version(stage):
            return f"stale (its record stages/{stage}.json is of an earlier version of realm-edge)"
        record = self._read(stage)
        if record is None:
            return f"stale (its record stages/{stage}.json was changed since)"
        if self.asked(stage) is None:
            return f"stale (its request stages/{stage}.request.json was changed since)"
        if changed := differing(record.made_by):
            return f"stale (it was made with {changed})"
        if set(record.made_from) != set(self._origins(stage)):
            return "stale (it was made from other stages)"
        for key, digest in record.made_from.items():
            if key in self._upstream(stage) and not self._record_file(key).exists():
                return f"stale (stage '{key}' is missing)"
            if key in self._upstream(stage) and self._read(key) is None:
                return f"stale (the record of stage '{key}' was changed since)"
            if self._origin(stage, key) != digest:
                why = {"settings": "the settings changed", "request": "it was asked for other inputs"}
                return f"stale ({why.get(key, f'stage {key!r} was rerun')} since)"
        for name, digest in record.outputs.items():
            path = self.path / name
            if not path.is_file():
                return f"stale ({name} was removed since)"
            if sha256_file(path) != digest:
                return f"stale ({name} was changed since)"
        return None

    def _upstream(self, stage: str) -> tuple[str, ...]:
        """The stages that ``stage`` reads; what those read in turn is part of their digests."""
        verb, _, target = stage.partition(".")
        if verb == "verdict":
            targets = (self.asked("verdict") or {}).get("targets", [])
            return tuple(f"simulate.{each}" for each in targets[:1])
        if verb in SIDE:
            return ("quantize",)
        before = ORDER[: ORDER.index(verb)][-1:]
        if verb == "report":
            asked = self.asked("report") or {}
            simulated = tuple(f"simulate.{each}" for each in asked.get("targets", []))
            return (*simulated, "verify") if asked.get("verified") else simulated
        return tuple(f"{each}.{target}" if each in PER_TARGET else each for each in before)

    def _chain(self, stage: str) -> Iterator[str]:
        """All that ``stage`` was made from, first things first, and itself last."""
        for each in self._upstream(stage):
            yield from self._chain(each)
        yield stage

    def _origins(self, stage: str) -> tuple[str, ...]:
        return ("settings", "request", *self._upstream(stage))

    def _origin(self, stage: str, key: str) -> str:
        if key == "settings":
            return self.settings.digest()
        return sha256_json(self.requested(stage)) if key == "request" else self.digest(key)

    def _record(self, stage: str) -> StageRecord:
        path = self._record_file(stage)
        if not path.exists():
            raise UserError(f"{self.path}: stage '{stage}' is missing: run '{command(stage, self.path)}'")
        record = self._read(stage)
        if record is None:
            raise UserError(f"{path}: changed since it was written: run '{command(stage, self.path)}'")
        return record

    def _read(self, stage: str) -> StageRecord | None:
        """The record; None where there is none, or it is not as it was written: no JSON, or no file."""
        try:
            content = read_json(self._record_file(stage))
            record = StageRecord.model_validate(content)
        except (UserError, ValidationError):
            return None
        return record if is_intact(content) else None

    def _is_of_earlier_version(self, stage: str) -> bool:
        try:
            content = read_json(self._record_file(stage))
        except UserError:
            return False
        return isinstance(content, dict) and "outputs" in content and "format" not in content

    def _record_file(self, stage: str) -> Path:
        return self.path / "stages" / f"{stage}.json"

    def _request_file(self, stage: str) -> Path:
        return self.path / "stages" / f"{stage}.request.json"


def _write_record(path: Path, value: Any) -> None:
    """Of an empty directory in its place nobody loses anything; of others the system's error tells."""
    if path.is_dir() and not path.is_symlink():
        with suppress(OSError):
            path.rmdir()
    write_json(path, value)


def _stages_of(path: Path) -> Path:
    stages = path / "stages"
    if os.path.lexists(stages) and not stages.is_dir():
        raise UserError(f"{stages}: a file, where a run keeps the records of its stages: move it away, or choose another --out")
    return stages


def command(stage: str, path: Path) -> str:
    """The command that performs a stage of the run in ``path`` as it was asked for last, for a shell."""
    verb, _, target = stage.partition(".")
    return shlex.join(["realm-edge", verb, *(["--target", target] if target else []), *_options(path, stage), "--out", str(path)])


def _options_file(path: Path, stage: str) -> Path:
    return path / "stages" / f"{stage}.options"


def _options(path: Path, stage: str) -> list[str]:
    try:
        return [str(word) for word in read_json(_options_file(path, stage))]
    except (UserError, TypeError):
        return []


def require_free(path: Path) -> None:
    """See that a run can be made in ``path``: nothing is there, or nothing but what an earlier try left.

    Raises:
        UserError: somebody's files are there.
    """
    if path.exists() and (not path.is_dir() or any(not PARTIAL.match(entry.name) and entry.name != LOCK for entry in path.iterdir())):
        raise UserError(f"{path}: not a run directory, and not empty: choose another --out")
