"""A mean of several fits, from which one decoder learns: what it says depends less on chance, and the implant computes one decoder.

Seeds differ by more than decoders do on recordings of minutes, and so do the moments at which a validation part of seconds stops them.
Each member trains without some blocks of the training part's labels, others than the other members', and these stop it together with the
validation part: where behaviour can hardly be decoded in that part, blocks from all over the training part still tell. What the members say
on average then teaches the decoder that is kept, beside the labels (distillation, Hinton et al., arXiv 1503.02531).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from realm_edge.training.segments import Series

BLOCKS = 5  # a member holds out, evenly spread over the training part
SHARE = 0.125  # of the known labels, in all of a member's blocks together
LABELS = 0.5  # weight of the labels beside what the members say


def blocks(series: Series, member: int, members: int) -> Iterator[tuple[int, int]]:
    """First bin and end of each block of labels that a member holds out; none where a block would hold no label.

    Blocks of two members do not overlap: up to six have room side by side.
    """
    known = torch.isfinite(series.targets[: series.train_end]).all(dim=1).nonzero()[:, 0].cpu().numpy()
    for piece in np.array_split(known, BLOCKS):
        held = round(SHARE * len(piece))
        if held:
            first = (len(piece) - held) * (member + 1) // (members + 1)
            yield int(piece[first]), int(piece[first + held - 1]) + 1


def without(series: Series, held: Sequence[tuple[int, int]]) -> Series:
    """The series whose labels in the blocks are unknown."""
    targets = series.targets[: len(series.targets)].clone()
    for first, stop in held:
        targets[first:stop] = torch.nan
    return replace(series, targets=targets)


def taught_by(series: Series, said: Tensor) -> Series:
    """The series whose training part has for targets the labels and what the members say, and the latter alone where there is no label.

    The squared error to the mean of two targets has the gradient of the mean of the two squared errors.

    Args:
        said: (bins of the training part, dims), the members' mean.
    """
    targets = series.targets[: len(series.targets)].clone()
    labels = targets[: series.train_end]
    targets[: series.train_end] = torch.where(torch.isfinite(labels), LABELS * labels + (1 - LABELS) * said, said)
    return replace(series, targets=targets)
