"""The plots of the report, as SVG text that needs nothing from outside."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from firmware_sim.implant import Timeline
from firmware_sim.simulate import KernelRow
from firmware_sim.stream_report import StreamReport
from quantization.summaries import QuantizedStream
from realm_edge.app.report.traces import Traces
from realm_edge.app.summaries import Simulation
from realm_edge.pictures import STYLE, plain_decades, svg_text

STREAM_NAMES = {"lfp": "LFP", "spike": "spikes"}
# Colours of Okabe and Ito: they differ for colour-blind readers too.
STREAM_COLORS = {"lfp": "#0072B2", "spike": "#D55E00"}
PART_COLORS = {
    **{"sensing": "#009E73", "pins": "#CC79A7", "mcu_active": "#0072B2", "mcu_sleep": "#56B4E9"},
    **{"supply": "#999999", "radio": "#E69F00"},
}
MEMORY_COLORS = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#999999", "#CC79A7")
TRACE_SECONDS = 20.0
KERNELS_SHOWN = 14

Simulations = Mapping[str, Simulation]  # by target


def traces(shown: Traces, names: Sequence[str], unit: str) -> str:
    """Decoded against true behaviour, one panel per axis, the first seconds of the test part."""
    window = shown.seconds <= shown.seconds[0] + TRACE_SECONDS
    with matplotlib.rc_context(STYLE):
        figure = _figure(1.0 + 1.5 * len(names))
        axes = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for dim, (axis, name) in enumerate(zip(axes, names, strict=True)):
            axis.plot(shown.seconds[window], shown.true[window, dim], color="black", linewidth=1.4, label="true")
            for stream, values in shown.decoded.items():
                label = f"decoded from {STREAM_NAMES[stream]} (int8)"
                axis.plot(shown.seconds[window], values[window, dim], color=STREAM_COLORS[stream], linewidth=1.1, label=label)
            axis.set_ylabel(f"{name}\n({unit})")
        axes[-1].set_xlabel("time in the recording (s)")
        _legend(figure, axes[0])
        return svg_text(figure)


def accuracy(scored: Mapping[str, QuantizedStream]) -> str:
    """R2 of the Wiener filter, the float and the int8 student, on the same held-out bins."""
    kinds = {"wiener": "Wiener (float)", "float": "student, float", "int8": "student, int8"}
    shades = {"wiener": "#999999", "float": "#56B4E9", "int8": "#0072B2"}
    with matplotlib.rc_context(STYLE):
        figure = _figure(2.8)
        axis = figure.subplots()
        for k, (kind, label) in enumerate(kinds.items()):
            values = [getattr(stream.r2, kind) for stream in scored.values()]
            bars = axis.bar(np.arange(len(values)) + 0.26 * (k - 1), values, 0.24, color=shades[kind], label=label)
            axis.bar_label(bars, fmt="{:.3f}", padding=2, fontsize=8)
        axis.axhline(0.0, color="black", linewidth=0.8)
        axis.set_xticks(range(len(scored)), [f"from {STREAM_NAMES[name]}" for name in scored])
        axis.set_ylabel("R² on held-out bins")
        axis.margins(y=0.15)
        axis.grid(axis="x", visible=False)
        _legend(figure, axis)
        return svg_text(figure)


def power(simulations: Simulations) -> str:
    """Mean power by part for every target: LFP, the spike baseline, and the baseline behind a spike detector of its own."""
    rows: list[tuple[str, Timeline]] = []
    for target, simulation in simulations.items():
        for name, stream in simulation.streams.items():
            rows.append((f"{target}\n{STREAM_NAMES[name]}", stream))
            if stream.with_spike_detector:
                rows.append((f"{target}\n{STREAM_NAMES[name]}, detector circuit", stream.with_spike_detector))
    with matplotlib.rc_context(STYLE):
        figure = _figure(0.9 + 0.45 * len(rows))
        axis = figure.subplots()
        left = np.zeros(len(rows))
        known = {part: color for part, color in PART_COLORS.items() if any(row.power_uw[part] is not None for _, row in rows)}
        for part, color in known.items():
            values = np.array([row.power_uw[part] or 0.0 for _, row in rows])
            axis.barh(range(len(rows)), values, left=left, color=color, height=0.62, label=part.replace("mcu_", "MCU "))
            left += values
        for y, (_, row) in enumerate(rows):
            total = row.power_uw["total"]
            if total is None:
                _beside(axis, left[y], y, row.fit_text, "#B00020")
            else:
                _beside(axis, left[y], y, f"{total:,.0f} µW", "black")
        axis.set_yticks(range(len(rows)), [label for label, _ in rows])
        axis.set_xlim(0, max(float(left.max()) * 1.2, 1.0))
        axis.set_xlabel("mean power (µW)")
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        _legend(figure, axis)
        return svg_text(figure)


def bandwidth(simulation: Simulation) -> str:
    """What the implant sends, against sending every sample; logarithmic."""
    rows: list[tuple[str, float, str]] = []
    for name, stream in simulation.streams.items():
        label, rates, color = STREAM_NAMES[name], stream.bandwidth_bps, STREAM_COLORS[name]
        if rates.raw is not None:  # a recording of features does not say
            rows.append((f"{label}: every sample", rates.raw, "#999999"))
        rows.append((f"{label}: decoded, on air", rates.decoded_on_air, color))
        rows.append((f"{label}: decoded, payload", rates.decoded, color))
    with matplotlib.rc_context(STYLE):
        figure = _figure(0.8 + 0.35 * len(rows))
        axis = figure.subplots()
        bars = axis.barh(range(len(rows)), [value for _, value, _ in rows], color=[color for _, _, color in rows], height=0.62)
        axis.bar_label(bars, [_bits(value) for _, value, _ in rows], padding=3, fontsize=8)
        axis.set_xscale("log")
        plain_decades(axis.xaxis)
        axis.set_xlim(min(value for _, value, _ in rows) / 3, max(value for _, value, _ in rows) * 8)
        axis.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # matplotlib's own is a formula, and STYLE reads none
        axis.set_xlabel("bandwidth (b/s, logarithmic)")
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        return svg_text(figure)


def cycles(simulations: Simulations) -> str:
    """The kernels of the LFP stream that take most cycles per step, one panel per target."""
    with matplotlib.rc_context(STYLE):
        rows = sum(min(len(one.streams["lfp"].kernels), KERNELS_SHOWN + 1) for one in simulations.values())
        figure = _figure(0.7 * len(simulations) + 0.24 * rows)
        panels = figure.subplots(len(simulations), 1, squeeze=False)[:, 0]
        for axis, (target, simulation) in zip(panels, simulations.items(), strict=True):
            _cycles_panel(axis, target, simulation.streams["lfp"])
        return svg_text(figure)


def _cycles_panel(axis: Axes, target: str, stream: StreamReport) -> None:
    kernels = sorted(stream.kernels, key=lambda row: -row.cycles)
    rows = [(_kernel_name(row), row.cycles) for row in kernels[:KERNELS_SHOWN]]
    rest = sum(row.cycles for row in kernels[KERNELS_SHOWN:])
    if rest:
        rows.append((f"{len(kernels) - KERNELS_SHOWN} others", rest))
    total = sum(row.cycles for row in kernels)
    bars = axis.barh(range(len(rows)), [value for _, value in rows], color=STREAM_COLORS["lfp"], height=0.7)
    axis.bar_label(bars, [f"{value:,.0f} ({value / total:.0%})" if total else "0" for _, value in rows], padding=3, fontsize=8)
    axis.set_yticks(range(len(rows)), [label for label, _ in rows])
    axis.set_title(f"{target} ({simulation_core(stream)}): {total:,.0f} cycles per step", loc="left", fontsize=9)
    ticks = "the front end's ticks and " if stream.frontend == "run" else ""
    axis.set_xlabel(f"cycles per step (one bin: {ticks}one decoder step)")
    axis.margins(x=0.18)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def simulation_core(stream: StreamReport) -> str:
    """Core and what its cycle table rests on, for captions."""
    return f"{stream.core.name}, {stream.core.label}"


def memory(simulations: Simulations) -> str:
    """Flash and RAM by part."""
    with matplotlib.rc_context(STYLE):
        rows = [(f"{target}\n{STREAM_NAMES[name]}", stream) for target, one in simulations.items() for name, stream in one.streams.items()]
        figure = _figure(1.2 + 0.9 * len(rows))
        flash_axis, ram_axis = figure.subplots(2, 1)
        _memory_panel(flash_axis, "flash", [(label, flash_map(stream), stream.memory.part_flash_bytes) for label, stream in rows])
        _memory_panel(ram_axis, "RAM", [(label, ram_map(stream), stream.memory.part_ram_bytes) for label, stream in rows])
        return svg_text(figure)


def flash_map(stream: StreamReport) -> dict[str, int]:
    """Bytes of flash by use; they add up to the sections that lie in flash."""
    sections, weights = stream.memory.sections, stream.memory.weight_bytes
    return {
        "weights": weights,
        "other constants": sections[".rodata"] - weights,
        "code": sections[".text"] + sections[".ram_text"] + sections[".vectors"],
        "data": sections[".data"],
    }


def ram_map(stream: StreamReport) -> dict[str, int]:
    """Bytes of RAM by use; they add up to ``ram_bytes``."""
    sections, state, scratch = stream.memory.sections, stream.state_bytes, stream.memory.scratch_bytes
    other = sections[".data"] + sections[".bss"] - state - scratch
    return {
        "decoder and filter state": state,
        "scratch": scratch,
        "input buffer": stream.memory.adc_buffer_bytes,
        "stack (reserved)": sections[".stack"],
        "other": other,
        "code": sections[".ram_text"],
    }


def _memory_panel(axis: Axes, name: str, rows: list[tuple[str, dict[str, int], int]]) -> None:
    left = np.zeros(len(rows))
    for color, use in zip(MEMORY_COLORS[: len(rows[0][1])], rows[0][1], strict=True):
        values = np.array([parts[use] for _, parts, _ in rows]) / 1024
        axis.barh(range(len(rows)), values, left=left, color=color, height=0.62, label=use)
        left += values
    for y, (_, parts, size) in enumerate(rows):
        used = sum(parts.values())
        _beside(axis, left[y], y, f"{used / 1024:.1f} of {size / 1024:,.0f} KiB ({used / size:.1%})", "black")
    axis.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axis.set_xlim(0, float(left.max()) * 1.3)
    axis.set_xlabel(f"{name} (KiB)")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, frameon=False, fontsize=8, borderaxespad=0.2)


def _beside(axis: Axes, end: float, y: int, text: str, color: str) -> None:
    axis.annotate(text, (end, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=color)


def _kernel_name(row: KernelRow) -> str:
    return f"{row.node} {row.op}" if row.node else f"{row.symbol} ({row.stage})"


def _bits(value: float) -> str:
    for limit, unit in ((1e6, "Mb/s"), (1e3, "kb/s")):
        if value >= limit:
            return f"{value / limit:,.2f} {unit}"
    return f"{value:,.0f} b/s"


def _figure(height: float) -> Figure:
    return Figure(figsize=(8.0, height), layout="constrained")


def _legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize=8)
