"""The two chains that are compared, side by side: LFP, and the spike baseline."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.session import Session, broadband_block
from realm_edge.settings import Settings


@dataclass(frozen=True)
class Stream:
    """What one chain reads of a session."""

    name: str  # "lfp" or "spike"

    def inputs(self, session: Session) -> NDArray[np.float32]:
        """What the decoder reads a bin, (bins, n): LFP features or spike counts.

        Raises:
            UserError: the session has none.
        """
        values = session.features if self.name == "lfp" else session.counts
        if values is None:
            raise UserError(f"{session.name}: no input for the {self.name} decoder: rerun 'realm-edge data'")
        return values

    def has_frontend(self, session: Session) -> bool:
        """Whether the implant computes the inputs from samples; sorted units and recorded features enter at the decoder."""
        return session.lfp is not None if self.name == "lfp" else session.spike_source == "broadband"

    def samples(self, session: Session, settings: Settings, first_bin: int, bins: int) -> NDArray[np.int16]:
        """ADC counts of ``bins`` bins, (ticks, channels).

        Raises:
            UserError: the session has no such signal.
        """
        if self.name == "spike":
            return broadband_block(session, settings, first_bin, bins)
        if session.lfp is None:
            raise UserError(f"{session.name}: no LFP: rerun 'realm-edge data'")
        length = settings.lfp_samples_per_bin
        return session.lfp[first_bin * length : (first_bin + bins) * length]


LFP = Stream("lfp")
SPIKE = Stream("spike")
