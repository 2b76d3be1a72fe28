"""Observers: from the values of a tensor to the largest absolute value that its scale shall hold. What is larger clips."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

DEFAULT = "p99.99"
_BINS = 8192  # of the histogram that least squares searches: 64 to a step of int8
_LEAST_SHARE, _TRIALS = 0.1, 91  # of the largest value, that least squares tries

Observer = Callable[[NDArray[np.float32], int], float]  # values of any shape and the largest stored value, to a peak


def min_max(values: NDArray[np.float32], limit: int) -> float:
    """The largest absolute value: nothing clips."""
    return float(np.max(np.abs(values)))


def percentile_99_99(values: NDArray[np.float32], limit: int) -> float:
    """The absolute value that all but one in ten thousand elements stay below."""
    return _percentile(values, 99.99)


def percentile_99_9(values: NDArray[np.float32], limit: int) -> float:
    """The absolute value that all but one in a thousand elements stay below."""
    return _percentile(values, 99.9)


def least_squares(values: NDArray[np.float32], limit: int) -> float:
    """The peak whose rounding and clipping error has the least mean square, of 91 from a tenth of the largest value to all of it.

    The values are taken from a histogram, so that long recordings cost no more than short ones.
    """
    largest = min_max(values, limit)
    if largest == 0.0:
        return 0.0
    counts, edges = np.histogram(np.abs(values), _BINS, (0.0, largest))
    centres = (edges[1:] + edges[:-1]) / 2
    peaks = largest * np.linspace(_LEAST_SHARE, 1.0, _TRIALS)
    scales = (peaks / limit)[:, None]
    stored = np.minimum(np.rint(centres / scales), limit)
    return float(peaks[np.argmin(((stored * scales - centres) ** 2) @ counts)])


def _percentile(values: NDArray[np.float32], share: float) -> float:
    """Of a tensor that is zero but for fewer than that, the largest value."""
    magnitudes = np.abs(values)
    return float(np.percentile(magnitudes, share)) or float(magnitudes.max())


OBSERVERS: Mapping[str, Observer] = {
    DEFAULT: percentile_99_99,
    "p99.9": percentile_99_9,
    "min-max": min_max,
    "mse": least_squares,
}
