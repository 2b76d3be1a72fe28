"""Hindsight distillation: who sees the future says what was done where no label is, and the causal student learns from that.

The bidirectional teacher is pretrained without labels, then fine-tuned with those there are. It relabels every bin of the training parts
without a label, in the decoded session and in others. The student learns the teacher's representation and these labels, each bin weighted
by how sure the teacher is of it. Where it answers better than a causal decoder with the same labels, it knows from the future what the
student can only learn from more labels; where it does not, nothing is gained (docs/results.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from realm_edge.models.by_segment import over_segments
from realm_edge.models.looking_back import ReadOut, over_session
from realm_edge.models.student import Student
from realm_edge.models.teacher import Teacher
from realm_edge.progress import Progress
from realm_edge.segments import Starts, within
from realm_edge.settings import Settings
from realm_edge.training.finetune import WARM_UP_WINDOWS, decoding_error, supervise
from realm_edge.training.loop import History, Phase, one_thread, seeded
from realm_edge.training.segments import Series

DRAWS = 8  # of dropout masks, whose answers differ where the labels do not say what to answer


@dataclass(frozen=True)
class Labeller:
    """A decoder that stands in for labels."""

    module: nn.Module  # with dropout, which says how sure it is
    over: Callable[[Tensor, Starts], Tensor]  # (bins, n_inputs) z-scores and where segments start -> (bins, dims), standardised
    error: float  # mean squared error on the validation parts of labelled sessions, standardised; 1 answers the mean


def look_back(
    teacher: Teacher, settings: Settings, series: Sequence[Series], window: int, phases: tuple[Phase, Phase], progress: Progress
) -> tuple[Labeller, tuple[History, ...]]:
    """Fine-tune a pretrained teacher, in place, with all labels there are: first the other sessions', then the decoded one's.

    Args:
        series: with the same behaviour axes, the decoded session last; those without a label in the training part are left out.
        window: bins a training segment.
        phases: of the other sessions, and of the decoded one.

    Returns:
        Who relabels the decoded session, and what each fit that there were labels for did.
    """
    with seeded(phases[0], "init"):
        module = ReadOut(teacher, series[0].targets.shape[1])
    others, decoded = [one for one in series[:-1] if known(one)], [one for one in series[-1:] if known(one)]
    histories = []
    for part, fit, phase in ((others, settings.distil, phases[0]), (decoded, settings.finetune, phases[1])):
        if part:
            histories.append(supervise(module, ReadOut.forward, fit, part, window, phase, progress))

    def over(inputs: Tensor, starts: Starts) -> Tensor:
        return over_session(module, inputs, starts, WARM_UP_WINDOWS * window)

    return Labeller(module, over, _error(module, module, decoded or others, window)), tuple(histories)


def twin(student: Student, series: Sequence[Series], window: int) -> Labeller:
    """A trained student that stands in for labels itself: the control, as it knows nothing that the next student could not.

    Args:
        student: trained on ``series``, of which the decoded one is the last.
        window: bins a training segment.
    """

    def run(inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        hidden, _ = student.encode(inputs, student.initial_state(len(inputs)))
        return student.read_out(hidden)

    @torch.no_grad()
    def over(inputs: Tensor, starts: Starts) -> Tensor:
        return over_segments(run, inputs, starts)

    labelled = [one for one in series if known(one)]
    return Labeller(student, over, _error(student, run, [series[-1]] if known(series[-1]) else labelled, window))


@torch.no_grad()
def relabelled(labeller: Labeller, series: Series, phase: Phase) -> Series:
    """Fill in the labels that the training part lacks; without a known one, those of the validation part too, which says when to stop.

    A bin's weight is e / (e + v): e the labeller's mean squared error on validation parts, v the variance of what it answers there under
    :data:`DRAWS` draws of dropout, mean over axes. It is the inverse of the error that is expected of the label, 1 for a certain one.

    Returns:
        The same series with targets and weights.
    """
    stop = series.train_end if known(series) else series.validation_end
    with one_thread(), seeded(phase, f"relabel {series.name}"):
        seen = series.inputs[:stop], within(series.starts, 0, stop)  # of the test part not even the inputs
        labeller.module.eval()
        answer = labeller.over(*seen)
        labeller.module.train()
        draws = torch.stack([labeller.over(*seen) for _ in range(DRAWS)])
        labeller.module.eval()
    missing = ~torch.isfinite(series.targets[:stop]).all(dim=1)
    if series.valid is not None:
        missing &= torch.from_numpy(series.valid[:stop])
    targets, weights = series.targets[:].clone(), torch.ones(len(series.targets))
    trusted = labeller.error / (labeller.error + draws.var(dim=0).mean(dim=1))
    targets[:stop][missing], weights[:stop][missing] = answer[missing], trusted[missing]
    return replace(series, targets=targets, weights=weights)


def known(series: Series) -> bool:
    """Whether a bin of the training part has a label."""
    return bool(torch.isfinite(series.targets[: series.train_end]).all(dim=1).any())


@torch.no_grad()
def _error(module: nn.Module, run: Callable[[Tensor, Tensor | None], Tensor], series: Sequence[Series], window: int) -> float:
    module.eval()
    with one_thread():
        return decoding_error(run, series, window)
