"""A stand-in for a run directory and a made-up session, for tests of what stages hand from one package to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from realm_edge.app.summaries import SUMMARIES
from realm_edge.session import Session
from realm_edge.settings import Settings
from tests.loose import loose

BINS, TRAIN, VALIDATION = 100, 60, 75


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
        return loose(SUMMARIES[stage.partition(".")[0]], self.summaries[stage])

    def lineage(self, stage: str) -> str:
        return f"lineage of {stage}"

    def digest(self, stage: str) -> str:
        return f"digest of {stage}"

    def complete(self, stage: str, outputs: list[Path], summary: Any) -> None:
        self.completed[stage] = list(outputs), summary


def session(name: str = "day3", heldout: bool = True, **changes: Any) -> Session:
    """Three channels of two features each, four units; behaviour with a mean and a scale."""
    rng = np.random.default_rng(len(name))
    one = Session(
        name=name, heldout=heldout, synthetic=False, targets=rng.normal(5, 2, (BINS, 2)).astype(np.float32), target_names=("vx", "vy"),
        target_unit="cm/s", train_end=TRAIN, validation_end=VALIDATION, lfp=np.ones((BINS * 20, 3), np.int16),
        good_channels=np.ones(3, bool), features=rng.normal(1, 3, (BINS, 6)).astype(np.float32),
        counts=rng.poisson(2, (BINS, 4)).astype(np.float32), spike_source="broadband", spike_threshold=None, broadband=None,
    )  # fmt: skip
    return replace(one, **changes)
