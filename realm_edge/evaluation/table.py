"""The comparison as Markdown and as a plot of R2 against parameters."""

import io
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from realm_edge.evaluation.decoders import DOUBLED
from realm_edge.report.plots import STYLE

LOWEST = -0.2  # R2 at the foot of the plot: far worse decoders are named in the legend
# Colours of Okabe and Ito. Decoders from spikes are hollow, doubled ones large.
_LOOKS = {
    "student": ("#0072B2", "o"),
    "scratch": ("#56B4E9", "o"),
    "gru": ("#009E73", "s"),
    "lstm": ("#E69F00", "D"),
    "transformer": ("#CC79A7", "^"),
    "kalman": ("#999999", "v"),
    "wiener": ("#000000", "P"),
}


def markdown(summary: dict[str, Any]) -> str:
    """The caption and one table a share of labels."""
    axes = summary["target_names"]
    head = [
        "decoder",
        "R²",
        *([f"R² {axis}" for axis in axes] if len(axes) > 1 else []),
        "Pearson r",
        "student minus this",
        "over test data",
    ]
    head += ["parameters", "MACs a step", "training s", "steps to best"]
    lines = ["# Comparison of decoders", "", summary["caption"], ""]
    for share in sorted({row["labels"] for row in summary["rows"]}):
        lines += [f"## {100 * share:g} % of the labels", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
        lines += [_line(_cells(row, axes)) for row in summary["rows"] if row["labels"] == share]
        lines.append("")
    lines += [f"Settings {summary['settings'][:12]}. Command: `{summary['command']}`", ""]
    return "\n".join(lines)


def plot(summary: dict[str, Any]) -> dict[str, bytes]:
    """R2 against parameters, logarithmic, one panel a share of labels: {"png": ..., "svg": ...}."""
    shares = sorted({row["labels"] for row in summary["rows"]})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8 * len(shares) + 0.6, 5.0), layout="constrained")
        panels = figure.subplots(1, len(shares), sharey=True, squeeze=False)[0]
        for axis, share in zip(panels, shares, strict=True):
            _panel(axis, [row for row in summary["rows"] if row["labels"] == share])
            axis.set_title(f"{100 * share:g} % of the labels", fontsize=9)
        panels[0].set_ylabel("R² on held-out bins (mean and 95 % interval)")
        origin = "synthetic, no evidence about brains" if summary["synthetic"] else ", ".join(summary["sessions"])
        figure.suptitle(f"R² against parameters: {origin}", fontsize=10)
        return {kind: _drawn(figure, kind) for kind in ("png", "svg")}


def _panel(axis: Axes, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["chance"]:
            axis.axhline(row["r2"], color="black", linewidth=0.8, linestyle=":", label=row["label"])
            continue
        color, marker = _LOOKS[row["decoder"].removeprefix("spike_").removesuffix(DOUBLED)]
        fill = "none" if row["decoder"].startswith("spike_") else color
        size = 8 if row["decoder"].endswith(DOUBLED) else 5
        below = f" (R² {row['r2']:.2f}, below the axis)" if row["r2"] < LOWEST else ""
        axis.plot(row["parameters"], row["r2"], marker, color=color, markerfacecolor=fill, markersize=size, label=row["label"] + below)
        if row["r2_interval"]:
            axis.vlines(row["parameters"], *row["r2_interval"], color=color, linewidth=1)
    axis.set_xscale("log")
    if axis.get_ylim()[0] < LOWEST:
        axis.set_ylim(bottom=LOWEST)
    axis.set_xlabel("parameters (logarithmic)")
    axis.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(0, -0.15), ncols=2)


def _cells(row: dict[str, Any], axes: list[str]) -> list[str]:
    gain = "–" if row["student_gain"] is None else f"{row['student_gain']:+.3f}{_brackets(row['student_gain_interval'], '+.3f')}"
    seconds = f"{row['training_seconds']:.1f}"
    if row["pretraining_seconds"]:
        seconds += f" + {row['pretraining_seconds']:.1f} before"
    return [
        row["label"],
        f"{row['r2']:.3f}{_brackets(row['r2_interval'], '.3f')}",
        *([f"{row['r2_by_axis'][axis]:.3f}" for axis in axes] if len(axes) > 1 else []),
        f"{row['r']:.3f}",
        gain,
        _brackets(row["student_gain_test_interval"], "+.3f").strip() or "–",
        f"{row['parameters']:,}",
        f"{row['macs_per_step']:,}",
        seconds,
        "–" if row["steps_to_best"] is None else f"{row['steps_to_best']:.0f}",
    ]


def _brackets(interval: list[float] | None, spec: str) -> str:
    return "" if interval is None else f" [{interval[0]:{spec}}, {interval[1]:{spec}}]"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _drawn(figure: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
    return stream.getvalue()
