"""What GRU, LSTM and transformer share: the supervised fit and decoding a session with the state carried."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from realm_edge.baselines.cost import macs_per_step
from realm_edge.models.by_segment import over_segments
from realm_edge.progress import Progress
from realm_edge.settings import FitSettings
from realm_edge.training.finetune import supervise
from realm_edge.training.loop import History, Phase
from realm_edge.training.segments import Series

BLOCK_BINS = 1024  # a forward pass in decoding; the result does not depend on it


class SequenceDecoder(nn.Module, ABC):
    """Standardised inputs in, standardised behaviour out, a state between blocks of bins."""

    @abstractmethod
    def forward(self, normalised: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Decode a block.

        Args:
            normalised: (batch, bins, n_inputs) z-scores.
            state: what an earlier call returned; None before the first bin.

        Returns:
            (batch, bins, dims) standardised, and the state after the last bin.
        """

    def macs_per_step(self) -> int:
        """Multiply-accumulates per bin, counted as :func:`realm_edge.baselines.cost.macs_per_step` says."""
        return macs_per_step(self)

    @torch.no_grad()
    def predict(self, series: Series) -> NDArray[np.float32]:
        """Decode a whole session causally, each segment from the zero state: (bins, dims) in target units."""
        self.eval()

        def run(segments: Tensor, lengths: Tensor | None) -> Tensor:
            parts, state = [], None
            for block in segments.split(BLOCK_BINS, dim=1):
                out, state = self(block, state)
                parts.append(out)
            return torch.cat(parts, dim=1)

        return series.statistics.in_units(over_segments(run, series.inputs[:], series.starts).numpy())


def train(
    decoder: SequenceDecoder, settings: FitSettings, series: Sequence[Series], window: int, phase: Phase, progress: Progress
) -> History:
    """Fit ``decoder`` in place as the student is fine-tuned: same loss, optimiser, windows and early stopping."""
    return supervise(decoder, lambda module, inputs, lengths: module(inputs)[0], settings, series, window, phase, progress)
