"""The causal student: the one model that runs on the implant."""

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from realm_edge.models.by_segment import over_segments
from realm_edge.models.mamba2 import Mamba2, Mamba2State
from realm_edge.models.tokenizer import CausalMaps, TokenizerState, Unmapped, token_inputs
from realm_edge.segments import Starts
from realm_edge.settings import ModelSettings

CLIP = 8.0  # standard deviations; bounds artefacts, and the range that int8 features must cover


class StudentState(NamedTuple):
    """What the student carries from bin to bin."""

    tokenizer: TokenizerState
    blocks: tuple[Mamba2State, ...]


class Block(nn.Module):
    """x + dropout(mixer(norm(x)))."""

    def __init__(self, settings: ModelSettings, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.d_model)
        self.mixer = Mamba2(settings)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        y, state = self.mixer(self.norm(x), state)
        return x + self.dropout(y), state

    def step(self, x: Tensor, state: Mamba2State) -> tuple[Tensor, Mamba2State]:
        y, state = self.mixer.step(self.norm(x), state)
        return x + self.dropout(y), state


class Student(nn.Module):
    """Features of one bin in, standardised behaviour of that bin out, with a state between bins.

    The buffers hold the frozen statistics of the decoded session's training part; they travel with the weights.
    """

    feature_mean: Tensor
    feature_inv_std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, settings: ModelSettings, n_features: int, dims: int, dropout: float = 0.0, kinds: int = 1) -> None:
        """``kinds``: features a channel has, kind after kind; only the channel tokenizer asks."""
        super().__init__()
        self.settings = settings
        self.channels = n_features // kinds
        self.register_buffer("feature_mean", torch.zeros(n_features))
        self.register_buffer("feature_inv_std", torch.ones(n_features))
        self.register_buffer("target_mean", torch.zeros(dims))
        self.register_buffer("target_std", torch.ones(dims))
        self.maps = CausalMaps(kinds) if settings.tokenizer == "channel" else Unmapped()
        self.tokenizer = nn.Linear(token_inputs(settings, n_features, kinds), settings.d_model)
        self.token_norm = nn.LayerNorm(settings.d_model)
        self.blocks = nn.ModuleList(Block(settings, dropout) for _ in range(settings.n_layer))
        self.final_norm = nn.LayerNorm(settings.d_model)
        self.head = nn.Linear(settings.d_model, dims)

    def initial_state(self, batch: int, n_features: int | None = None) -> StudentState:
        """The zero state before the first bin; ``n_features`` where another array's are encoded."""
        return StudentState(
            tokenizer=self.maps.initial_state(batch, n_features or len(self.feature_mean), self.feature_mean),
            blocks=tuple(Mamba2State.alloc(self.settings, batch, self.feature_mean) for _ in self.blocks),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Decode whole sequences from the zero state.

        Args:
            features: (batch, bins, n_features), in the front end's units.

        Returns:
            (batch, bins, dims), standardised; :meth:`decoded` turns them into target units.
        """
        hidden, _ = self.encode(self.normalise(features), self.initial_state(len(features)))
        return self.read_out(hidden)

    def step(self, features: Tensor, state: StudentState) -> tuple[Tensor, StudentState]:
        """Decode one bin; a loop of steps equals :meth:`forward`.

        Args:
            features: (batch, n_features), in the front end's units.
            state: state before this bin.

        Returns:
            (batch, dims), standardised, and the state after this bin.
        """
        maps, maps_state = self.maps.step(self.normalise(features), state.tokenizer)
        x = self.token_norm(self.tokenizer(maps))
        after = []
        for block, before in zip(self.blocks, state.blocks, strict=True):
            x, next_state = cast(Block, block).step(x, before)
            after.append(next_state)
        return self.read_out(x), StudentState(maps_state, tuple(after))

    def encode(self, normalised: Tensor, state: StudentState, tokenizer: nn.Module | None = None) -> tuple[Tensor, StudentState]:
        """The representation that distillation aligns: the last block's output before ``final_norm``.

        Args:
            normalised: (batch, bins, n_features), from :meth:`normalise` or :func:`realm_edge.training.segments.standardise`.
            state: state before the first bin.
            tokenizer: another array's, in training on several.

        Returns:
            (batch, bins, d_model) and the state after the last bin.
        """
        maps, maps_state = self.maps(normalised, state.tokenizer)
        x = self.token_norm((tokenizer or self.tokenizer)(maps))
        after = []
        for block, before in zip(self.blocks, state.blocks, strict=True):
            x, next_state = block(x, before)
            after.append(next_state)
        return x, StudentState(maps_state, tuple(after))

    def read_out(self, hidden: Tensor) -> Tensor:
        """(..., d_model) -> (..., dims), standardised."""
        return self.head(self.final_norm(hidden))

    def normalise(self, features: Tensor) -> Tensor:
        """(..., n_features) in the front end's units -> z-scores, clipped; 0 for dead features."""
        return ((features - self.feature_mean) * self.feature_inv_std).clamp(-CLIP, CLIP)

    def decoded(self, out: Tensor) -> Tensor:
        """(..., dims) standardised -> target units."""
        return out * self.target_std + self.target_mean


@torch.no_grad()
def decode(student: Student, features: Tensor, starts: Starts = (0,), block_bins: int = 4096) -> Tensor:
    """Decode a whole session causally, each segment from the zero state, which is carried between blocks so that memory stays small.

    Args:
        student: in evaluation mode or not; dropout is off here.
        features: (bins, n_features), in the front end's units.
        starts: bins at which segments start (:mod:`realm_edge.segments`).
        block_bins: bins a forward pass; the result does not depend on it.

    Returns:
        (bins, dims) in target units.
    """
    return _streamed(student, lambda hidden: student.decoded(student.read_out(hidden)), features, starts, block_bins)


@torch.no_grad()
def represent(student: Student, features: Tensor, starts: Starts = (0,), block_bins: int = 4096) -> Tensor:
    """What the read-out of a student sees of a whole session, (bins, d_model); arguments as :func:`decode`."""
    return _streamed(student, student.final_norm, features, starts, block_bins)


def _streamed(student: Student, out: Callable[[Tensor], Tensor], features: Tensor, starts: Starts, block_bins: int) -> Tensor:
    student.eval()

    def run(segments: Tensor, lengths: Tensor | None) -> Tensor:
        state, parts = student.initial_state(len(segments)), []
        for block in segments.split(block_bins, dim=1):
            hidden, state = student.encode(student.normalise(block), state)
            parts.append(out(hidden))
        return torch.cat(parts, dim=1)

    return over_segments(run, features, starts)
