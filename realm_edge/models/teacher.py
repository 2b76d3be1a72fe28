"""The bidirectional teacher: sees a whole window, is pretrained by masked autoencoding, never runs on the implant."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from realm_edge.models.mamba2 import Mamba2
from realm_edge.models.tokenizer import CentredMaps, token_inputs
from realm_edge.settings import ModelSettings


class BidirectionalBlock(nn.Module):
    """x + dropout(merge(forward mixer, mixer of the flipped sequence)): every bin sees the past and the future."""

    def __init__(self, settings: ModelSettings, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.d_model)
        self.forward_mixer = Mamba2(settings)
        self.backward_mixer = Mamba2(settings)
        self.merge = nn.Linear(2 * settings.d_model, settings.d_model)
        self.merge_norm = nn.LayerNorm(settings.d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, bins, d_model) -> the same shape."""
        u = self.norm(x)
        past, _ = self.forward_mixer(u)
        future, _ = self.backward_mixer(u.flip(1))
        merged = self.merge(torch.cat((past, future.flip(1)), dim=-1))
        return x + self.dropout(self.merge_norm(merged))


class Teacher(nn.Module):
    """Tokenizer, bidirectional blocks, and a predictor that is used in pretraining only.

    Takes features normalised as the student's are, with each session's own statistics. Sessions with other numbers of channels
    have input and reconstruction layers of their own, chosen by the number of features; everything else is shared.
    """

    def __init__(self, settings: ModelSettings, n_features: Iterable[int], dropout: float = 0.0, kinds: int = 1) -> None:
        """``n_features``: of every array. ``kinds``: features a channel has, kind after kind; only the channel tokenizer asks."""
        super().__init__()
        self.settings = settings
        self.maps = CentredMaps(kinds) if settings.tokenizer == "channel" else nn.Identity()
        arrays = sorted(set(n_features))
        self.tokenizers = nn.ModuleDict({str(n): nn.Linear(token_inputs(settings, n, kinds), settings.d_model) for n in arrays})
        self.token_norm = nn.LayerNorm(settings.d_model)
        self.mask_token = nn.Parameter(torch.randn(settings.d_model) * 0.02)
        self.blocks = nn.ModuleList(BidirectionalBlock(settings, dropout) for _ in range(settings.n_layer))
        self.predictor = nn.Sequential(
            BidirectionalBlock(settings, dropout),
            nn.LayerNorm(settings.d_model),
            nn.Linear(settings.d_model, 2 * settings.d_model),
            nn.GELU(),
        )
        self.reconstructions = nn.ModuleDict({str(n): nn.Linear(2 * settings.d_model, n) for n in arrays})

    def forward(self, normalised: Tensor, masked: Tensor | None = None) -> Tensor:
        """The representation that the student is aligned with: the last block's output.

        Args:
            normalised: (batch, bins, n_features), z-scores.
            masked: (batch, bins), bool; true bins are replaced by the mask token after the tokenizer. None masks nothing.

        Returns:
            (batch, bins, d_model).
        """
        if masked is not None:  # or the convolution would show masked bins to their neighbours, and the attention to all
            normalised = normalised.masked_fill(masked[..., None], 0.0)
        x = self.token_norm(self.tokenizers[str(normalised.shape[-1])](self.maps(normalised)))
        if masked is not None:
            x = torch.where(masked[..., None], self.mask_token, x)
        for block in self.blocks:
            x = block(x)
        return x

    def reconstruct(self, normalised: Tensor, masked: Tensor) -> Tensor:
        """Normalised features of every bin, predicted from those that are not masked; (batch, bins, n_features)."""
        predicted = self.predictor(self.forward(normalised, masked))
        return self.reconstructions[str(normalised.shape[-1])](predicted)
