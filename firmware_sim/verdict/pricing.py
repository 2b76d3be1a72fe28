"""A scenario on a part, over a link, as a case of the model that ``simulate`` has too: what it computes, what it sends, what it draws."""

import math
from dataclasses import dataclass, replace

from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.ranges import RangedCase
from firmware_sim.targets import Target
from firmware_sim.verdict.candidate import Candidate
from firmware_sim.verdict.counts import Counts, Ends, Signal
from firmware_sim.verdict.link import Link
from firmware_sim.workload import Delays, Workload, WorkloadRange

FEATURE_BITS: dict[Signal, int] = {"lfp": 16, "lfp-200": 16, "sbp": 16, "spike": 8}
SHORT_S = 0.1  # a bin of up to so long holds fewer than 256 spikes; counts of a longer one are sent by 16 bits
OUTPUT_BITS = 16


@dataclass(frozen=True)
class Acquired:
    """What the electrodes give, where no firmware was counted."""

    channels: int
    rate_hz: float  # of one channel at the ADC
    bandwidth_hz: float  # upper cut-off of the amplifier
    bin_s: float  # in which what is sent is gathered


@dataclass(frozen=True)
class Priced:
    """A scenario as a case that can be played at any positions (:func:`firmware_sim.ranges.played`)."""

    candidate: Candidate
    channels: int
    target: Target
    link: Link
    case: RangedCase | None  # None: its firmware does not fit the part
    payload_bps: float  # before compression
    why_not: str  # empty where there is a case
    firmware: str  # what ran as firmware, and for how long; or that nothing does


def price(
    candidate: Candidate,
    counts: Counts | None,
    target: Target,
    link: Link,
    scenario: Scenario = DEFAULT,
    delays: Delays | None = None,
    acquired: Acquired | None = None,
) -> Priced:
    """A scenario's case.

    Args:
        counts: of the scenario's signal on the target, with front end where the scenario has it in software. Samples need none; features
            that a circuit makes need them for the number of features alone, which may not fit.
        scenario: the choices around it; those of the candidate (resolution) and the link go before them.
        delays: by what an answer is late before anything is computed; None: as ``counts`` say.
        acquired: of samples; None: as ``counts`` say.

    Raises:
        ValueError: the counts are of another signal, target or kind than the scenario, or there are none where it needs them.
    """
    if counts is not None:
        _check(candidate, counts, target)
    if delays is None:
        delays = Delays(filters=counts.delay_s if counts else 0.0)
    chosen = replace(scenario, adc_bits=candidate.adc_bits, radio=link.radio, stream=link.stream)
    to_radio = link.radio is None or link.radio != target.components.radio
    if candidate.sends == "samples":
        sensed = acquired or _acquired(candidate, counts)
        bits = sensed.channels * sensed.rate_hz * candidate.adc_bits * sensed.bin_s
        return _relayed(candidate, sensed, bits, target, link, chosen, delays, to_radio)
    if counts is None:
        raise ValueError(f"{candidate.name}: counts are needed where features are made")
    features = counts.features * (FEATURE_BITS[candidate.signal] if counts.bin_s <= SHORT_S else 16)
    if candidate.frontend == "circuit" and candidate.sends == "features":
        return _relayed(candidate, _acquired(candidate, counts), features, target, link, chosen, delays, to_radio)
    bits = features if candidate.sends == "features" else OUTPUT_BITS * counts.output_values
    known = counts.fits and counts.ram_bytes is not None
    case = RangedCase(_computed(candidate, counts, bits, delays, to_radio), target, counts.ram_bytes or 0, chosen) if known else None
    return Priced(candidate, counts.channels, target, link, case, bits / counts.bin_s, "" if known else counts.text, counts.text)


def _check(candidate: Candidate, counts: Counts, target: Target) -> None:
    # Of samples they say what is sensed, which is the same with and without a front end.
    frontend = counts.frontend if candidate.sends == "samples" else candidate.frontend == "software"
    wanted, found = (candidate.signal, target.name, frontend), (counts.signal, counts.target, counts.frontend)
    if wanted != found:
        raise ValueError(f"{candidate.name}: counts of {found}, where those of {wanted} are needed (signal, target, front end)")


def _acquired(candidate: Candidate, counts: Counts | None) -> Acquired:
    if counts is None:
        raise ValueError(f"{candidate.name}: give what is acquired, or counts that say it")
    return Acquired(counts.channels, counts.rate_hz, counts.bandwidth_hz, counts.bin_s)


def _relayed(
    candidate: Candidate,
    sensed: Acquired,
    bits_per_bin: float,
    target: Target,
    link: Link,
    scenario: Scenario,
    delays: Delays,
    to_radio: bool,
) -> Priced:
    """Samples, or what a circuit makes of them, that the DMA hands on to the radio; the core wakes up once a bin."""
    work = Workload(
        channels=sensed.channels,
        electrodes=sensed.channels,
        sample_rate_hz=sensed.rate_hz,
        bandwidth_hz=sensed.bandwidth_hz,
        ticks_per_bin=1,
        blocks_per_bin=1,
        bin_s=sensed.bin_s,
        frontend_cycles=0.0,
        last_block_cycles=0.0,
        decoder_cycles=0.0,
        loop_cycles=0.0,
        output_bits=bits_per_bin,
        source="relay",
        delays=delays,
        circuit=candidate.circuit or candidate.compressor,
        compression=candidate.compression,
        to_radio=to_radio,
    )
    # Bluetooth LE holds a bin until its event while the next comes in; a stream takes each word as it comes.
    held = 2 * math.ceil(bits_per_bin / 8) if link.radio else 0
    case = RangedCase(WorkloadRange(work, work, work), target, held, scenario)
    return Priced(candidate, sensed.channels, target, link, case, bits_per_bin / sensed.bin_s, "", "none: the DMA hands on what comes in")


def _computed(candidate: Candidate, counts: Counts, bits: int, delays: Delays, to_radio: bool) -> WorkloadRange:
    """Firmware's work, low, nominal and high."""
    in_software = candidate.frontend == "software"
    decodes = candidate.sends == "decoded"

    def at(end: int) -> Workload:
        # Sending is a copy of each value, so it takes as many times the cycles as there are values.
        sending = _end(counts.send_cycles, end) * (1.0 if decodes else counts.features / counts.output_values)
        return Workload(
            channels=counts.channels if in_software else counts.features,
            electrodes=counts.channels,
            sample_rate_hz=counts.rate_hz,
            bandwidth_hz=counts.bandwidth_hz,
            ticks_per_bin=counts.ticks_per_bin,
            blocks_per_bin=counts.blocks_per_bin,
            bin_s=counts.bin_s,
            frontend_cycles=_end(counts.frontend_cycles, end),
            last_block_cycles=_end(counts.last_block_cycles, end),
            decoder_cycles=(_end(counts.decoder_cycles, end) if decodes else 0.0) + sending,
            loop_cycles=_end(counts.loop_cycles, end),
            output_bits=bits,
            source="samples" if in_software else "circuit",
            delays=delays,
            circuit=candidate.circuit,
            to_radio=to_radio and not decodes,
        )

    return WorkloadRange(at(0), at(1), at(2))


def _end(ends: Ends | None, end: int) -> float:
    if ends is None:
        raise ValueError("firmware that fits has cycles of every region")
    return float(ends[end])
