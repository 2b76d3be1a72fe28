"""What a stream without a front end feeds its integer decoder: counts or recorded features, rounded to int16."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantization.arithmetic import ZSCORE_FRACTION_BITS, saturate
from quantization.fixedpoint import stored_scale
from realm_edge.models.student import CLIP
from realm_edge.settings import Settings
from realm_edge.streams import LFP, Stream


def input_scale(stream: Stream, settings: Settings, training: NDArray[np.float32]) -> list[float]:
    """What one stored count of each input is worth, (n_inputs,).

    Counts of spikes are stored as they are, their z-scores as the spike front end has them. A recorded feature gets the scale at which
    int16 reaches as far as the decoder looks: ``|mean| + 8 sd`` over the training part, since :attr:`CLIP` is where it clips z-scores.

    Args:
        training: (bins, n_inputs), the training part of the inputs.
    """
    if stream is not LFP:
        return [2.0**-ZSCORE_FRACTION_BITS if settings.spike.zscore_bins else 1.0] * training.shape[1]
    known = training.astype(np.float64)
    return [stored_scale(reach) for reach in np.abs(known.mean(axis=0)) + CLIP * known.std(axis=0)]


def stored(inputs: NDArray[np.float32], scale: ArrayLike) -> NDArray[np.int16]:
    """Inputs (bins, n_inputs) as the integer decoder reads them; what lies beyond int16 saturates."""
    return saturate(np.rint(inputs / np.asarray(scale)), 16)
