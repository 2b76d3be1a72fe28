"""The implant at work: what each of its terms draws, when an answer is there, and whether all of it fits (docs/power.md)."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import reduce
from operator import add

import numpy as np

from firmware_sim.components import Components, Quantity
from firmware_sim.power.core import Activity, active_uw, activity, sleep_uw
from firmware_sim.power.radio import event, radio_of
from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.power.sensing import crossing_bps, pins_uw, raw_bps, sensing_uw, sent_bits
from firmware_sim.power.stream import Event, bounds_bps, streamed
from firmware_sim.power.supply import losses_uw, rail_v
from firmware_sim.targets import Target
from firmware_sim.workload import Delays, Workload
from realm_edge.documents import Form, Number

PARTS = ("sensing", "pins", "mcu_active", "mcu_sleep", "supply", "radio")  # of the power
LATENCY = ("bin_wait", "compute", "radio_wait", "radio", *(each.name for each in fields(Delays)))  # its parts


@dataclass(frozen=True)
class Case:
    """A workload on a target, with what was chosen around it; ``ram_bytes`` is what model and ADC buffer need."""

    workload: Workload
    target: Target
    ram_bytes: int
    scenario: Scenario = DEFAULT


@dataclass(frozen=True)
class Second:
    """What the model says of a case, each quantity one number or one a draw. It is true only where :attr:`fits` is."""

    activity: Activity
    event: Event
    power_uw: dict[str, Quantity | None]  # by PARTS, and "total"
    latency_s: dict[str, Quantity]  # by LATENCY, and "total"
    fits: Quantity  # 1 or 0


def play(case: Case, components: Components) -> Second:
    """The model: a pure function of workload, target, choices and figures."""
    work, target = case.workload, case.target
    active = activity(work, target, components)
    payload = sent_bits(work, components)
    if case.scenario.stream is None:
        sent = event(payload, work, radio_of(target, case.scenario), case.scenario, components)
    else:
        sent = streamed(payload, work.bin_s, case.scenario.stream, components)
    fits = (active.required_hz <= target.clock_hz) & (case.ram_bytes <= target.ram_bytes) & (sent.seconds <= sent.period_s)
    latency = {
        "bin_wait": work.bin_s,
        "compute": active.compute_s,
        "radio_wait": sent.wait_s,
        "radio": sent.seconds,
        **asdict(work.delays),
    }
    return Second(
        activity=active,
        event=sent,
        power_uw=_power_uw(case, components, active, sent, payload),
        latency_s=latency | {"total": _sum(latency.values())},
        fits=np.asarray(fits, dtype=float),
    )


def _power_uw(case: Case, components: Components, active: Activity, sent: Event, payload: Quantity) -> dict[str, Quantity | None]:
    """By part; None where the library has no figure of the part or the link, or nobody knows the electrodes."""
    work, target, scenario = case.workload, case.target, case.scenario
    known = work.electrodes is not None
    awake = active_uw(active.duty, target, scenario, components)
    asleep = sleep_uw(active.duty, target, scenario, components)
    priced = awake is not None and asleep is not None and sent.power_uw is not None
    parts: dict[str, Quantity | None] = {
        "sensing": sensing_uw(work, scenario, components),
        "pins": pins_uw(crossing_bps(work, payload), rail_v(target, components), components) if known else None,
        "mcu_active": awake,
        "mcu_sleep": asleep,
        "supply": losses_uw(awake + asleep, target, scenario, components) if awake is not None and asleep is not None else None,
        "radio": sent.power_uw,
    }
    return parts | {"total": _sum(value for value in parts.values() if value is not None) if priced else None}


def _sum(terms: Iterable[Quantity]) -> Quantity:
    """One after the other, so that a draw with nominal figures has every digit of the number."""
    return reduce(add, terms)


class Bandwidth(Form):
    """Bits a second."""

    decoded: Number  # payload
    decoded_on_air: Number  # headers and packets that are sent again included
    raw: Number | None  # of every sample of every electrode; None: nobody knows how many electrodes there are


class Timeline(Form):
    """The implant at work. Power is None where the work does not fit the clock or the link, and where the part has no power figure;
    sensing and raw bandwidth are where nobody knows how many electrodes there are.

    ``latency_ms`` runs from a change at the start of a bin to the end of the packet that shows it: ``bin_wait`` (the whole bin, the
    worst case; half of it is the mean), ``compute`` (from the last sample to the output), ``radio_wait`` (for the next connection event),
    ``radio`` (the event), and what :class:`Delays` has: ``output_delay``, ``resampling``, ``filters`` and ``averaging``. Of several bands
    the latest counts, though others answer sooner.
    """

    fits: bool
    fit_text: str
    clock_hz: Number
    required_clock_hz: Number
    duty_cycle: Number | None
    wakeups_per_s: Number
    power_uw: dict[str, Number | None]  # the parts of PARTS, and "total"
    bandwidth_bps: Bandwidth
    latency_ms: dict[str, Number | None]  # the parts of LATENCY, and "total"


class RawStreaming(Form):
    """What sending every sample instead would take. None: too much for the link, or unknown, as the text says."""

    bandwidth_bps: Number | None
    link_share: Number | None  # of its time
    power_uw: Number | None  # of sensing, pins and radio
    text: str


def run_timeline(case: Case, components: Components) -> Timeline:
    """What :func:`play` finds for one number of each figure, and whether it fits, in words.

    Raises:
        UserError: the component library lacks a figure.
    """
    second, target = play(case, components), case.target
    clock, required = float(target.clock_hz), float(second.activity.required_hz)
    sent, power, latency = second.event, _numbers(second.power_uw), _numbers(second.latency_s)
    problem = _problem(case, second, components)
    fits = problem is None
    unpriced = f"; no power figure for {'the link' if sent.power_uw is None else target.part}" if power["total"] is None else ""
    return Timeline(
        fits=fits,
        fit_text=problem or f"fits: {required / 1e6:.2f} of {clock / 1e6:.0f} MHz{unpriced}",
        clock_hz=clock,
        required_clock_hz=required,
        duty_cycle=float(second.activity.duty) if fits else None,
        wakeups_per_s=float(second.activity.wakeups_per_s) if fits else 0.0,
        power_uw=power if fits else dict.fromkeys(power),
        bandwidth_bps=Bandwidth(
            decoded=case.workload.output_bits / case.workload.bin_s,
            decoded_on_air=float(sent.on_air_bits) / sent.period_s,
            raw=raw_bps(case.workload, case.scenario),
        ),
        latency_ms={name: None if value is None or not fits else 1e3 * value for name, value in latency.items()},
    )


def _problem(case: Case, second: Second, components: Components) -> str | None:
    """Why the work does not fit, in words; None: it does."""
    target, sent, stream = case.target, second.event, case.scenario.stream
    clock, required = float(target.clock_hz), float(second.activity.required_hz)
    if required > clock:
        return f"does not fit: needs a clock of {required / 1e6:.1f} MHz, {target.part} has {clock / 1e6:.0f} MHz"
    if case.ram_bytes > target.ram_bytes:
        return f"does not fit: needs {case.ram_bytes} bytes of RAM with the ADC's buffer, {target.part} has {target.ram_bytes}"
    if sent.share <= 1.0:
        return None
    if stream is None:
        return f"the link cannot carry this: a connection event of {1e3 * sent.seconds:.1f} ms every {1e3 * sent.period_s:g} ms"
    bound, most = min(bounds_bps(stream, components).items(), key=lambda item: float(item[1]))
    needed = float(sent.on_air_bits) / sent.period_s
    return f"the link cannot carry this: {needed / 1e6:.3g} Mb/s on air, its {bound} bounds it to {float(most) / 1e6:.3g} Mb/s"


def _numbers(quantities: Mapping[str, Quantity | None]) -> dict[str, float | None]:
    return {name: None if value is None else float(value) for name, value in quantities.items()}


def raw_streaming(case: Case, components: Components) -> RawStreaming:
    """Price the link, sensing, pins and radio of an implant that decodes nothing."""
    work, scenario = case.workload, case.scenario
    rate = raw_bps(work, scenario)
    if rate is None:
        what = "features, not samples" if work.source == "features" else "sorted units and not how many electrodes they come from"
        return RawStreaming(bandwidth_bps=None, link_share=None, power_uw=None, text=f"unknown: the recording holds {what}")
    sent = event(rate * work.bin_s, work, radio_of(case.target, scenario), scenario, components)
    share = float(sent.share)
    if share > 1.0:
        text = f"the link cannot carry this: {rate / 1e6:.2f} Mb/s would need {share:.1f} times its time"
        return RawStreaming(bandwidth_bps=rate, link_share=share, power_uw=None, text=text)
    sensing = sensing_uw(work, scenario, components)
    pins = pins_uw(rate, components.value("supply.battery", "V"), components)
    assert sent.power_uw is not None  # every radio of Bluetooth LE has a figure
    power = float((0.0 if sensing is None else sensing) + pins + sent.power_uw)
    return RawStreaming(bandwidth_bps=rate, link_share=share, power_uw=power, text="sensing, pins and radio, no processing")
