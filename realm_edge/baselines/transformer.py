"""A causal transformer with a bounded context, which could stream with a cache of that many bins per layer."""

from typing import Any

import torch
from torch import Tensor, nn

from realm_edge.baselines.cost import width_for
from realm_edge.baselines.sequence import SequenceDecoder
from realm_edge.training.loop import Phase, seeded

HEADS = 4
FEEDFORWARD = 2  # times the width


class Transformer(SequenceDecoder):
    """Linear tokenizer, torch's TransformerEncoder (norm first, GELU), linear read-out.

    Every layer sees the bin itself and the ``context - 1`` bins before it. Distance enters as a linear bias on the attention
    scores (ALiBi; Press, Smith and Lewis 2022): unlike positions it means the same at any place of an endless recording.
    """

    def __init__(self, width: int, layers: int, context: int, n_inputs: int, dims: int) -> None:
        super().__init__()
        self.context = context
        self.tokenizer = nn.Linear(n_inputs, width)
        # Without batch_first torch keeps to the plain path: its fast path takes no floating-point masks.
        layer = nn.TransformerEncoderLayer(width, HEADS, FEEDFORWARD * width, dropout=0.0, activation="gelu", norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, dims)

    def forward(self, normalised: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The state is the inputs that later bins can still see: layers * (context - 1) of them, (batch, bins, n_inputs)."""
        seen = normalised if state is None else torch.cat((state, normalised), dim=1)
        mask = self.bias(seen.shape[1]).repeat(len(seen), 1, 1)  # (batch * heads, bins, bins)
        hidden = self.encoder(self.tokenizer(seen).transpose(0, 1), mask=mask).transpose(0, 1)
        kept = len(self.encoder.layers) * (self.context - 1)
        return self.head(hidden[:, seen.shape[1] - normalised.shape[1] :]), seen[:, max(seen.shape[1] - kept, 0) :]

    def bias(self, bins: int) -> Tensor:
        """(heads, bins, bins), added to the scores: -slope * distance into the past, -inf for the future and beyond the context."""
        at = torch.arange(bins, device=self.head.weight.device)
        distance = at[:, None] - at  # (bins, bins), rows ask and columns answer
        slopes = 2.0 ** (-8.0 / HEADS * torch.arange(1, HEADS + 1, device=at.device))
        hidden = (distance < 0) | (distance >= self.context)
        return (-slopes[:, None, None] * distance).masked_fill(hidden, -torch.inf)

    def macs_per_step(self) -> int:
        """Weights, plus the attention products of a full context with cached keys and values: 2 * context * width per layer."""
        return super().macs_per_step() + 2 * self.context * self.tokenizer.out_features * len(self.encoder.layers)


def count(width: int, layers: int, n_inputs: int, dims: int) -> int:
    """Parameters of a :class:`Transformer`."""
    attention = 4 * width * (width + 1)
    feedforward = 2 * FEEDFORWARD * width * width + (FEEDFORWARD + 1) * width
    norms = 4 * width
    return width * (n_inputs + 1) + layers * (attention + feedforward + norms) + 2 * width + dims * (width + 1)


def build(parameters: int, layers: int, context: int, n_inputs: int, dims: int, phase: Phase) -> Transformer:
    """A transformer of about ``parameters`` parameters with random weights.

    Args:
        layers: as many as the student has blocks.
        context: bins that each layer sees.
    """
    width = width_for(parameters, lambda width: count(width, layers, n_inputs, dims), multiple=HEADS)
    with seeded(phase, "init"):
        return Transformer(width, layers, context, n_inputs, dims)
