"""A link that carries a stream: what it draws for so many bits a second, and what bounds them."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from firmware_sim.components import Components, Quantity


@dataclass(frozen=True)
class Event:
    """What is sent at once: a connection event of Bluetooth LE, or a bin of a stream."""

    period_s: float  # from one to the next that carries data
    packets: Quantity
    on_air_bits: Quantity  # of the implant's packets, those sent again included
    seconds: Quantity  # from listening to the end of the last packet
    wait_s: float  # for the event, at most
    power_uw: Quantity | None  # mean, with the idle time between events; None: no figure has a source

    @property
    def share(self) -> Quantity:
        """Of the link's time."""
        return self.seconds / self.period_s


@dataclass(frozen=True)
class Stream:
    """Names of figures of the component library. None: there is none with a source, or nothing of the kind bounds the link.

    Attributes:
        payload: share of the bits on air that is payload.
        rate: bits a second that the transmitter puts on air.
        bandwidth: that regulation leaves it, with ``efficiency``, the bits a second that are sent in a hertz of it.
        radiated: power at the sender of a link budget; ``path``, the share of it that reaches the receiver; ``sensitivity``, the energy of
            a bit that the receiver needs.
        energy: that the implant spends on a bit on air; or ``transmit``, its power while it sends.
        idle: power while it does not.
    """

    payload: str
    rate: str | None = None
    bandwidth: str | None = None
    efficiency: str | None = None
    radiated: str | None = None
    path: str | None = None
    sensitivity: str | None = None
    energy: str | None = None
    transmit: str | None = None
    idle: str | None = None


def bounds_bps(stream: Stream, components: Components) -> dict[str, Quantity]:
    """Bits a second on air by what bounds them: "capacity" of the transmitter, "link budget", "regulation". At least one."""
    value, found = components.value, {}
    if stream.rate is not None:
        found["capacity"] = value(stream.rate, "b/s")
    if stream.radiated is not None and stream.path is not None and stream.sensitivity is not None:
        found["link budget"] = value(stream.radiated, "W") * value(stream.path, "") / value(stream.sensitivity, "J/b")
    if stream.bandwidth is not None and stream.efficiency is not None:
        found["regulation"] = value(stream.bandwidth, "Hz") * value(stream.efficiency, "b/s/Hz")
    return found


def streamed(bits_per_bin: Quantity, bin_s: float, stream: Stream, components: Components) -> Event:
    """A bin's payload at the lowest of the link's bounds."""
    on_air_bits = bits_per_bin / components.value(stream.payload, "")
    seconds = on_air_bits / reduce(np.minimum, bounds_bps(stream, components).values())
    return Event(bin_s, 1, on_air_bits, seconds, 0.0, _power_uw(on_air_bits, seconds, bin_s, stream, components))


def _power_uw(on_air_bits: Quantity, seconds: Quantity, bin_s: float, stream: Stream, components: Components) -> Quantity | None:
    if stream.energy is not None:
        sending = on_air_bits / bin_s * components.value(stream.energy, "uJ/b")
    elif stream.transmit is not None:
        sending = seconds / bin_s * components.value(stream.transmit, "uW")
    else:
        return None
    return sending if stream.idle is None else sending + (1.0 - seconds / bin_s) * components.value(stream.idle, "uW")
