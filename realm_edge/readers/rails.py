"""How often each channel of a recording is at the largest or the smallest value that it ever takes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from realm_edge.table import Table, blocks

_NEARLY_ALL = 1.0 - 1e-6  # below 1 as a float32 too


class Rails:
    """Counts samples at the extreme values, a block at a time.

    An amplifier that clips stays at its rail, so that a clipped channel is at an extreme value for a good share of the time;
    one that does not is there for a handful of samples.
    """

    def __init__(self) -> None:
        self._samples = 0
        self._extremes: list[tuple[NDArray, NDArray[np.int64]]] = []  # smallest, largest: value and count, (channels,)

    def add(self, block: NDArray) -> None:
        """Count ``block`` ``(samples, channels)``."""
        if not len(block):
            return
        found = []
        for pick in (np.min, np.max):
            value = pick(block, axis=0)
            found.append((value, np.count_nonzero(block == value, axis=0).astype(np.int64)))
        self._samples += len(block)
        if self._extremes:
            found = [_merge(pick, a, b) for pick, a, b in zip((np.minimum, np.maximum), self._extremes, found, strict=True)]
        self._extremes = found

    def share(self) -> NDArray[np.float32]:
        """Share of the samples at the largest or the smallest value ``(channels,)``; 1 for a constant channel only."""
        (smallest, at_smallest), (largest, at_largest) = self._extremes
        share = (at_smallest + at_largest) / self._samples
        # A channel of two values is at one of them all the time, and yet not constant.
        return np.where(smallest == largest, 1.0, np.minimum(share, _NEARLY_ALL)).astype(np.float32)


def _merge(
    pick: Callable[[NDArray, NDArray], NDArray], a: tuple[NDArray, NDArray[np.int64]], b: tuple[NDArray, NDArray[np.int64]]
) -> tuple[NDArray, NDArray[np.int64]]:
    value = pick(a[0], b[0])
    return value, np.where(a[0] == value, a[1], 0) + np.where(b[0] == value, b[1], 0)


def rail_share(x: Table) -> NDArray[np.float32]:
    """:meth:`Rails.share` of a whole table ``(samples, channels)``, read a block at a time."""
    rails = Rails()
    for block in blocks(x):
        rails.add(block)
    return rails.share()
