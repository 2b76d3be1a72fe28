"""One stream's section of ``simulation/<target>.json``: cost, memory, power, bandwidth, latency, accuracy, budgets."""

from dataclasses import asdict, replace
from typing import Any, Literal

from firmware_sim.budgets import Budget, Measured, evaluate
from firmware_sim.bundle import Bundle
from firmware_sim.components import Components
from firmware_sim.implant import Timeline, Workload, buffer_bytes, raw_streaming, run_timeline
from firmware_sim.simulate import RegionStep, StreamResult

FRONTENDS = {  # by a workload's source
    "samples": "run",
    "detector": "not run: spike counts come in from a circuit of their own",
    "units": "not run: sorted units come in from a circuit of their own, of how many electrodes the recording does not say (name their "
    "number with --spike-electrodes): power is that of decoder and radio alone",
    "features": "not included: the recording holds features; power, latency, flash, RAM and cycles are those of decoder and radio alone",
}


def stream_report(
    result: StreamResult,
    budgets: list[Budget],
    components: Components,
    r2_float: float,
    r2_int8: float,
    adc_rate_hz: float,
    output_delay_s: float = 0.0,
    resampling_s: float = 0.0,
    spike_electrodes: int | None = None,
) -> dict[str, Any]:
    """Everything that is reported of one stream on one target, as JSON.

    Args:
        r2_float, r2_int8: of the decoder on the held-out part (mean over the output's dimensions).
        adc_rate_hz: sensing rate of one channel; differs from the firmware's own rate where a circuit of its own detects spikes.
        output_delay_s: by which the decoder was trained to answer late.
        resampling_s: how far the resampled recording that it was trained on looks ahead.
        spike_electrodes: that sorted units come from; None: nobody knows.

    Raises:
        UserError: the component library lacks a figure of the target.
    """
    target, memory = result.target, result.memory
    late = output_delay_s, resampling_s
    work = workload(result, adc_rate_hz, late, spike_electrodes)
    ring = buffer_bytes(work)
    ram = memory.ram + ring
    timeline = run_timeline(work, target, components, ram)
    low_high = [
        run_timeline(workload(result, adc_rate_hz, late, spike_electrodes, bound), target, components, ram) for bound in ("low", "high")
    ]
    measured = Measured(
        timeline.power_uw,
        timeline.bandwidth_bps["decoded"],
        timeline.latency_ms,
        memory.flash,
        ram,
        r2_float,
        r2_int8,
        timeline.text,
        decoder_only=work.electrodes is None,
    )
    cycles, macs = result.cycles_per_step, result.macs_per_step
    step = result.regions["decoder"]
    decoder = step.cycles
    report: dict[str, Any] = {
        "stream": result.bundle.stream,
        "target": target.name,
        "part": target.part,
        "assumed": [f"{name} of {target.part}: {target.source_of(name)}" for name in target.assumed],
        "flash": asdict(target.flash),
        "core": {"name": result.core.name, "label": result.core.label, "validation": result.core.validation, "source": result.core.source},
        "emulator": result.emulator,
        "frontend": FRONTENDS["units" if work.source == "detector" and work.electrodes is None else work.source],
        "electrodes": work.electrodes,
        "steps": result.steps,
        "reset": _reset_json(result),
        "bit_exact": result.bit_exact,
        "mismatch": asdict(result.mismatch) if result.mismatch else None,
        "cycles_per_step": cycles.cycles,
        "cycles_per_step_range": [cycles.low, cycles.high],
        "stall_cycles_per_step": sum(result.regions[name].stalls.cycles for name in ("frontend", "decoder")),
        "regions": {name: _region_json(region, result.steps) for name, region in result.regions.items()},
        "macs_per_step": macs,
        "cycles_per_mac": decoder.cycles / macs if macs else None,  # of the decoder: a front end has no MAC as they are counted here
        "cycles_per_mac_range": [decoder.low / macs, decoder.high / macs] if macs else None,
        "instructions_per_mac": step.instructions / macs if macs else None,
        "loaded_bytes_per_mac": step.loaded_bytes / macs if macs else None,
        "kernels": [asdict(row) for row in result.kernels],
        "flash_bytes": memory.flash,
        "ram_bytes": ram,
        "state_bytes": result.state_bytes,
        "memory": {
            "sections": memory.sections,
            "adc_buffer_bytes": ring,
            "stack_used_bytes": result.stack_used,
            "scratch_bytes": sum(stage.scratch_bytes for stage in result.bundle.stages),
            "weight_bytes": sum(stage.weight_bytes for stage in result.bundle.stages),
            "part_flash_bytes": target.flash_bytes,
            "part_ram_bytes": target.ram_bytes,
        },
        **_timeline_json(timeline),
        "power_uw_range": [bound.power_uw["total"] for bound in low_high],
        "raw_streaming": raw_streaming(work, components),
        "r2": {"float": r2_float, "int8": r2_int8},
        "budgets": [row.as_json() for row in evaluate(budgets, measured)],
    }
    if result.bundle.stream == "spike" and result.bundle.frontend:
        # An MCU alone would flatter LFP: the same decoder behind a spike detector of its own.
        detector = _behind_detector(work)
        report["with_spike_detector"] = _timeline_json(run_timeline(detector, target, components, memory.ram + buffer_bytes(detector)))
    report["components"] = components.used()
    report["unverified"] = components.unverified()
    return report


