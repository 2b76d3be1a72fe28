"""The bidirectional teacher: sees a whole window, is pretrained by masked autoencoding, never runs on the implant."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from realm_edge.models.by_segment import inside
from realm_edge.models.mamba2 import Mamba2
from realm_edge.models.tokenizer import CentredMaps, Plain, token_inputs
from realm_edge.settings import ModelSettings


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382): in training, what a block adds is left out of some windows of a batch.

    What is kept is scaled up, so that its mean stays.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(batch, bins, d_model) -> the same shape."""
        if not self.training or self.p == 0.0:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.p
        return x * kept / (1.0 - self.p)


class BidirectionalBlock(nn.Module):
    """x + drop_path(dropout(merge(forward mixer, mixer of the flipped sequence))): every bin sees the past and the future."""

    def __init__(self, settings: ModelSettings, dropout: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.d_model)
        self.forward_mixer = Mamba2(settings)
        self.backward_mixer = Mamba2(settings)
        self.merge = nn.Linear(2 * settings.d_model, settings.d_model)
        self.merge_norm = nn.LayerNorm(settings.d_model)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, bins, d_model) -> the same shape; ``lengths`` as :meth:`Teacher.forward` takes them."""
        u = self.norm(x)
        past, _ = self.forward_mixer(u)
        future, _ = self.backward_mixer(backwards(u, lengths))
        merged = self.merge(torch.cat((past, backwards(future, lengths)), dim=-1))
        return x + self.drop_path(self.dropout(self.merge_norm(merged)))


class Teacher(nn.Module):
    """Tokenizer, bidirectional blocks, and a predictor that is used in pretraining only.

    Takes features normalised as the student's are, with each session's own statistics. Sessions with other numbers of channels
    have input and reconstruction layers of their own, chosen by the number of features; everything else is shared.
    """

    def __init__(
        self, settings: ModelSettings, n_features: Iterable[int], dropout: float = 0.0, kinds: int = 1, drop_path: float = 0.0
    ) -> None:
        """Random weights.

        Args:
            n_features: of every array.
            kinds: features a channel has, kind after kind; only the channel tokenizer asks.
            drop_path: chance that a window skips the last block in training; it rises in a straight line from 0 at the first.
        """
        super().__init__()
        self.settings = settings
        self.maps = CentredMaps(kinds) if settings.tokenizer == "channel" else Plain()
        arrays = sorted(set(n_features))
        self.tokenizers = nn.ModuleDict({str(n): nn.Linear(token_inputs(settings, n, kinds), settings.d_model) for n in arrays})
        self.token_norm = nn.LayerNorm(settings.d_model)
        self.mask_token = nn.Parameter(torch.randn(settings.d_model) * 0.02)
        skipped = [drop_path * layer / max(settings.n_layer - 1, 1) for layer in range(settings.n_layer)]
        self.blocks = nn.ModuleList(BidirectionalBlock(settings, dropout, chance) for chance in skipped)
        self.predictor = nn.Sequential(
            BidirectionalBlock(settings, dropout),
            nn.LayerNorm(settings.d_model),
            nn.Linear(settings.d_model, 2 * settings.d_model),
            nn.GELU(),
        )
        self.reconstructions = nn.ModuleDict({str(n): nn.Linear(2 * settings.d_model, n) for n in arrays})

    def forward(self, normalised: Tensor, masked: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """The representation that the student is aligned with: the last block's output.

        Args:
            normalised: (batch, bins, n_features), z-scores.
            masked: (batch, bins), bool; true bins are replaced by the mask token after the tokenizer. None masks nothing.
            lengths: (batch,) int64 on the CPU, bins of each window before the padding at its end, which no other bin sees; None where
                there is none.

        Returns:
            (batch, bins, d_model).
        """
        if lengths is not None:  # zeros, as beyond the edge of a window without padding
            normalised = normalised.masked_fill(~inside(lengths, normalised.shape[1]).to(normalised.device)[..., None], 0.0)
        if masked is not None:  # or the convolution would show masked bins to their neighbours, and the attention to all
            normalised = normalised.masked_fill(masked[..., None], 0.0)
        x = self.token_norm(self.tokenizers[str(normalised.shape[-1])](self.maps(normalised, lengths)))
        if masked is not None:
            x = torch.where(masked[..., None], self.mask_token, x)
        for block in self.blocks:
            x = block(x, lengths)
        return x

    def reconstruct(self, normalised: Tensor, masked: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalised features of every bin, predicted from those that are not masked; (batch, bins, n_features)."""
        predicted = self.predictor[0](self.forward(normalised, masked, lengths), lengths)
        return self.reconstructions[str(normalised.shape[-1])](self.predictor[1:](predicted))


def backwards(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Every sequence (bins of it, n) of a batch from its last bin to its first; its padding stays behind it. The inverse of itself."""
    if lengths is None:
        return x.flip(1)
    at = torch.arange(x.shape[1])
    from_end = torch.where(inside(lengths, x.shape[1]), lengths[:, None] - 1 - at, at)
    return x.gather(1, from_end.to(x.device)[..., None].expand_as(x))
