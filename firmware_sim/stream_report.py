"""One stream's section of ``simulation/<target>.json``: cost, memory, power, bandwidth, latency, accuracy, budgets."""

from typing import Any, Literal

from firmware_sim.budgets import Budget, Measured, Row, evaluate
from firmware_sim.bundle import Bundle
from firmware_sim.compare import Mismatch
from firmware_sim.components import Components, Figure
from firmware_sim.elf import MemoryUse
from firmware_sim.implant import RawStreaming, Timeline, raw_streaming, run_timeline
from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.ranges import Comparison, RangedCase, compare, range_of
from firmware_sim.simulate import KernelRow, RegionStep, StreamResult
from firmware_sim.targets import Flash, Target
from firmware_sim.workload import Delays, Sensed, Workload, WorkloadRange, buffer_bytes
from quantization.summaries import R2
from realm_edge.documents import Form, Number

FRONTENDS = {  # by a workload's source
    "samples": "run",
    "detector": "not run: spike counts come in from a circuit of their own",
    "units": "not run: sorted units come in from a circuit of their own, of how many electrodes the recording does not say (name their "
    "number with --spike-electrodes): power is that of decoder and radio alone",
    "features": "not included: the recording holds features; power, latency, flash, RAM and cycles are those of decoder and radio alone",
}


class Core(Form):
    """The core, and what its cycle table rests on."""

    name: str
    label: str
    validation: str
    source: str


class RegionReport(Form):
    """A region's cost in one step, flash wait states included, and its visits; None where they are not counted."""

    cycles: Number
    cycles_low: Number
    cycles_high: Number
    stall_cycles: Number  # of ``cycles``: flash wait states
    instructions: Number
    loaded_bytes: Number
    visits_per_step: Number | None
    least_instructions_of_a_visit: int | None
    most_instructions_of_a_visit: int | None
    p50_cycles_of_a_visit: Number | None  # half of the visits take at most these
    p99_cycles_of_a_visit: Number | None
    longest_visit_cycles: Number | None
    longest_visit_cycles_high: Number | None


class ResetReport(Form):
    """How often the run started anew after a pause, what one reset costs, and after how many bins the decoder has settled."""

    count: int
    cycles: Number
    cycles_range: tuple[Number, Number]
    warm_up_bins: int | None  # None: the decoder's graph does not say
    warm_up_ms: Number | None


class MemoryReport(Form):
    """Bytes of the firmware, and of the part."""

    sections: dict[str, int]
    adc_buffer_bytes: int
    stack_used_bytes: int
    scratch_bytes: int
    weight_bytes: int
    part_flash_bytes: int
    part_ram_bytes: int


class StreamReport(Timeline):
    """Everything that is reported of one stream on one target. A step is a bin: the front end's blocks and one decoder step."""

    stream: str
    target: str
    part: str
    assumed: tuple[str, ...]  # what no document of the part was read for
    flash: Flash
    code_runs_from: str  # "flash" or "RAM", and what more there is to say
    core: Core
    emulator: str
    frontend: str  # "run", or why it is not
    electrodes: int | None  # None: nobody knows
    steps: int
    reset: ResetReport
    bit_exact: bool
    mismatch: Mismatch | None
    cycles_per_step: Number
    cycles_per_step_range: tuple[Number, Number]
    stall_cycles_per_step: Number
    regions: dict[str, RegionReport]
    macs_per_step: int
    cycles_per_mac: Number | None  # this and the next three are of the decoder: a front end has no MAC as they are counted here
    cycles_per_mac_range: tuple[Number, Number] | None
    instructions_per_mac: Number | None
    loaded_bytes_per_mac: Number | None
    kernels: tuple[KernelRow, ...]
    flash_bytes: int
    ram_bytes: int
    state_bytes: int
    memory: MemoryReport
    power_uw_range: tuple[Number | None, Number | None]  # microwatts, with all figures and cycles at their better and at their worse ends
    latency_ms_range: tuple[Number | None, Number | None]
    raw_streaming: RawStreaming
    r2: R2  # on the golden vectors' scored bins
    budgets: tuple[Row, ...]
    with_spike_detector: Timeline | None = None  # the decoder behind a spike detector of its own; absent where that is no question
    components: tuple[Figure, ...]  # that went into power and latency
    unverified: tuple[str, ...]  # those of them that no source was read for, in words


