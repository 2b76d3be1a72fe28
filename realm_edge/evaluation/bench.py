"""What every arm of the comparison is trained with, and what it hands back."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from realm_edge.baselines import cost
from realm_edge.evaluation.forms import PhaseCost
from realm_edge.files import sha256_json
from realm_edge.models.student import Student
from realm_edge.settings import FitSettings, ModelSettings, Settings
from realm_edge.training.loop import History, Phase
from realm_edge.training.machine import one_cpu
from realm_edge.training.material import Material

# Settings that leave the decoders' inputs as they are. What is kept names those of them that it depends on.
OF_TRAINING = frozenset(("preset", "teacher", "student", "pretrain", "distil", "finetune", "transformer_bins", "output_delay_ms"))


@dataclass(frozen=True)
class Bench:
    """What one decoder is trained with."""

    settings: Settings
    material: Material
    window: int  # bins a training segment
    seed: int
    partial: Path  # directory for pretrained models, which several cells share, and for fits that were interrupted
    made_from: dict[str, Any]
    fabric: Fabric = field(default_factory=one_cpu)

    @property
    def student_parameters(self) -> int:
        """Of the student on these inputs."""
        return self.parameters(self.settings.student)

    def parameters(self, model: ModelSettings) -> int:
        """Of a student of this size on these inputs."""
        series = self.material.decoded
        with torch.device("meta"):  # draws no random numbers
            return cost.parameters(Student(model, self.material.inputs.shape[1], series.targets.shape[1], kinds=series.kinds))

    def phase(self, name: str) -> Phase:
        return Phase(name, self.seed, fabric=self.fabric)

    @contextmanager
    def once(self, name: str, uses: tuple[str, ...], **more: Any) -> Iterator[Phase]:
        """A phase whose result is kept in ``partial``: it is trained once for all cells with the same inputs, other processes wait.

        Args:
            uses: the settings among :data:`OF_TRAINING` that its result depends on.
            more: JSON-able, what else it depends on.
        """
        settings = self.settings.model_dump(mode="json", exclude=set(OF_TRAINING.difference(uses)))
        digest = sha256_json({"settings": settings, "seed": self.seed, **self.made_from, **more})
        path = self.partial / f"{name}-{digest[:16]}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it when the process ends, however it ends
            yield Phase(name, self.seed, path, digest, self.fabric)


@dataclass(frozen=True)
class Outcome:
    """A trained decoder, and what it said."""

    predicted: NDArray[np.float32]  # (bins, dims), the whole decoded session, target units
    parameters: int
    macs_per_step: int
    seconds: float  # training on the decoded session
    pretraining: Mapping[str, PhaseCost] = field(default_factory=dict)  # before that, by phase
    history: History | None = None  # of the training on the decoded session; None: fitted in one go


def facts(history: History, settings: FitSettings) -> PhaseCost:
    """What a phase took."""
    return PhaseCost(
        epochs=history.epochs,
        steps=sum(history.steps),
        seconds=history.seconds,
        stopped_early=history.epochs < settings.epochs,
    )
