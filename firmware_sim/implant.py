"""Event timeline of one implant second: ADC blocks, wake-up, front end, decoder, radio, sleep."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Literal

from firmware_sim.bundle import SAMPLE_BYTES, ring_bytes
from firmware_sim.components import Components
from firmware_sim.targets import Target
from realm_edge.documents import Form, Number

SAMPLE_BITS = 8 * SAMPLE_BYTES


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


LATENCY = ("bin_wait", "compute", "radio", *(each.name for each in fields(Delays)))  # its parts


@dataclass(frozen=True)
class Workload:
    """What the firmware has to do, in cycles that the simulation counted.

    Without a front end, values come in once per bin (``ticks_per_bin`` 1): counts of a circuit of its own that detects spikes, or features
    of which nobody knows what senses and computes them. Where it is not known how many electrodes have to be sensed, power is that of
    decoder, sleep and radio alone.
    """

    channels: int  # values that come in at a tick
    electrodes: int | None  # that have to be sensed for them; several sorted units come from one
    sample_rate_hz: float  # of one channel at the ADC, also where a circuit of its own reads it
    ticks_per_bin: int
    blocks_per_bin: int  # in which the DMA hands them over
    bin_s: float
    frontend_cycles: float  # a bin
    last_block_cycles: float  # of these, the block that ends a bin
    decoder_cycles: float  # one decoder step, sending included
    loop_cycles: float  # main loop, a bin
    output_bits: int  # payload of one packet; a packet a bin
    source: Literal["samples", "detector", "features"] = "samples"  # of what comes in
    delays: Delays = Delays()


class Bandwidth(Form):
    """Bits a second."""

    decoded: Number  # payload
    decoded_on_air: Number
    raw: Number | None  # of every sample of every electrode; None: nobody knows how many electrodes there are


class Timeline(Form):
    """The implant at work. Power is None where the work does not fit the clock or the link, and where the part has no power figure;
    sensing and raw bandwidth are where nobody knows how many electrodes there are.

    ``latency_ms`` runs from a change at the start of a bin to the end of the packet that shows it: ``bin_wait`` (the whole bin, the
    worst case; half of it is the mean), ``compute`` (from the last sample to the output), ``radio``, and what :class:`Delays` has:
    ``output_delay``, ``resampling``, ``filters`` and ``averaging``. Of several bands the latest counts, though others answer sooner.
    """

    fits: bool
    fit_text: str
    clock_hz: Number
    required_clock_hz: Number
    duty_cycle: Number | None
    wakeups_per_s: Number
    power_uw: dict[str, Number | None]  # sensing, mcu_active, mcu_sleep, radio, total
    bandwidth_bps: Bandwidth
    latency_ms: dict[str, Number | None]  # the parts of LATENCY, and "total"


class RawStreaming(Form):
    """What sending every sample instead would take. None: too much for the link, or unknown, as the text says."""

    bandwidth_bps: Number | None
    link_share: Number | None  # of its time
    power_uw: Number | None  # of sensing and radio
    text: str


def buffer_bytes(workload: Workload) -> int:
    """RAM of the DMA's ring, see :func:`firmware_sim.bundle.ring_bytes`."""
    return ring_bytes(workload.channels, workload.ticks_per_bin, workload.blocks_per_bin)


def run_timeline(workload: Workload, target: Target, components: Components, ram_bytes: int, seconds: float = 1.0) -> Timeline:
    """Play ``seconds`` of the implant on ``target`` and price it with ``components``; ``ram_bytes`` is what model and ADC buffer need."""
    clock = float(target.clock_hz)
    interrupt = components.value(target.components.interrupt, "cycles")
    wakeup_s = components.value(target.components.wakeup, "us") * 1e-6
    bin_cycles = workload.frontend_cycles + workload.decoder_cycles + workload.loop_cycles + workload.blocks_per_bin * interrupt
    required = bin_cycles / workload.bin_s
    on_air_s, on_air_bps = _packets(workload.output_bits, workload.bin_s, components)
    raw_bps = _raw_bps(workload)
    bandwidth = Bandwidth(decoded=workload.output_bits / workload.bin_s, decoded_on_air=on_air_bps, raw=raw_bps)
    problem = None
    if required > clock:
        problem = f"does not fit: needs a clock of {required / 1e6:.1f} MHz, {target.part} has {clock / 1e6:.0f} MHz"
    elif ram_bytes > target.ram_bytes:
        problem = f"does not fit: needs {ram_bytes} bytes of RAM with the ADC's buffer, {target.part} has {target.ram_bytes}"
    elif on_air_s > workload.bin_s:
        capacity = components.value("radio.rate", "Mb/s") * 1e6
        problem = f"the link cannot carry this: {on_air_bps / 1e3:.0f} kb/s on air with ramp-up, it carries {capacity / 1e3:.0f} kb/s"
    if problem:
        return Timeline(
            fits=False,
            fit_text=problem,
            clock_hz=clock,
            required_clock_hz=required,
            duty_cycle=None,
            wakeups_per_s=0.0,
            power_uw=dict.fromkeys(("sensing", "mcu_active", "mcu_sleep", "radio", "total")),
            bandwidth_bps=bandwidth,
            latency_ms=dict.fromkeys((*LATENCY, "total")),
        )
    active_s, wakeups, delay_s = _play(workload, clock, interrupt, wakeup_s, seconds)
    power = _power(workload, target, components, active_s / seconds, on_air_s)
    parts = (workload.bin_s, delay_s, on_air_s, *asdict(workload.delays).values())
    latency = {name: 1e3 * part for name, part in zip(LATENCY, parts, strict=True)}
    unpriced = f"; no power figure for {target.part}" if power["total"] is None else ""
    return Timeline(
        fits=True,
        fit_text=f"fits: {required / 1e6:.2f} of {clock / 1e6:.0f} MHz{unpriced}",
        clock_hz=clock,
        required_clock_hz=required,
        duty_cycle=active_s / seconds,
        wakeups_per_s=wakeups / seconds,
        power_uw=power,
        bandwidth_bps=bandwidth,
        latency_ms={**latency, "total": math.fsum(latency.values())},
    )