def stream_report(
    result: StreamResult,
    budgets: list[Budget],
    components: Components,
    r2: R2,
    sensed: Sensed,
    delays: Delays,
    scenario: Scenario = DEFAULT,
) -> StreamReport:
    """Price one stream on one target, and hold it against budgets.

    Args:
        r2: of the decoders on the held-out part.
        sensed: by its electrodes; its rate differs from the firmware's own where a circuit of its own detects spikes.
        delays: by what the answer is late before anything is computed.
        scenario: the choices around the target.

    Raises:
        UserError: the component library lacks a figure of the target.
    """
    target, memory = result.target, result.memory
    ranged = ranged_case(result, sensed, delays, scenario)
    case, work, ram = ranged.nominal, ranged.workload.nominal, ranged.ram_bytes
    ring = buffer_bytes(work)
    timeline = run_timeline(case, components)
    ends = range_of(ranged, components)
    measured = Measured(
        timeline.power_uw,
        ends.power_uw,
        timeline.bandwidth_bps.decoded,
        timeline.latency_ms,
        ends.latency_ms,
        memory.flash,
        ram,
        r2.float,
        r2.int8,
        timeline.fit_text,
        stream=result.bundle.stream,
        cycles={name: float(getattr(work, f"{name}_cycles")) for name in ("frontend", "decoder", "loop")},
        decoder_only=work.electrodes is None,
    )
    cycles, macs = result.cycles_per_step, result.macs_per_step
    step = result.regions["decoder"]
    decoder = step.cycles
    core = {name: getattr(result.core, name) for name in Core.model_fields}
    # An MCU alone would flatter LFP: the same decoder behind a spike detector of its own.
    behind: dict[str, Any] = {}
    if has_spike_frontend(result):
        behind["with_spike_detector"] = run_timeline(behind_detector(result, ranged).nominal, components)
    return StreamReport(
        stream=result.bundle.stream,
        target=target.name,
        part=target.part,
        assumed=tuple(f"{name} of {target.part}: {target.source_of(name)}" for name in target.assumed),
        flash=target.flash,
        code_runs_from=_code_runs_from(target, memory, ring),
        core=Core(**core),
        emulator=result.emulator,
        frontend=FRONTENDS["units" if work.source == "detector" and work.electrodes is None else work.source],
        electrodes=work.electrodes,
        steps=result.steps,
        reset=_reset(result),
        bit_exact=result.bit_exact,
        mismatch=result.mismatch,
        cycles_per_step=cycles.cycles,
        cycles_per_step_range=(cycles.low, cycles.high),
        stall_cycles_per_step=sum(result.regions[name].stalls.cycles for name in ("frontend", "decoder")),
        regions={name: _region(region, result.steps) for name, region in result.regions.items()},
        macs_per_step=macs,
        cycles_per_mac=decoder.cycles / macs if macs else None,
        cycles_per_mac_range=(decoder.low / macs, decoder.high / macs) if macs else None,
        instructions_per_mac=step.instructions / macs if macs else None,
        loaded_bytes_per_mac=step.loaded_bytes / macs if macs else None,
        kernels=result.kernels,
        flash_bytes=memory.flash,
        ram_bytes=ram,
        state_bytes=result.state_bytes,
        memory=MemoryReport(
            sections=memory.sections,
            adc_buffer_bytes=ring,
            stack_used_bytes=result.stack_used,
            scratch_bytes=sum(stage.scratch_bytes for stage in result.bundle.stages),
            weight_bytes=sum(stage.weight_bytes for stage in result.bundle.stages),
            part_flash_bytes=target.flash_bytes,
            part_ram_bytes=target.ram_bytes,
        ),
        **timeline.given(),
        power_uw_range=ends.power_uw,
        latency_ms_range=ends.latency_ms,
        raw_streaming=raw_streaming(case, components),
        r2=r2,
        budgets=tuple(evaluate(budgets, measured)),
        **behind,
        components=components.used(),
        unverified=tuple(components.unverified()),
    )


def _code_runs_from(target: Target, memory: MemoryUse, ring: int) -> str:
    if target.code_ram is None:
        return "flash"
    if memory.code_in_ram:
        return f"RAM: {memory.code_in_ram:,} bytes of kernels and driver, which start-up copies there"
    room = target.room_for_code(memory.data_in_ram + ring)
    return f"flash: kernels and driver do not fit the {room:,} bytes that {target.part} has left of the RAM that executes code"


