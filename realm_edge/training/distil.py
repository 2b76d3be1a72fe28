"""Retrospective distillation: the causal student learns to represent what the bidirectional teacher sees in hindsight."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realm_edge.errors import UserError
from realm_edge.models.by_segment import padded_lengths
from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Progress
from realm_edge.settings import DistilSettings, ModelSettings
from realm_edge.training.arrays import SharedStudent
from realm_edge.training.finetune import decoding_error
from realm_edge.training.history import History
from realm_edge.training.loop import Phase, fit, masked_mse, seeded
from realm_edge.training.machine import mean_over_processes
from realm_edge.training.segments import Batch, Series, mean_over_bins, training_batches, unpadded, validation_batches

REBUILT = 0.3  # of a step's bins, where the reconstruction has two layers (REALM's code)


class Distillation(nn.Module):
    """The student with the maps that only distillation needs."""

    def __init__(self, shared: SharedStudent, n_features: Iterable[int], teacher_d_model: int, two_layers: bool = False) -> None:
        """``n_features``: of every session. ``two_layers``: of the reconstruction."""
        super().__init__()
        self.shared = shared
        d_model = shared.student.settings.d_model
        self.projection = nn.Identity() if d_model == teacher_d_model else nn.Linear(d_model, teacher_d_model)
        self.two_layers = two_layers
        self.reconstructions = nn.ModuleDict({str(n): _reconstruction(d_model, n, two_layers) for n in sorted(set(n_features))})

    def loss(self, batch: Batch, seen_by_teacher: Tensor, settings: DistilSettings) -> Tensor:
        """w_repr * mean(1 - cos(P(student), teacher)) + w_task * MSE(behaviour) + w_ae * MSE(reconstruction).

        Args:
            seen_by_teacher: (batch, window, teacher's d_model), the teacher's last layer for the same windows.
        """
        every = (self.shared.encode(batch.inputs), seen_by_teacher, batch.inputs, batch.targets, batch.weights)
        lengths = padded_lengths(batch.lengths, batch.inputs)
        hidden, seen, inputs, targets, weights = (unpadded(each, lengths) for each in every)
        apart = (1.0 - F.cosine_similarity(self.projection(hidden).float(), seen.float(), dim=-1)).mean()
        task = masked_mse(self.shared.student.read_out(hidden), targets, weights)
        if self.two_layers and self.training:
            hidden, inputs = _some_bins(hidden, inputs)
        reconstruction = F.mse_loss(self.reconstructions[str(inputs.shape[-1])](hidden), inputs)
        bins = batch.lengths.sum().to(hidden.device)
        apart, reconstruction = (mean_over_processes(mean, bins) for mean in (apart, reconstruction))
        return settings.w_repr * apart + settings.w_task * task + settings.w_ae * reconstruction


def distil(
    teacher: Teacher,
    model: ModelSettings,
    settings: DistilSettings,
    series: Sequence[Series],
    n_features: int,
    window: int,
    phase: Phase,
    progress: Progress,
) -> tuple[Student, History]:
    """Train a student against a frozen teacher on the pretraining sessions; its statistics buffers are left to fine-tuning.

    The weights that decode the validation parts best are kept: the rest of the loss can go on falling while decoding, which has far
    fewer numbers to learn from, is fitted to noise (the rodent recording). Without ``w_task`` it is the whole loss that decides.

    Args:
        series: sessions that pretrained the teacher, with the same behaviour axes.
        n_features: of the decoded session. Where no session of ``series`` has as many, its input layer is left to fine-tuning.
        window: bins a training segment.

    Raises:
        UserError: the tokenizer is to be copied, and no session of ``series`` has as many features as the decoded one.
    """
    series = [one.to(phase.fabric.device) for one in series]
    with seeded(phase, "init"):
        student = Student(model, n_features, series[0].targets.shape[1], settings.dropout, series[0].kinds)
        arrays = [one.inputs.shape[1] for one in series]
        shared = SharedStudent(student, arrays, series[0].kinds)
        module = Distillation(shared, arrays, teacher.settings.d_model, settings.reconstruction == "two-layer")
    if settings.tokenizer == "copied":
        copy_tokenizer(teacher, shared)
    teacher = teacher.eval().requires_grad_(False).to(phase.fabric.device)

    def loss(module: Distillation, batch: Batch) -> Tensor:
        return module.loss(batch, _seen(teacher, batch), settings)

    def decoding(module: Distillation) -> float:
        return decoding_error(lambda inputs, lengths: module.shared.decode(inputs), series, window)

    held = validation_batches(series, window)  # the teacher looks at them anew each time: what it sees of hundreds of sessions is much

    def whole_loss(module: Distillation) -> float:
        return mean_over_bins([(batch.lengths, float(module.loss(batch, _seen(teacher, batch), settings))) for batch in held])

    validate = decoding if settings.w_task else whole_loss
    history = fit(module, settings, phase, lambda: training_batches(series, window, settings.batch), loss, validate, progress)
    teacher.cpu()
    return student, history


def copy_tokenizer(teacher: Teacher, shared: SharedStudent) -> None:
    """Start every input layer of the student, its norm and its maps of channels from the teacher's.

    A map of channels then sees the bin and the two before it, with the weights by which the teacher sees the bin and both neighbours.

    Raises:
        UserError: the teacher has no input layer for as many features as the student.
    """
    student = shared.student
    n_features = len(student.feature_mean)
    if str(n_features) not in teacher.tokenizers:
        raise UserError(
            f"distil.tokenizer 'copied': no session that pretrains has the {n_features} inputs of the decoded one: "
            "use 'own', or other sessions"
        )
    student.maps.load_state_dict(teacher.maps.state_dict())
    student.token_norm.load_state_dict(teacher.token_norm.state_dict())
    for n, layer in {str(n_features): student.tokenizer, **dict(shared.tokenizers.items())}.items():
        layer.load_state_dict(teacher.tokenizers[n].state_dict())


@contextmanager
def tokenizer_kept(student: Student, settings: DistilSettings) -> Iterator[None]:
    """Fine-tuning within leaves the tokenizer as distillation made it, where that was the teacher's to begin with."""
    kept = (student.maps, student.tokenizer, student.token_norm) if settings.tokenizer == "copied" else ()
    for each in kept:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in kept:
            each.requires_grad_(True)


def _reconstruction(d_model: int, n_features: int, two_layers: bool) -> nn.Module:
    if two_layers:
        return nn.Sequential(nn.Linear(d_model, d_model), nn.GELU(), nn.Linear(d_model, n_features))
    return nn.Linear(d_model, n_features)


def _some_bins(*every: Tensor) -> list[Tensor]:
    """:data:`REBUILT` of the bins, drawn anew in each step: (..., n) -> (bins, n) of each."""
    flat = [each.flatten(0, -2) for each in every]
    drawn = torch.randperm(len(flat[0]))[: math.ceil(REBUILT * len(flat[0]))].to(flat[0].device)
    return [each[drawn] for each in flat]


@torch.no_grad()
def _seen(teacher: Teacher, batch: Batch) -> Tensor:
    return teacher(batch.inputs, lengths=padded_lengths(batch.lengths, batch.inputs))
