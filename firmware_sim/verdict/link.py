"""Links out of an implant: what each can carry, what regulation leaves it, and what it draws. Figures are in the component library."""

from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from firmware_sim.components import Components
from firmware_sim.power.radio import throughput_bps
from firmware_sim.power.scenario import Radio
from firmware_sim.power.stream import Stream, bounds_bps
from firmware_sim.targets import Target
from realm_edge.errors import UserError
from realm_edge.toml_file import parse_toml, without_format

FORMAT = "realm-edge links/1"
REGULATION = "regulation"


@dataclass(frozen=True)
class Link:
    """A radio of Bluetooth LE, played event by event, or a stream.

    Attributes:
        bandwidth: figure of the bandwidth that regulation leaves it; None: no rule about bandwidth is known.
        efficiency: figure of the bits a second that are sent in a hertz.
        radiated_limit: figure of the power that regulation lets it radiate; None: no such rule is known. It bounds nothing here but in a
            link budget, as what reaches the receiver depends on the place.
    """

    name: str
    title: str
    radio: Radio | None = None
    stream: Stream | None = None
    bandwidth: str | None = None
    efficiency: str | None = None
    radiated_limit: str | None = None

    @property
    def priced(self) -> bool:
        """Whether a figure of its energy has a source."""
        return self.stream is None or self.stream.energy is not None or self.stream.transmit is not None

    def bounds_bps(self, components: Components) -> dict[str, float]:
        """Payload a second, nominally, by what bounds it: "capacity", "link budget", "regulation"; what does not bound it is left out."""
        if self.stream is not None:
            share = components.value(self.stream.payload, "")
            return {name: float(bound * share) for name, bound in bounds_bps(self.stream, components).items()}
        assert self.radio is not None and self.bandwidth is not None and self.efficiency is not None  # links.toml has them for each radio
        allowed = components.value(self.bandwidth, "Hz") * components.value(self.efficiency, "b/s/Hz")
        return {"capacity": throughput_bps(self.radio, components), REGULATION: float(allowed)}

    def binding(self, components: Components) -> tuple[str, float]:
        """What bounds it most, and to how many bits of payload a second, nominally."""
        return min(self.bounds_bps(components).items(), key=lambda bound: bound[1])

    def text(self, components: Components) -> str:
        """Its bounds, limits and whether it has a price, in words."""
        bounds = ", ".join(f"{bound / 1e6:.3g} Mb/s by {name}" for name, bound in self.bounds_bps(components).items())
        bandwidth = "no rule on bandwidth" if self.bandwidth is None else f"{components.value(self.bandwidth, 'MHz'):g} MHz"
        radiated = "no rule on power" if self.radiated_limit is None else f"{components.value(self.radiated_limit, 'mW'):g} mW"
        return f"payload: {bounds}; allowed: {bandwidth}, {radiated}" + ("" if self.priced else "; no energy figure with a source")


@cache
def links() -> dict[str, Link]:
    """All links by name, in the order of the file."""
    source = "data/links.toml"
    rows = without_format(parse_toml(files("firmware_sim").joinpath(source).read_bytes(), source), FORMAT, source)
    return {name: _link(name, row) for name, row in rows.items()}


def get_link(name: str) -> Link:
    """Look a link up by name.

    Raises:
        UserError: there is no such link; the message lists those there are.
    """
    known = links()
    if name not in known:
        raise UserError(f"unknown link '{name:.80}': use one of {', '.join(known)}")
    return known[name]


def default_link(target: Target) -> Link:
    """Bluetooth LE by the part's own radio, or by an nRF52840 beside it."""
    return get_link(f"ble-{target.components.radio or 'nrf52840'}")


def _link(name: str, row: dict[str, str]) -> Link:
    of_stream, of_link = ({field.name for field in fields(kind)} for kind in (Stream, Link))
    plain: dict[str, Any] = {key: value for key, value in row.items() if key in of_link or key not in of_stream}
    if "radio" in row:
        return Link(name=name, **plain)
    return Link(name=name, stream=Stream(**{key: value for key, value in row.items() if key in of_stream}), **plain)
