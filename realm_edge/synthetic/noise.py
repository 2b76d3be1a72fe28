"""Noise of one spectrum and of one correlation between electrodes."""

import numpy as np
from numpy.typing import NDArray
from scipy import signal


def filtered(rng: np.random.Generator, samples: int, channels: int, sos: NDArray[np.float64]) -> NDArray[np.float32]:
    """Filtered white noise ``(samples, channels)`` of variance 1."""
    white = rng.standard_normal((samples, channels), dtype=np.float32)
    x = signal.sosfilt(sos.astype(np.float32), white, axis=0)
    return x / x.std(axis=0)


def grid(channels: int) -> NDArray[np.float64]:
    """Where the electrodes of a square array stand, ``(channels, 2)``, in pitches."""
    side = int(np.ceil(np.sqrt(channels)))
    return np.stack(np.divmod(np.arange(channels), side), axis=1).astype(np.float64)


def spread(place: NDArray[np.float64], reach: float) -> NDArray[np.float32]:
    """Mixing matrix ``(sources, channels)`` whose columns have norm 1: the correlation falls to 1/e over ``reach``, in units of place."""
    distance = np.linalg.norm(place[:, None] - place, axis=-1)
    return np.linalg.cholesky(np.exp(-distance / reach)).T.astype(np.float32)
