"""Heat and supply by place: what an implant's power warms where it lies (docs/power.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from firmware_sim.budgets import State
from firmware_sim.components import CONFIDENCES, Components, Figure
from firmware_sim.units import factor
from realm_edge.documents import Form, Number
from realm_edge.errors import UserError

Place = Literal["cortex", "skull", "chest"]
Supply = Literal["battery", "inductive", "ultrasonic"]
SURFACE_CM2 = 1.44  # one face of BISC's chip on the cortex, 144 mm2 (as MINDFUL has it, secondary); a unit or a can has more
_RISES = ("heat.rise-tissue", "heat.rise-surface")
_PER_KELVIN: dict[Place, tuple[str, str]] = {"cortex": ("heat.cortex", "K/uW"), "skull": ("heat.skull", "uW/K")}
_RECEIVER = {"inductive": "coil", "ultrasonic": "transducer"}


class Heat(Form):
    """An implant's heat at one place, with one supply, against one limit. None: no figure with a source is known."""

    place: Place
    supply: Supply
    limit: str  # "1 degC", "2 degC", "40 mW/cm2"
    heat_uw: Number | None  # that is turned to heat at this place, the supply's losses there included
    heat_uw_range: tuple[Number | None, Number | None]
    limit_uw: Number | None
    state: State | None
    text: str
    source: str
    confidence: str


@dataclass(frozen=True)
class _Ends:
    """A quantity with its figures at their better ends (for an implant that shall stay cool), nominal, and at their worse ones."""

    better: float | None
    nominal: float | None
    worse: float | None


@dataclass(frozen=True)
class _Limit:
    """Power that a limit allows; ``uw`` None: no figure says."""

    name: str
    uw: _Ends | None
    figures: tuple[Figure, ...]
    condition: str


@dataclass(frozen=True)
class _Supplied:
    heat: _Ends
    figures: tuple[Figure, ...]
    remark: str  # where the losses heat


def heats(
    power_uw: float | None,
    power_range: tuple[float | None, float | None],
    components: Components,
    surface_cm2: float = SURFACE_CM2,
) -> tuple[Heat, ...]:
    """Every place with every supply against every limit.

    All that the implant draws is taken to become heat where it lies, what its radio sends included.

    Args:
        power_uw: mean power of the implant at its battery's rail; None: it does not fit, or has no figure.
        power_range: the same at the better and the worse ends of its figures and cycles.
        surface_cm2: over which the implant gives off heat; a choice, for the limit by area alone.

    Raises:
        UserError: the surface is no positive number, or the component library lacks a figure.
    """
    if not 0.0 < surface_cm2 < float("inf"):
        raise UserError(f"an implant's surface of {surface_cm2:g} cm2: a finite number above 0 is needed")
    power = _Ends(power_range[0], power_uw, power_range[1])
    known = {figure.name: figure for figure in components.all()}
    return tuple(
        _heat(place, supply, _supplied(place, supply, power, known), limit)
        for place, supply in product(get_args(Place), get_args(Supply))
        for limit in _limits(place, surface_cm2, known)
    )


def _heat(place: Place, supply: Supply, supplied: _Supplied, limit: _Limit) -> Heat:
    figures = (*limit.figures, *supplied.figures)
    state = None if limit.uw is None else _state(supplied.heat, limit.uw)
    unsure = max((figure.confidence for figure in figures), key=CONFIDENCES.index)
    return Heat(
        place=place,
        supply=supply,
        limit=limit.name,
        heat_uw=supplied.heat.nominal,
        heat_uw_range=(supplied.heat.better, supplied.heat.worse),
        limit_uw=None if limit.uw is None else limit.uw.nominal,
        state=state,
        text=_text(place, supplied, limit, state),
        source="; ".join(dict.fromkeys(figure.source for figure in figures)),
        confidence="unverified" if limit.uw is None else unsure,
    )


def _state(heat: _Ends, limit: _Ends) -> State | None:
    """As of a budget: it holds where the worst heat keeps the lowest limit."""
    if heat.nominal is None or limit.nominal is None or limit.worse is None:
        return None
    if heat.nominal > limit.nominal:
        return "broken"
    return "holds" if heat.worse is not None and heat.worse <= limit.worse else "holds only nominally"


