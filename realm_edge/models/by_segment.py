"""Runs a model over the segments of a session, each from its own beginning; short ones run side by side."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from realm_edge.segments import Starts, bounds

TOGETHER_BINS = 4096  # of the segments that run side by side, padding included: memory stays that of one long block

Run = Callable[[Tensor, Tensor | None], Tensor]


def over_segments(run: Run, inputs: Tensor, starts: Starts) -> Tensor:
    """What ``run`` makes of each segment by itself, one after another.

    Args:
        run: (batch, bins, n_inputs) and the (batch,) bins before the padding at each sequence's end, int64 on the CPU, or None where
            nothing is padded -> (batch, bins, n). A causal model need not look at the latter: what it makes of padding is dropped.
        inputs: (bins, n_inputs).
        starts: bins at which segments start (:mod:`realm_edge.segments`).

    Returns:
        (bins, n).
    """
    segments = [inputs[first:stop] for first, stop in bounds(starts, len(inputs))]
    outputs: dict[int, Tensor] = {}
    for group in _groups([len(segment) for segment in segments]):
        batch = side_by_side([segments[at] for at in group])
        out = run(batch, padded_lengths(torch.tensor([len(segments[at]) for at in group]), batch))
        outputs |= {at: sequence[: len(segments[at])] for at, sequence in zip(group, out, strict=True)}
    return torch.cat([outputs[at] for at in range(len(segments))])


def side_by_side(sequences: Sequence[Tensor], padding: float = 0.0) -> Tensor:
    """Sequences (bins, n) or (bins,) of any lengths as one (batch, bins, n) or (batch, bins), padded at their ends."""
    return pad_sequence(list(sequences), batch_first=True, padding_value=padding)


def padded_lengths(lengths: Tensor, batch: Tensor) -> Tensor | None:
    """The ``lengths`` of a (batch, bins, n) where a sequence is padded; None where none is, so that what has nothing to skip stays fast."""
    return lengths if bool((lengths < batch.shape[1]).any()) else None


def inside(lengths: Tensor, bins: int) -> Tensor:
    """Which of ``bins`` bins come before each sequence's padding, (batch, bins)."""
    return torch.arange(bins) < lengths[:, None]


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of segments that run together, shortest first: neighbours then need little padding."""
    group: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        if group and (len(group) + 1) * lengths[at] > TOGETHER_BINS:
            yield group
            group = []
        group.append(at)
    yield group
