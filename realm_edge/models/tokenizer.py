"""Feature maps of each channel: a convolution over time that all channels share, then channel attention.

REALM's tokenizer (arXiv 2605.14867) without its last linear map, which is ``tokenizer`` of student and teacher. The attention is
ECA (Wang et al. 2020, arXiv 1910.03151): a channel's maps are multiplied by sigmoid(convolution over the channels of their means).
No weight here depends on the number of channels. Features come kind after kind: (kinds, channels), flattened.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realm_edge.models.by_segment import inside
from realm_edge.settings import ModelSettings

MAPS = 8  # a channel
TAPS = 3  # bins
REACH = 5  # channels
LEAK_BITS = 6  # the student's mean over time forgets 1/64 per bin. A running sum would need a start; an endless stream has none
CHUNK = 256  # bins of the leaky mean that one matrix product covers

TokenizerState = tuple[Tensor, ...]  # ChannelState, or nothing


class ChannelState(NamedTuple):
    """What the causal maps carry from bin to bin."""

    history: Tensor  # (batch, TAPS - 1, kinds * channels), the last inputs, oldest first
    mean: Tensor  # (batch, channels), leaky mean of the maps


class Unmapped(nn.Module):
    """The features as they are, for the linear tokenizer; no state."""

    def initial_state(self, batch: int, n_features: int, like: Tensor) -> TokenizerState:
        return ()

    def forward(self, x: Tensor, state: TokenizerState) -> tuple[Tensor, TokenizerState]:
        return x, state

    def step(self, x: Tensor, state: TokenizerState) -> tuple[Tensor, TokenizerState]:
        return x, state


class Plain(nn.Module):
    """The same for the teacher, which takes whole windows."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return x


class ChannelMaps(nn.Module):
    """The weights, and what teacher and student share."""

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(kinds, MAPS, TAPS)
        self.attention = nn.Conv1d(1, 1, REACH, padding=REACH // 2, bias=False)

    def _maps(self, window: Tensor) -> Tensor:
        """(batch, TAPS - 1 + bins, kinds * channels) -> (batch, bins, channels, MAPS)."""
        by_channel = window.unflatten(-1, (self.conv.in_channels, -1)).permute(0, 3, 2, 1)  # (batch, channels, kinds, bins)
        return F.gelu(self.conv(by_channel.flatten(0, 1))).unflatten(0, (len(window), -1)).permute(0, 3, 1, 2)

    def _gated(self, maps: Tensor, mean: Tensor) -> Tensor:
        """(..., channels, MAPS) and (..., channels), leading sizes that broadcast -> (..., channels * MAPS)."""
        gate = torch.sigmoid(self.attention(mean.flatten(0, -2)[:, None])[:, 0]).view(mean.shape)
        return (maps * gate[..., None]).flatten(-2)


class CentredMaps(ChannelMaps):
    """The teacher's: each bin sees both neighbours, the attention the mean of the whole window."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(batch, bins, kinds * channels) -> (batch, bins, channels * MAPS).

        Args:
            lengths: (batch,), bins of each window before its padding, where ``x`` is 0; None where there is none.
        """
        maps = self._maps(F.pad(x, (0, 0, TAPS // 2, TAPS // 2)))
        if lengths is None:
            return self._gated(maps, maps.mean(dim=(1, 3))[:, None])
        kept = torch.where(inside(lengths, x.shape[1]).to(x.device)[..., None, None], maps, 0.0)
        return self._gated(maps, (kept.sum(dim=(1, 3)) / (MAPS * lengths.to(x.device))[:, None])[:, None])


class CausalMaps(ChannelMaps):
    """The student's: each bin sees the two before it, the attention a leaky mean that starts at 0."""

    def initial_state(self, batch: int, n_features: int, like: Tensor) -> TokenizerState:
        """The zero state before the first bin, with the dtype and device of ``like``."""
        channels = n_features // self.conv.in_channels
        return ChannelState(like.new_zeros(batch, TAPS - 1, n_features), like.new_zeros(batch, channels))

    def forward(self, x: Tensor, state: TokenizerState) -> tuple[Tensor, TokenizerState]:
        """(batch, bins, kinds * channels) -> (batch, bins, channels * MAPS), and the state after the last bin."""
        history, mean = state
        window = torch.cat((history, x), dim=1)
        maps = self._maps(window)
        means = leaky_mean(maps.mean(dim=-1), mean)
        return self._gated(maps, means), ChannelState(window[:, 1 - TAPS :], means[:, -1])

    def step(self, x: Tensor, state: TokenizerState) -> tuple[Tensor, TokenizerState]:
        """(batch, kinds * channels) -> (batch, channels * MAPS), and the state after this bin."""
        history, mean = state
        window = torch.cat((history, x[:, None]), dim=1)
        maps = self._maps(window)[:, 0]
        mean = mean + (maps.mean(dim=-1) - mean) / 2**LEAK_BITS
        return self._gated(maps, mean), ChannelState(window[:, 1:], mean)


def leaky_mean(x: Tensor, mean: Tensor) -> Tensor:
    """mean' = mean + (x - mean) / 2^LEAK_BITS at every bin, as matrix products over chunks: no coefficient exceeds 1.

    Args:
        x: (batch, bins, channels).
        mean: (batch, channels), before the first bin.

    Returns:
        (batch, bins, channels), the mean after each bin.
    """
    keep, parts = 1 - 2.0**-LEAK_BITS, []
    for piece in x.split(CHUNK, dim=1):
        bins = torch.arange(piece.shape[1], device=x.device, dtype=torch.float64)
        taken = (keep ** (bins[:, None] - bins) / 2**LEAK_BITS).tril().to(x.dtype)  # (bin, bin that entered)
        kept = (keep ** (bins + 1)).to(x.dtype)
        parts.append(taken @ piece + kept[:, None] * mean[:, None])
        mean = parts[-1][:, -1]
    return torch.cat(parts, dim=1)


def token_inputs(settings: ModelSettings, n_features: int, kinds: int) -> int:
    """How many values the linear map of the tokenizer takes.

    Args:
        kinds: features a channel has; divides ``n_features``.
    """
    if n_features % kinds:
        raise ValueError(f"{n_features} features are not {kinds} of each channel")
    return n_features if settings.tokenizer == "linear" else MAPS * (n_features // kinds)
