"""Amplifiers, converters and detectors, and the lines on which their samples come to the microcontroller."""

from firmware_sim.components import Components, Quantity
from firmware_sim.power.scenario import Scenario
from firmware_sim.workload import Workload

LFP_HZ = 1000.0  # amplifiers up to this cut-off are priced as those of LFP
WORD_BITS = 16  # in which a sample of up to 16 bits, or a count, crosses the lines
# The clock line rises and falls with each bit: C V^2. The data line changes in every second of them, up or down: a quarter of that.
_SWINGS_PER_BIT = 1.25


def sensing_uw(workload: Workload, scenario: Scenario, components: Components) -> Quantity | None:
    """Amplifiers, converters and the circuit beside them; None where nobody knows the number of electrodes."""
    electrodes = workload.electrodes
    if electrodes is None:
        return None
    conversion = components.value(f"sensing.adc-{scenario.adc_bits}", "uJ/conversion")
    total = electrodes * (_amplifier_uw(workload.bandwidth_hz, scenario, components) + workload.sample_rate_hz * conversion)
    if workload.source == "detector":
        total = total + electrodes * components.value("sensing.spike-detector", "uW/channel")
    if workload.circuit is not None:
        total = total + electrodes * components.value(workload.circuit, "uW/channel")
    return total


def _amplifier_uw(bandwidth_hz: float, scenario: Scenario, components: Components) -> Quantity:
    if scenario.amplifier == "rhd":
        return components.value("sensing.rhd-amplifier", "uA/Hz") * bandwidth_hz * components.value("sensing.rhd-rail", "V")
    return components.value("sensing.amplifier-lfp" if bandwidth_hz <= LFP_HZ else "sensing.amplifier-broadband", "uW/channel")


def pins_uw(bits_per_s: Quantity, rail_v: Quantity, components: Components) -> Quantity:
    """Charging a clock and a data line, at ``rail_v``, for so many bits a second."""
    return _SWINGS_PER_BIT * bits_per_s * components.value("sensing.pin", "uF") * rail_v**2


def incoming_bps(workload: Workload) -> float:
    """Bits a second that come to the microcontroller: samples, or one value a bin."""
    if workload.source == "samples" and workload.electrodes is not None:
        return workload.electrodes * workload.sample_rate_hz * WORD_BITS
    return workload.channels * WORD_BITS / workload.bin_s


def sent_bits(workload: Workload, components: Components) -> Quantity:
    """Payload of a bin, compressed where that is done."""
    share = 1.0 if workload.compression is None else components.value(workload.compression, "")
    return workload.output_bits * share


def crossing_bps(workload: Workload, payload_bits: Quantity) -> Quantity:
    """Bits a second on the microcontroller's lines: what comes in, and what goes to a radio beside it."""
    outgoing = payload_bits / workload.bin_s
    incoming = outgoing if workload.source == "relay" else incoming_bps(workload)
    return incoming + outgoing if workload.to_radio else incoming


def raw_bps(workload: Workload, scenario: Scenario) -> float | None:
    """Bits a second of all samples of all electrodes; None where nobody knows how many there are."""
    return None if workload.electrodes is None else workload.electrodes * workload.sample_rate_hz * scenario.adc_bits
