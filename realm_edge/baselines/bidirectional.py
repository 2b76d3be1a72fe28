"""The teacher as a decoder: it sees the future, so that it bounds what a causal student can reach and is no competitor."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from realm_edge.models.teacher import Teacher

BLOCK_BINS = 4096  # a forward pass


class ReadOut(nn.Module):
    """Normalisation and a linear map on the teacher's representation; what only its pretraining needs is taken out of ``teacher``."""

    def __init__(self, teacher: Teacher, dims: int) -> None:
        super().__init__()
        del teacher.predictor, teacher.mask_token
        self.teacher = teacher
        self.norm = nn.LayerNorm(teacher.settings.d_model)
        self.head = nn.Linear(teacher.settings.d_model, dims)

    def forward(self, normalised: Tensor) -> Tensor:
        """(batch, bins, n_inputs) z-scores -> (batch, bins, dims) standardised."""
        return self.head(self.norm(self.teacher(normalised)))


@torch.no_grad()
def over_session(module: Callable[[Tensor], Tensor], inputs: Tensor, context: int) -> Tensor:
    """Run over a whole session in blocks, each with ``context`` bins of what lies before and behind it.

    Args:
        module: (1, bins, n_inputs) -> (1, bins, n).
        inputs: (bins, n_inputs).

    Returns:
        (bins, n).
    """
    parts = []
    for start in range(0, len(inputs), BLOCK_BINS):
        first, stop = max(0, start - context), min(start + BLOCK_BINS, len(inputs))
        parts.append(module(inputs[None, first : stop + context])[0, start - first : stop - first])
    return torch.cat(parts)
