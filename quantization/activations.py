"""Activations that the decoders' tables hold, in real numbers."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr


def silu(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return v * expit(v)


def gelu(v: NDArray[np.float64]) -> NDArray[np.float64]:
    return v * ndtr(v)