def ranged_case(result: StreamResult, sensed: Sensed, delays: Delays, scenario: Scenario = DEFAULT) -> RangedCase:
    """What the implant has to do on the target, with the range of its cycles; arguments as those of :func:`stream_report`."""
    low, nominal, high = (workload(result, sensed, delays, bound) for bound in ("low", "cycles", "high"))
    return RangedCase(WorkloadRange(low, nominal, high), result.target, result.memory.ram + buffer_bytes(nominal), scenario)


def compared(lfp: RangedCase, result: StreamResult, spikes: RangedCase, components: Components) -> tuple[Comparison, ...]:
    """LFP against the spike stream that ``result`` is of, and against the same behind a detector circuit where that is a question.

    Nothing is compared where nobody knows how many electrodes one of them needs, or the part has no power figure.
    """
    if lfp.workload.nominal.electrodes is None or spikes.workload.nominal.electrodes is None:
        return ()
    others = {"spikes": spikes}
    if has_spike_frontend(result):
        others["spikes behind a detector circuit"] = behind_detector(result, spikes)
    found = (compare(lfp, other, name, components) for name, other in others.items())
    return tuple(comparison for comparison in found if comparison)


def has_spike_frontend(result: StreamResult) -> bool:
    """Whether the firmware finds the spikes itself: a circuit of its own could do that instead."""
    return result.bundle.stream == "spike" and result.bundle.frontend is not None


def behind_detector(result: StreamResult, case: RangedCase) -> RangedCase:
    """The same decoder where a circuit of its own detects spikes."""
    work = case.workload.behind_detector()
    return RangedCase(work, case.target, result.memory.ram + buffer_bytes(work.nominal), case.scenario)


def workload(result: StreamResult, sensed: Sensed, delays: Delays, bound: str = "cycles") -> Workload:
    """The implant's workload from counted cycles.

    Args:
        sensed: by the stream's electrodes.
        delays: by what the answer is late before anything is computed.
        bound: 'cycles', 'low' or 'high' of the core table's range.
    """
    per_step = {name: getattr(region.cycles, bound) for name, region in result.regions.items()}
    frontend = result.regions["frontend"]
    # The block that ends a bin is the longest.
    longest = getattr(frontend.visits.longest, bound) if frontend.visits else 0.0
    source = _source(result.bundle)
    electrodes = {"samples": result.tick_values, "detector": sensed.spike_electrodes, "features": None}
    return Workload(
        channels=result.tick_values,
        electrodes=electrodes[source],
        sample_rate_hz=sensed.rate_hz,
        bandwidth_hz=sensed.bandwidth_hz,
        ticks_per_bin=result.bundle.ticks_per_bin,
        blocks_per_bin=result.bundle.blocks_per_bin,
        bin_s=1.0 / result.bundle.decoder.rate_hz,
        frontend_cycles=per_step["frontend"],
        last_block_cycles=longest,
        decoder_cycles=per_step["decoder"] + per_step["send"],
        loop_cycles=per_step["loop"],
        output_bits=16 * result.output_values,
        source=source,
        delays=delays,
    )


def _source(bundle: Bundle) -> Literal["samples", "detector", "features"]:
    if bundle.frontend:
        return "samples"
    return "detector" if bundle.stream == "spike" else "features"


def _region(region: RegionStep, steps: int) -> RegionReport:
    visits = region.visits
    return RegionReport(
        cycles=region.cycles.cycles,
        cycles_low=region.cycles.low,
        cycles_high=region.cycles.high,
        stall_cycles=region.stalls.cycles,
        instructions=region.instructions,
        loaded_bytes=region.loaded_bytes,
        visits_per_step=visits.count / steps if visits else None,
        least_instructions_of_a_visit=visits.least_instructions if visits else None,
        most_instructions_of_a_visit=visits.most_instructions if visits else None,
        p50_cycles_of_a_visit=visits.p50.cycles if visits else None,
        p99_cycles_of_a_visit=visits.p99.cycles if visits else None,
        longest_visit_cycles=visits.longest.cycles if visits else None,
        longest_visit_cycles_high=visits.longest.high if visits else None,
    )


def _reset(result: StreamResult) -> ResetReport:
    visits, bins = result.regions["reset"].visits, result.bundle.warm_up_bins
    assert visits is not None  # the firmware starts once at least
    return ResetReport(
        count=visits.count - 1,
        cycles=visits.longest.cycles,
        cycles_range=(visits.longest.low, visits.longest.high),
        warm_up_bins=bins,
        warm_up_ms=None if bins is None else 1000 * bins / result.bundle.decoder.rate_hz,
    )
