"""A stand-in for a run directory, for tests of what stages hand from one package to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm_edge.settings import Settings


@dataclass
class MadeUpRun:
    """Remembers what was required and completed; digests and lineages name their stage."""

    path: Path
    settings: Settings
    summaries: Mapping[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    completed: dict[str, tuple[list[Path], Any]] = field(default_factory=dict)

    def file(self, *parts: str) -> Path:
        path = self.path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def require(self, *stages: str) -> None:
        self.required += stages

    def summary(self, stage: str) -> Any:
        return self.summaries[stage]

    def lineage(self, stage: str) -> str:
        return f"lineage of {stage}"

    def digest(self, stage: str) -> str:
        return f"digest of {stage}"

    def complete(self, stage: str, outputs: list[Path], summary: Any) -> None:
        self.completed[stage] = list(outputs), summary
