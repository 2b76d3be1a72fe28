"""The student pretrained by masked autoencoding of its own, without a teacher: what that alone buys."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.settings import ModelSettings, PretrainSettings
from realm_edge.training.loop import History, Phase, seeded
from realm_edge.training.pretrain import autoencode
from realm_edge.training.segments import Series


class MaskedStudent(nn.Module):
    """The student, what stands for the inputs of a masked bin, and a linear reconstruction, which it must make from the past alone."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        n_inputs = len(student.feature_mean)
        self.student = student
        self.mask = nn.Parameter(torch.zeros(n_inputs))
        self.reconstruction = nn.Linear(student.settings.d_model, n_inputs)

    def reconstruct(self, normalised: Tensor, masked: Tensor) -> Tensor:
        """Normalised features of every bin, predicted from those up to it that are not masked; (batch, bins, n_inputs)."""
        seen = torch.where(masked[..., None], self.mask, normalised)
        hidden, _ = self.student.encode(seen, self.student.initial_state(len(seen)))
        return self.reconstruction(hidden)


def fit(
    model: ModelSettings,
    settings: PretrainSettings,
    series: Sequence[Series],
    window: int,
    phase: Phase,
    progress: Progress,
) -> tuple[Student, History]:
    """Pretrain a student as :func:`realm_edge.training.pretrain.pretrain` does a teacher; its read-out is left to fine-tuning."""
    with seeded(phase, "init"):
        first = series[0]
        student = Student(model, first.inputs.shape[1], first.targets.shape[1], settings.dropout, first.kinds)
        module = MaskedStudent(student)

    def reconstruct(module: MaskedStudent, normalised: Tensor, masked: Tensor, lengths: Tensor | None) -> Tensor:
        return module.reconstruct(normalised, masked)  # causal: padding comes after all that it could disturb

    return module.student, autoencode(module, reconstruct, settings, series, window, phase, progress)