def workload(
    result: StreamResult, adc_rate_hz: float, late: tuple[float, float], spike_electrodes: int | None = None, bound: str = "cycles"
) -> Workload:
    """The implant's workload from counted cycles.

    Args:
        late: output delay and look-ahead of the resampling, s.
        spike_electrodes: that sorted units come from; None: nobody knows.
        bound: 'cycles', 'low' or 'high' of the core table's range.
    """
    per_step = {name: getattr(region.cycles, bound) for name, region in result.regions.items()}
    frontend, ticks = result.regions["frontend"], result.bundle.ticks_per_bin
    tick_cycles = per_step["frontend"] / ticks
    # The tick that ends a bin is the longest.
    longest = getattr(frontend.visits.longest, bound) if frontend.visits else 0.0
    source = _source(result.bundle)
    electrodes = {"samples": result.tick_values, "detector": spike_electrodes, "features": None}
    return Workload(
        channels=result.tick_values,
        electrodes=electrodes[source],
        sample_rate_hz=adc_rate_hz,
        ticks_per_bin=ticks,
        bin_s=1.0 / result.bundle.decoder.rate_hz,
        tick_cycles=tick_cycles,
        last_tick_cycles=longest,
        decoder_cycles=per_step["decoder"] + per_step["send"],
        loop_cycles=per_step["loop"],
        output_bits=16 * result.output_values,
        source=source,
        output_delay_s=late[0],
        resampling_s=late[1],
    )


def _source(bundle: Bundle) -> Literal["samples", "detector", "features"]:
    if bundle.frontend:
        return "samples"
    return "detector" if bundle.stream == "spike" else "features"


def _behind_detector(work: Workload) -> Workload:
    return replace(work, ticks_per_bin=1, tick_cycles=0.0, last_tick_cycles=0.0, source="detector")


def _region_json(region: RegionStep, steps: int) -> dict[str, float | None]:
    visits = region.visits
    return {
        "cycles": region.cycles.cycles,
        "cycles_low": region.cycles.low,
        "cycles_high": region.cycles.high,
        "stall_cycles": region.stalls.cycles,
        "instructions": region.instructions,
        "loaded_bytes": region.loaded_bytes,
        "visits_per_step": visits.count / steps if visits else None,
        "least_instructions_of_a_visit": visits.least_instructions if visits else None,
        "most_instructions_of_a_visit": visits.most_instructions if visits else None,
        "p50_cycles_of_a_visit": visits.p50.cycles if visits else None,
        "p99_cycles_of_a_visit": visits.p99.cycles if visits else None,
        "longest_visit_cycles": visits.longest.cycles if visits else None,
        "longest_visit_cycles_high": visits.longest.high if visits else None,
    }


def _reset_json(result: StreamResult) -> dict[str, Any]:
    """How often the run started anew after a pause, what one reset costs, and after how many bins the decoder has settled."""
    visits, bins = result.regions["reset"].visits, result.bundle.warm_up_bins
    assert visits is not None  # the firmware starts once at least
    return {
        "count": visits.count - 1,
        "cycles": visits.longest.cycles,
        "cycles_range": [visits.longest.low, visits.longest.high],
        "warm_up_bins": bins,
        "warm_up_ms": None if bins is None else 1000 * bins / result.bundle.decoder.rate_hz,
    }


def _timeline_json(timeline: Timeline) -> dict[str, Any]:
    return {
        "fits": timeline.fits,
        "fit_text": timeline.text,
        "clock_hz": timeline.clock_hz,
        "required_clock_hz": timeline.required_clock_hz,
        "duty_cycle": timeline.duty_cycle,
        "wakeups_per_s": timeline.wakeups_per_s,
        "power_uw": timeline.power_uw,
        "bandwidth_bps": timeline.bandwidth_bps,
        "latency_ms": timeline.latency_ms,
    }
