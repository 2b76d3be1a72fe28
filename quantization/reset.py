"""How long a decoder takes to be itself again after its state was lost, as in a brown-out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantization.summaries import Settled

WITHIN = (0.05, 0.01)  # of the output's standard deviation
FOR_GOOD = 0.25  # of what is watched


def warm_up(after: NDArray, kept: NDArray, tolerance: NDArray) -> int | None:
    """Bins until all axes are within a tolerance of what they would be, for good: for the last quarter of the bins at least.

    Args:
        after: outputs (bins, dims) from the zero state on.
        kept: those of the same bins without the reset.
        tolerance: (dims,).

    Returns:
        None where that is not reached.
    """
    outside = np.flatnonzero((np.abs(after - kept) > tolerance).any(axis=1))
    bins = int(outside[-1]) + 1 if len(outside) else 0
    return bins if bins <= (1 - FOR_GOOD) * len(after) else None


def settling(sd: NDArray, after: Sequence[NDArray], kept: Sequence[NDArray], bin_s: float) -> tuple[Settled, ...]:
    """Warm-up of one chain after several resets.

    Args:
        sd: of the outputs, (dims,).
        after: outputs (bins, dims) from each reset on.
        kept: the same bins without the reset.
        bin_s: seconds per bin.

    Returns:
        One for each of ``WITHIN``.
    """
    rows = []
    for share in WITHIN:
        bins = [warm_up(there, here, share * sd) for there, here in zip(after, kept, strict=True)]
        counted = np.array([np.inf if each is None else each for each in bins])
        found: dict[str, float | None] = {}
        for name, value in (("median", np.median(counted)), ("max", counted.max())):
            found[f"{name}_bins"], found[f"{name}_s"] = (float(value), float(value) * bin_s) if np.isfinite(value) else (None, None)
        rows.append(Settled(within=share, bins=tuple(bins), **found))
    return tuple(rows)
