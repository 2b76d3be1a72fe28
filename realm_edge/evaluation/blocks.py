"""How much a difference of R2 owes to the test part at hand: resampling its blocks of 10 s, for two decoders together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.segments import Starts, bounds

BLOCK_S = 10.0  # neighbouring bins are far from independent; blocks of this length nearly are
FEWEST = 5  # blocks, below which resampling says nothing
RESAMPLES = 2000
_TAILS = (2.5, 97.5)  # percent


def block_sums(true: NDArray[np.floating], predicted: NDArray[np.floating], bin_s: float, starts: Starts) -> list[Any]:
    """What R2 needs of every block: known bins, sums of y, of y squared and of the squared error.

    Args:
        true: (bins, dims), NaN where unknown.
        predicted: (bins, dims).
        starts: bins at which segments start, of those that are scored.

    Returns:
        (blocks, dims, 4) as nested lists, for a JSON file.
    """
    known = np.isfinite(true).all(axis=1)[:, None]
    y = np.where(known, true, 0.0).astype(np.float64)
    e = np.where(known, true - predicted, 0.0).astype(np.float64)
    columns = np.stack([np.broadcast_to(known, y.shape), y, y**2, e**2], axis=-1)  # (bins, dims, 4)
    sums: list[Any] = np.add.reduceat(columns, _first_bins(starts, len(true), max(1, round(BLOCK_S / bin_s))), axis=0).tolist()
    return sums


def _first_bins(starts: Starts, bins: int, length: int) -> list[int]:
    """Where blocks begin: every ``length`` bins, or at a segment's start once the block before it is as long.

    Short segments stay whole and share a block; what is left at a segment's end belongs to the block before it.
    """
    blocks = [0]
    for first, stop in bounds(starts, bins):
        if first - blocks[-1] >= length:
            blocks.append(first)
        while stop - blocks[-1] >= 2 * length:
            blocks.append(blocks[-1] + length)
    return blocks[:-1] if len(blocks) > 1 and bins - blocks[-1] < length else blocks


def difference_interval(sessions: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> tuple[float, float] | None:
    """95 % percentile interval of the mean R2 of one decoder minus that of another, over resampled test blocks.

    The difference is (squared error of the other - squared error of the one) / total sum of squares. Only the errors are
    resampled: some blocks hold hardly any movement, and a sum of squares of those alone would blow the ratio up.

    Args:
        sessions: for each, the block sums of both decoders, (seeds, blocks, dims, 4) each, seeds and blocks in the same order.

    Returns:
        None where a session has too few blocks.
    """
    if any(first.shape[1] < FEWEST for first, _ in sessions):
        return None
    rng = np.random.default_rng(0)
    total = np.zeros(RESAMPLES)
    for first, second in sessions:
        n, y, square, _ = np.moveaxis(first.sum(axis=1), -1, 0)  # (seeds, dims)
        apart = (second[..., 3] - first[..., 3]) / (square - y**2 / n)[:, None]  # (seeds, blocks, dims)
        blocks, bins = apart.mean(axis=(0, 2)), first[0, :, 0, 0]
        drawn = rng.multinomial(len(bins), np.full(len(bins), 1 / len(bins)), RESAMPLES)  # times that each block is drawn
        total += (drawn @ blocks) * bins.sum() / np.maximum(drawn @ bins, 1.0)
    low, high = np.percentile(total / len(sessions), _TAILS)
    return float(low), float(high)