def _play(w: Workload, clock: float, interrupt: float, wakeup_s: float, seconds: float) -> tuple[float, int, float]:
    """Serve the DMA blocks one after another; the core sleeps whenever none waits.

    Returns:
        Seconds awake (waking up included), number of wake-ups, and the longest time from the last sample of a bin to its output.
    """
    block_s = w.bin_s / w.blocks_per_bin
    plain_block = (w.frontend_cycles - w.last_block_cycles) / max(1, w.blocks_per_bin - 1)
    busy_until, active, wakeups, longest = 0.0, 0.0, 0, 0.0
    for k in range(round(seconds / block_s)):
        arrival = (k + 1) * block_s
        start = arrival
        if busy_until > arrival:
            start = busy_until  # still at work on the block before: no wake-up
        else:
            wakeups += 1
            start += wakeup_s
            active += wakeup_s
        ends_bin = (k + 1) % w.blocks_per_bin == 0
        cycles = interrupt + w.loop_cycles / w.blocks_per_bin
        cycles += w.last_block_cycles + w.decoder_cycles if ends_bin else plain_block
        busy_until = start + cycles / clock
        active += cycles / clock
        if ends_bin:
            longest = max(longest, busy_until - arrival)
    return min(active, seconds), wakeups, longest


def raw_streaming(workload: Workload, components: Components) -> RawStreaming:
    """Price the link, sensing and radio of an implant that decodes nothing."""
    raw_bps = _raw_bps(workload)
    if raw_bps is None:
        what = "features, not samples" if workload.source == "features" else "sorted units and not how many electrodes they come from"
        return RawStreaming(bandwidth_bps=None, link_share=None, power_uw=None, text=f"unknown: the recording holds {what}")
    bits = raw_bps * workload.bin_s
    on_air_s, _ = _packets(bits, workload.bin_s, components)
    share = on_air_s / workload.bin_s
    if share > 1.0:
        text = f"the link cannot carry this: {bits / workload.bin_s / 1e6:.2f} Mb/s would need {share:.1f} times its time"
        return RawStreaming(bandwidth_bps=bits / workload.bin_s, link_share=share, power_uw=None, text=text)
    power = (_sensing_uw(workload, components) or 0.0) + _radio_uw(share, components)
    text = "sensing and radio, no processing"
    return RawStreaming(bandwidth_bps=bits / workload.bin_s, link_share=share, power_uw=power, text=text)


def _packets(bits: float, period_s: float, components: Components) -> tuple[float, float]:
    """Seconds on air for ``bits`` of payload every ``period_s``, ramp-up included, and the bits per second on air."""
    payload, largest = math.ceil(bits / 8), components.value("radio.payload", "bytes/packet")
    packets = max(1, math.ceil(payload / largest))
    on_air = 8 * (payload + packets * components.value("radio.overhead", "bytes/packet"))
    seconds = on_air / (components.value("radio.rate", "Mb/s") * 1e6) + packets * components.value("radio.rampup", "us") * 1e-6
    return seconds, on_air / period_s


def _raw_bps(workload: Workload) -> float | None:
    """Bits a second of all samples of all electrodes."""
    return None if workload.electrodes is None else workload.electrodes * workload.sample_rate_hz * SAMPLE_BITS


def _sensing_uw(workload: Workload, components: Components) -> float | None:
    """Amplifiers, ADC and, where spikes are detected in hardware, detectors; None where nobody knows how many electrodes there are."""
    if workload.electrodes is None:
        return None
    conversions = workload.electrodes * workload.sample_rate_hz * components.value("sensing.adc", "pJ/conversion") * 1e-6
    amplifiers = workload.electrodes * components.value("sensing.amplifier", "uW/channel")
    if workload.source != "detector":
        return amplifiers + conversions
    return amplifiers + conversions + workload.electrodes * components.value("sensing.spike-detector", "uW/channel")


def _radio_uw(share: float, components: Components) -> float:
    return share * components.value("radio.transmit", "mW") * 1e3 + (1.0 - share) * components.value("radio.idle", "uW")


def _power(workload: Workload, target: Target, components: Components, duty: float, on_air_s: float) -> dict[str, float | None]:
    """Mean power by part in microwatts; None where the component library has no figure of the part, or nobody knows the electrodes."""
    sensing = _sensing_uw(workload, components)
    active = sleep = None
    if target.components.active:
        active = duty * target.clock_hz * components.value(target.components.active, "pJ/cycle") * 1e-6
    if target.components.sleep:
        sleep = (1.0 - duty) * components.value(target.components.sleep, "uW")
    radio = _radio_uw(on_air_s / workload.bin_s, components)
    total = None if active is None or sleep is None else (sensing or 0.0) + active + sleep + radio
    return {"sensing": sensing, "mcu_active": active, "mcu_sleep": sleep, "radio": radio, "total": total}
