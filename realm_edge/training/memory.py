"""What training takes in memory, estimated before anything is allocated."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import nn

from realm_edge.baselines.cost import parameters
from realm_edge.memory import check_free, free_bytes
from realm_edge.models.mamba2 import CHUNK
from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.settings import FitSettings, ModelSettings, Settings

_COPIES = 6  # of the weights: themselves, gradient, two moments of AdamW, moving average, best
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Inputs:
    """What is decoded from what."""

    n_features: int
    dims: int
    kinds: int = 1  # features a channel has


@dataclass(frozen=True)
class Need:
    """The most that one phase holds at once."""

    phase: str  # field of Settings
    model: str  # field of Settings
    bytes: int


def check_training(settings: Settings, inputs: Inputs, fabric: Fabric | None = None) -> None:
    """Refuse settings whose training does not fit the memory that is free now.

    Args:
        fabric: where training runs; None for this process' CPU.

    Raises:
        UserError: naming the estimate and the settings to lower.
    """
    on_gpu = fabric is not None and fabric.device.type == "cuda"
    free = torch.cuda.mem_get_info(fabric.device)[0] if fabric is not None and on_gpu else free_bytes()
    largest = max(needs(settings, inputs), key=lambda need: need.bytes)
    fields = ", ".join(
        f"{name} ({value})"
        for name, value in (
            (f"{largest.model}.d_model", getattr(settings, largest.model).d_model),
            (f"{largest.model}.n_layer", getattr(settings, largest.model).n_layer),
            (f"{largest.model}.d_state", getattr(settings, largest.model).d_state),
            (f"{largest.phase}.batch", getattr(settings, largest.phase).batch),
            ("window_bins", settings.window_bins),
        )
    )
    check_free(largest.bytes, free, f"training ({largest.phase}, on {inputs.n_features} inputs)", f"lower one of {fields}")


def needs(settings: Settings, inputs: Inputs) -> Iterator[Need]:
    """Estimate each phase of an LFP student's training.

    Counted are weights, what the optimiser and the averages keep of them, and a batch with what it leaves for its gradients. What the
    process holds anyway (torch, the decoded session) is not; sessions that pretrain stay in their files.
    """
    with torch.device("meta"):  # takes no memory
        teacher = Teacher(settings.teacher, [inputs.n_features], kinds=inputs.kinds)
        student = Student(settings.student, inputs.n_features, inputs.dims, kinds=inputs.kinds)
    mixers = 2 * (settings.teacher.n_layer + 1)  # both directions, and those of the predictor
    yield Need("pretrain", "teacher", _held(teacher, settings.teacher, mixers, settings.pretrain, settings.window_bins, inputs))
    for phase, fit in (("distil", settings.distil), ("finetune", settings.finetune)):
        yield Need(phase, "student", _held(student, settings.student, settings.student.n_layer, fit, settings.window_bins, inputs))


def _held(module: nn.Module, model: ModelSettings, mixers: int, fit: FitSettings, window: int, inputs: Inputs) -> int:
    conv = model.d_inner + 2 * model.d_state
    scan = 3 * model.nheads * CHUNK + 2 * model.d_inner * model.d_state // CHUNK
    kept = mixers * (4 * model.d_model + 8 * model.d_inner + 4 * conv + scan) + 4 * inputs.n_features  # numbers per bin
    return _FLOAT * (_COPIES * parameters(module) + window * fit.batch * (kept + inputs.dims))
