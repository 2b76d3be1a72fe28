"""What the firmware of one stream has to do in a bin, in cycles that the simulation counted."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from firmware_sim.bundle import ring_bytes
from firmware_sim.components import Quantity


@dataclass(frozen=True)
class Delays:
    """By what an answer is late before anything is computed, seconds. The decoder is trained on signals that are late alike.

    Attributes:
        output_delay: by which the decoder answers late, by design (``settings.output_delay_ms``).
        resampling: how far the resampled recording that the decoder was trained on looks ahead.
        filters: group delay of the latest of the front end's bands.
        averaging: mean age of what the leaky mean of a band's power holds.
    """

    output_delay: float = 0.0
    resampling: float = 0.0
    filters: float = 0.0
    averaging: float = 0.0


@dataclass(frozen=True)
class Sensed:
    """What is sensed for a stream, also where a circuit of its own detects spikes.

    Attributes:
        rate_hz: of one channel at the ADC.
        bandwidth_hz: upper cut-off of its amplifier.
        spike_electrodes: that sorted units come from; None: nobody knows.
    """

    rate_hz: float
    bandwidth_hz: float
    spike_electrodes: int | None = None


@dataclass(frozen=True)
class Workload:
    """What the firmware has to do. Cycles are one number, or one a draw.

    Without a front end, values come in once per bin (``ticks_per_bin`` 1): counts of a circuit of its own that detects spikes, or features
    of which nobody knows what senses and computes them. Where it is not known how many electrodes have to be sensed, power is that of
    decoder, sleep and radio alone.

    Attributes:
        source: of what comes in. Behind a "circuit" it is the features that this computes; in a "relay" nothing is computed: the DMA hands
            on what comes in, and that is what is sent.
        circuit: figure of what a circuit draws by electrode, beside amplifier and converter: it makes features, or compresses.
        compression: figure of the share of ``output_bits`` that is left to send.
        to_radio: whether what is sent crosses lines to a radio beside the part. The few bytes of a decoded answer are not counted.
    """

    channels: int  # values that come in at a tick
    electrodes: int | None  # that have to be sensed for them; several sorted units come from one
    sample_rate_hz: float  # of one channel at the ADC, also where a circuit of its own reads it
    bandwidth_hz: float  # of the amplifiers
    ticks_per_bin: int
    blocks_per_bin: int  # in which the DMA hands them over
    bin_s: float
    frontend_cycles: Quantity  # a bin
    last_block_cycles: Quantity  # of these, the block that ends a bin
    decoder_cycles: Quantity  # one decoder step, sending included
    loop_cycles: Quantity  # main loop, a bin
    output_bits: float  # payload of a bin, before compression
    source: Literal["samples", "detector", "features", "circuit", "relay"] = "samples"
    delays: Delays = Delays()
    circuit: str | None = None
    compression: str | None = None
    to_radio: bool = False


@dataclass(frozen=True)
class WorkloadRange:
    """A workload by the nominal cycles of the core's table and of its memories' model, and by both ends of their range."""

    low: Workload
    nominal: Workload
    high: Workload

    def at(self, position: Quantity) -> Workload:
        """Between low (-1), nominal (0) and high (1); all cycles move together, as one table and one model price them."""
        down, up = np.maximum(-position, 0.0), np.maximum(position, 0.0)
        moved: dict[str, Any] = {}
        for name in CYCLES:
            ends: list[Quantity] = [getattr(one, name) for one in (self.low, self.nominal, self.high)]
            low, nominal, high = ends
            moved[name] = nominal - down * (nominal - low) + up * (high - nominal)
        return replace(self.nominal, **moved)

    def behind_detector(self) -> "WorkloadRange":
        """The same decoder where a circuit of its own detects spikes."""
        return WorkloadRange(*(_behind_detector(one) for one in (self.low, self.nominal, self.high)))


CYCLES = tuple(field.name for field in fields(Workload) if field.name.endswith("_cycles"))


def _behind_detector(work: Workload) -> Workload:
    return replace(work, ticks_per_bin=1, blocks_per_bin=1, frontend_cycles=0.0, last_block_cycles=0.0, source="detector")


def buffer_bytes(workload: Workload) -> int:
    """RAM of the DMA's ring, see :func:`firmware_sim.bundle.ring_bytes`."""
    return ring_bytes(workload.channels, workload.ticks_per_bin, workload.blocks_per_bin)
