"""A recording as endless input of the step graphs, float and int8."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantization.inputs import stored
from realm_edge.frontend import design, design_spike, lfp_features, spike_counts
from realm_edge.segments import Starts
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.streams import LFP, Stream

_CHUNK_S = 1.0  # the synthetic broadband signal is made in whole seconds


@dataclass(frozen=True)
class Recorded:
    """What a stream reads of a session, from its first bin to its last and then again from the first: bins count on.

    It is one long run: segments follow one another without a reset, as the first bin follows the last.
    """

    stream: Stream
    session: Session
    settings: Settings
    feature_scale: NDArray[np.float64]  # of the int8 decoder's input: (n_features,)

    def samples(self, first: int, bins: int) -> Iterator[NDArray[np.int16]]:
        """ADC counts (ticks, channels), one array per bin."""
        chunk = max(1, round(1000 * _CHUNK_S / self.settings.bin_ms))
        last = first + bins
        while first < last:
            start = first % self.session.bins
            count = min(chunk, last - first, self.session.bins - start)
            block = self.stream.samples(self.session, self.settings, start, count)
            yield from block.reshape(count, -1, block.shape[1])
            first += count

    def features(self, first: int, bins: int) -> NDArray[np.float32]:
        """The recording's own features (bins, n_features), which the float definition made of it."""
        return self.stream.inputs(self.session)[np.arange(first, first + bins) % self.session.bins]

    def stored(self, first: int, bins: int) -> NDArray[np.int16]:
        """:meth:`features` as the int8 decoder reads them."""
        return stored(self.features(first, bins), self.feature_scale)

    def float_features(self, first: int, bins: int) -> NDArray[np.float32]:
        """What the float front end makes of :meth:`samples` from the zero state, (bins, n_features)."""
        return float_features(self.stream, self.session, self.settings, np.concatenate(list(self.samples(first, bins))))


def float_features(
    stream: Stream, session: Session, settings: Settings, samples: NDArray[np.int16], starts: Starts = (0,)
) -> NDArray[np.float32]:
    """Features (bins, n_features) of samples (ticks, channels) by a stream's float front end, at ``starts`` (bins) from the zero state."""
    if stream is LFP:
        return lfp_features(design(settings, session.good_channels), samples, starts)
    assert session.spike_threshold is not None  # there are samples: the stream has a front end
    return spike_counts(design_spike(settings, session.spike_threshold), [samples], starts)
