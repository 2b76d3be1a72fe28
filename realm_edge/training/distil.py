"""Retrospective distillation: the causal student learns to represent what the bidirectional teacher sees in hindsight."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Progress
from realm_edge.settings import DistilSettings, ModelSettings
from realm_edge.training.history import History
from realm_edge.training.loop import Phase, fit, masked_mse, seeded
from realm_edge.training.machine import mean_over_processes
from realm_edge.training.segments import Batch, Series, training_batches, validation_batch


class Distillation(nn.Module):
    """The student with the two linear maps that only distillation needs."""

    def __init__(self, student: Student, teacher_d_model: int) -> None:
        super().__init__()
        self.student = student
        same = student.settings.d_model == teacher_d_model
        self.projection = nn.Identity() if same else nn.Linear(student.settings.d_model, teacher_d_model)
        self.reconstruction = nn.Linear(student.settings.d_model, len(student.feature_mean))

    def loss(self, batch: Batch, seen_by_teacher: Tensor, settings: DistilSettings) -> Tensor:
        """w_repr * mean(1 - cos(P(student), teacher)) + w_task * MSE(behaviour) + w_ae * MSE(reconstruction).

        Args:
            seen_by_teacher: (batch, window, teacher's d_model), the teacher's last layer for the same windows.
        """
        hidden, _ = self.student.encode(batch.inputs, self.student.initial_state(len(batch.inputs)))
        apart = (1.0 - F.cosine_similarity(self.projection(hidden).float(), seen_by_teacher.float(), dim=-1)).mean()
        task = masked_mse(self.student.read_out(hidden), batch.targets)
        reconstruction = F.mse_loss(self.reconstruction(hidden), batch.inputs)
        windows = torch.tensor(len(hidden), device=hidden.device)
        apart, reconstruction = (mean_over_processes(mean, windows) for mean in (apart, reconstruction))
        return settings.w_repr * apart + settings.w_task * task + settings.w_ae * reconstruction


def distil(
    teacher: Teacher,
    model: ModelSettings,
    settings: DistilSettings,
    series: Sequence[Series],
    window: int,
    phase: Phase,
    progress: Progress,
) -> tuple[Student, History]:
    """Train a student against a frozen teacher on the pretraining sessions; its statistics buffers are left to fine-tuning.

    Args:
        series: sessions with the teacher's number of inputs and the same behaviour axes.
        window: bins a training segment.
    """
    series = [one.to(phase.fabric.device) for one in series]
    with seeded(phase, "init"):
        student = Student(model, series[0].inputs.shape[1], series[0].targets.shape[1], settings.dropout, series[0].kinds)
        module = Distillation(student, teacher.settings.d_model)
    teacher = teacher.eval().requires_grad_(False).to(phase.fabric.device)
    held = validation_batch(series, window)
    held_seen = _seen(teacher, held)

    def loss(module: Distillation, batch: Batch) -> Tensor:
        return module.loss(batch, _seen(teacher, batch), settings)

    def validate(module: Distillation) -> float:
        return float(module.loss(held, held_seen, settings))

    history = fit(module, settings, phase, lambda: training_batches(series, window, settings.batch), loss, validate, progress)
    teacher.cpu()
    return module.student, history


@torch.no_grad()
def _seen(teacher: Teacher, batch: Batch) -> Tensor:
    return teacher(batch.inputs)