def _text(place: Place, supplied: _Supplied, limit: _Limit, state: State | None) -> str:
    heat = supplied.heat.nominal
    if heat is None:
        return "no power figure, or the work does not fit: its heat is unknown"
    if limit.uw is None or limit.uw.nominal is None:
        return f"{_milliwatts(heat)} of heat; {limit.condition}; {supplied.remark}"
    where = {"holds": "below", "holds only nominally": "with nominal figures alone below", "broken": "above"}[str(state)]
    share = f"{100 * heat / limit.uw.nominal:.2g} % of {_milliwatts(limit.uw.nominal)}"
    return (
        f"{_milliwatts(heat)} of heat, {share}: {where} the design limit of {limit.name} at the {place} ({limit.condition}); "
        f"{supplied.remark}"
    )


def _milliwatts(uw: float) -> str:
    return f"{uw / 1e3:.3g} mW"


def _limits(place: Place, surface_cm2: float, known: dict[str, Figure]) -> Iterator[_Limit]:
    for name in _RISES:
        rise = _figure(name, known)
        kelvins = rise.value * factor(rise.unit, "K")
        label = f"{kelvins:g} degC"
        if place not in _PER_KELVIN:
            yield _Limit(label, None, (rise,), f"no figure with a source was found for what warms the {place} by {label}")
            continue
        slope, unit = _PER_KELVIN[place]
        figure = _figure(slope, known)
        low, nominal, high = _values(figure, unit)
        allowed = (high, nominal, low) if unit == "uW/K" else (1 / low, 1 / nominal, 1 / high)
        yield _Limit(label, _Ends(*(kelvins * each for each in allowed)), (figure, rise), figure.source)
    flux = _figure("heat.flux", known)
    low, nominal, high = (each * surface_cm2 for each in _values(flux, "uW/cm/cm"))
    name = f"{nominal / surface_cm2 / 1e3:g} mW/cm2"
    yield _Limit(name, _Ends(high, nominal, low), (flux,), f"over {surface_cm2:g} cm2, a choice")


def _supplied(place: Place, supply: Supply, power: _Ends, known: dict[str, Figure]) -> _Supplied:
    return _from_battery(place, power, known) if supply == "battery" else _received(supply, power, known)


def _from_battery(place: Place, power: _Ends, known: dict[str, Figure]) -> _Supplied:
    """R I^2 of the battery, beside the implant; one in the cortex has its battery in a can in the chest."""
    resistance, battery = _figure("supply.battery-resistance", known), _figure("supply.battery", known)
    volts = battery.value * factor(battery.unit, "V")
    drawn = (power.better, power.nominal, power.worse)
    lost = [None if uw is None else ohm * (uw / volts) ** 2 * 1e-6 for uw, ohm in zip(drawn, _values(resistance, "ohm"), strict=True)]
    amount = "" if lost[1] is None else f" {lost[1]:.3g} uW"
    charging = "charging it heats more, while it lasts"
    if place == "cortex":
        return _Supplied(power, (), f"its battery lies in a can in the chest and loses{amount} there; {charging}")
    heat = (None if uw is None or loss is None else uw + loss for uw, loss in zip(drawn, lost, strict=True))
    return _Supplied(_Ends(*heat), (resistance, battery), f"the battery beside it loses{amount} here; {charging}")


def _received(supply: Supply, power: _Ends, known: dict[str, Figure]) -> _Supplied:
    """The receiver's loss heats where the implant lies, the transmitter's outside the body."""
    receiver, link = (_figure(f"supply.{supply}-{part}", known) for part in ("receiver", "link"))
    low, share, high = _values(receiver, "")
    drawn = zip((power.better, power.nominal, power.worse), (high, share, low), strict=True)
    heat = _Ends(*(None if uw is None else uw / handed_on for uw, handed_on in drawn))
    if heat.nominal is None or power.nominal is None:
        return _Supplied(heat, (receiver, link), "")
    sent = heat.nominal / (link.value * factor(link.unit, ""))
    remark = (
        f"what follows the {_RECEIVER[supply]} loses {_milliwatts(heat.nominal - power.nominal)} here; the transmitter outside the body "
        f"draws {_milliwatts(sent)}"
    )
    absorbed = "; what tissue absorbs on the way heats there and is not counted" if supply == "ultrasonic" else ""
    return _Supplied(heat, (receiver, link), remark + absorbed)


def _figure(name: str, known: dict[str, Figure]) -> Figure:
    if name not in known:
        raise UserError(f"component library: no figure '{name}': heat by place needs it")
    return known[name]


def _values(figure: Figure, unit: str) -> tuple[float, float, float]:
    """Low, nominal and high in ``unit``."""
    try:
        times = factor(figure.unit, unit)
    except UserError as error:
        raise UserError(f"component library: '{figure.name}': {error}") from None
    return figure.low * times, figure.value * times, figure.high * times
