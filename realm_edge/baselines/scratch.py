"""The student's architecture trained with labels from random weights: what distillation has to beat."""

from collections.abc import Sequence

from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.settings import FitSettings, ModelSettings
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import History, Phase, seeded
from realm_edge.training.segments import Series


def fit(
    model: ModelSettings, settings: FitSettings, series: Sequence[Series], window: int, phase: Phase, progress: Progress
) -> tuple[Student, History]:
    """Train a student on the training parts of ``series``; decode with :func:`realm_edge.models.student.decode`.

    Args:
        series: sessions with the same inputs and behaviour axes; the last one's statistics become the student's.
        window: bins a training segment.
    """
    with seeded(phase, "init"):
        student = Student(model, series[0].inputs.shape[1], series[0].targets.shape[1], kinds=series[0].kinds)
    return student, finetune(student, settings, series, window, phase, progress)
