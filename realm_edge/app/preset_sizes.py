"""How large the presets' models are, counted on modules without memory."""

from dataclasses import dataclass

import torch

from realm_edge.baselines.cost import macs_per_step, parameters
from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.settings import Settings

DIMS = 2  # behaviour axes of the default recordings


@dataclass(frozen=True)
class PresetSize:
    """One preset's LFP models, for as many channels as its default recordings have and :data:`DIMS` axes."""

    name: str
    bin_ms: int
    channels: int
    features: int  # inputs per bin
    student_parameters: int
    student_macs_per_step: int  # as realm_edge.baselines.cost counts
    teacher_parameters: int  # with the mask token and the predictor, which only pretraining needs

    def line(self) -> str:
        """For people; columns as :data:`HEADER`."""
        return (
            f"{self.name:<16} {self.bin_ms:>4} ms {self.channels:>4} x {self.features // self.channels}"
            f" {self.student_parameters:>11,} {self.student_macs_per_step:>11,} {self.teacher_parameters:>11,}"
        )


HEADER = f"{'preset':<16} {'bin':>7} {'inputs':>8} {'student':>11} {'MACs/step':>11} {'teacher':>11}"


def preset_size(settings: Settings) -> PresetSize:
    """Count the parameters of the preset's teacher and student, and the student's multiply-accumulates per bin."""
    channels = settings.synthetic.channels
    kinds = 1 + len(settings.lfp.bands_hz)
    features = channels * kinds
    with torch.device("meta"):
        student = Student(settings.student, features, DIMS, kinds=kinds)
        teacher = Teacher(settings.teacher, [features], kinds=kinds)
    return PresetSize(
        settings.preset, settings.bin_ms, channels, features, parameters(student), macs_per_step(student), parameters(teacher)
    )
