"""The student's architecture trained on the decoded session alone: what distillation has to beat."""

from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.settings import FitSettings, ModelSettings
from realm_edge.training.finetune import finetune
from realm_edge.training.loop import History, Phase, seeded
from realm_edge.training.segments import Series


def fit(
    model: ModelSettings, settings: FitSettings, series: Series, window: int, phase: Phase, progress: Progress
) -> tuple[Student, History]:
    """Train a student from random weights on the training part of ``series``; decode with :func:`realm_edge.models.student.decode`.

    Args:
        settings: those of the student's fine-tuning.
        window: bins a training segment.
    """
    with seeded(phase, "init"):
        student = Student(model, series.inputs.shape[1], series.targets.shape[1], kinds=series.kinds)
    return student, finetune(student, settings, [series], window, phase, progress)
