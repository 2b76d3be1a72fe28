"""The student's architecture trained with labels from random weights: what distillation has to beat."""

from collections.abc import Sequence

from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.settings import FitSettings, ModelSettings
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import History, Phase, seeded
from realm_edge.training.segments import Series


def fit(
    model: ModelSettings, settings: FitSettings, series: Sequence[Series], n_features: int, window: int, phase: Phase, progress: Progress
) -> tuple[Student, History]:
    """Train a student on the training parts of ``series``; decode with :func:`realm_edge.models.student.decode`.

    Args:
        series: sessions with the same behaviour axes; the statistics of the last with as many inputs become the student's.
        n_features: of the decoded session.
        window: bins a training segment.
    """
    with seeded(phase, "init"):
        student = Student(model, n_features, series[0].targets.shape[1], kinds=series[0].kinds)
    return student, finetune(student, settings, series, window, phase, progress)
