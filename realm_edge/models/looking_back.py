"""The teacher as a decoder: it sees the future, so that it says in hindsight what was done. It never runs on the implant."""

import torch
from torch import Tensor, nn

from realm_edge.models.by_segment import Run, over_segments
from realm_edge.models.teacher import Teacher
from realm_edge.segments import Starts

BLOCK_BINS = 4096  # a forward pass


class ReadOut(nn.Module):
    """Normalisation and a linear map on the teacher's representation; what only its pretraining needs is taken out of ``teacher``."""

    def __init__(self, teacher: Teacher, dims: int) -> None:
        super().__init__()
        del teacher.predictor, teacher.mask_token
        self.teacher = teacher
        self.norm = nn.LayerNorm(teacher.settings.d_model)
        self.head = nn.Linear(teacher.settings.d_model, dims)

    def forward(self, normalised: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, bins, n_inputs) z-scores -> (batch, bins, dims) standardised; ``lengths`` as the teacher takes them."""
        return self.head(self.norm(self.teacher(normalised, lengths=lengths)))


@torch.no_grad()
def over_session(module: Run, inputs: Tensor, starts: Starts, context: int) -> Tensor:
    """Run over a whole session, segment by segment; long ones in blocks, each with ``context`` bins of what lies before and behind it.

    Args:
        module: as :func:`realm_edge.models.by_segment.over_segments` takes it.
        inputs: (bins, n_inputs).
        starts: bins at which segments start (:mod:`realm_edge.segments`).

    Returns:
        (bins, n).
    """

    def run(segments: Tensor, lengths: Tensor | None) -> Tensor:
        bins = segments.shape[1]
        if lengths is not None:  # short ones
            return module(segments, lengths)
        parts = []
        for start in range(0, bins, BLOCK_BINS):
            first, stop = max(0, start - context), min(start + BLOCK_BINS, bins)
            parts.append(module(segments[:, first : stop + context], None)[:, start - first : stop - first])
        return torch.cat(parts, dim=1)

    return over_segments(run, inputs, starts)
