"""What commands tell people of the summaries of their stages, line by line."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firmware_sim.ranges import Comparison
    from quantization.summaries import Settled
    from realm_edge.app.summaries import Baselines, Simulation, Verification

_MARKS = {"holds": "ok", "holds only nominally": "ONLY NOMINALLY", "broken": "BROKEN"}
SYNTHETIC = "synthetic recordings: no evidence about brains"


def compared(summary: "Baselines") -> Iterator[str]:
    """Of the baselines stage."""
    if summary.synthetic:
        yield SYNTHETIC
    for stream, decoders in summary.streams.items():
        for name, one in decoders.items():
            size = f"{one.weight_bytes:,} bytes of weights, {one.state_bytes:,} of state"
            yield f"{stream} {name:<8} R2 {one.r2_int8:.3f} (float {one.r2_float:.3f}), {one.macs:,} MAC per step, {size}"
            for target, cost in one.targets.items():
                differs = "" if cost.bit_exact else ": DIFFERS from onnxruntime"
                yield f"  {target:<12} {cost.cycles:,.0f} cycles per step{differs}"


def verdict(result: "Simulation") -> Iterator[str]:
    """Of one target's simulate stage."""
    for name, stream in result.streams.items():
        differs = "" if stream.bit_exact else ": DIFFERS from onnxruntime"
        low, high = stream.cycles_per_step_range
        counted = f"{stream.cycles_per_step:,.0f} cycles per step ({stream.core.label}, {low:,.0f} to {high:,.0f})"
        yield f"{name}: {stream.steps} steps, {counted}, {stream.fit_text}{differs}"
        if stream.frontend != "run":
            yield f"{name}: front end {stream.frontend}"
        if stream.code_runs_from != "flash":
            yield f"{name}: code runs from {stream.code_runs_from}"
    for found in result.comparisons:
        yield against(found)
    yield from budgets(result)


def budgets(result: "Simulation") -> Iterator[str]:
    """Of one target: a line for each budget of its LFP stream."""
    for row in result.budgets:
        value = "none" if row.value is None else f"{row.value:,.6g}"
        mark = _MARKS[row.state] + (", front end not included" if row.ok and row.decoder_only else f": {row.lever}" if row.lever else "")
        yield f"{row.name:<14} {value:>10} of {row.limit:,.6g} {row.unit}".ljust(46) + mark


def against(found: "Comparison") -> str:
    """LFP's power beside another's, over draws of all figures."""
    turns = " and ".join(f"{turn.figure} ({100 * turn.share:.0f} %)" for turn in found.turns)
    most = f"; turned most often by {turns}" if turns else "; no figure alone turns it"
    return f"lfp needs less power than {found.against} in {100 * found.probability:.1f} % of {found.draws:,} draws{most}"


def verified(summary: "Verification") -> Iterator[str]:
    """Of the verify stage."""
    if summary.synthetic:
        yield SYNTHETIC
    for name, stream in summary.streams.items():
        if stream.difference:
            yield f"{name}: DIFFERS: {stream.difference.line}"
            continue
        ladder, hostile, grown, reset = stream.ladder, stream.adversarial, stream.endurance, stream.reset
        assert ladder and hostile is not None and grown and reset  # they are there where nothing differs
        ticks = f" and {ladder.frontend_ticks:,} ticks of the front end" if ladder.frontend_ticks else ""
        over = f"{ladder.bins:,} decoder steps{ticks} ({ladder.passes:.2f} times the recording)"
        yield f"{name}: onnxruntime equals the reference over {over}"
        steps, ticks = f"{sum(row.bins for row in hostile):,}", f"{sum(row.frontend_ticks for row in hostile):,}"
        yield f"{name}: and over {len(hostile)} hostile inputs: {steps} steps, {ticks} ticks"
        first, last, most = (f"{100 * value:.2f} %" for value in (grown.first, grown.last, grown.most_growth * grown.first))
        mark = "ok" if grown.holds else "BROKEN: errors add up in a state: compare the tensors of calibration.json"
        yield f"{name}: int8 against float, {grown.seconds:g} s: {first} of the sd at the start, {last} at the end, of {most}: {mark}"
        for kind, rows in (("int8", reset.int8), ("float", reset.float)):
            texts = (f"{_settled(row)} to within {100 * row.within:g} %" for row in rows)
            yield f"{name}: {kind} after {len(reset.at_s)} resets: {', '.join(texts)}"


def _settled(row: "Settled") -> str:
    if row.median_bins is None:
        return "mostly longer than watched"
    longest = "longer than watched" if row.max_bins is None else f"{row.max_bins:g}, {row.max_s:.2f} s"
    return f"{row.median_bins:g} bins (at most {longest})"
