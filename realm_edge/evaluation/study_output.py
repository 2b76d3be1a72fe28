"""A study as a Markdown table and as one plot."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from realm_edge.evaluation.decoders import PRETRAINED
from realm_edge.evaluation.forms import Interval, StudyRow, StudySummary, ValidatedRow
from realm_edge.evaluation.summary import SYNTHETIC
from realm_edge.evaluation.table import bound, brackets, counted, heading, line, look, r2_text
from realm_edge.pictures import STYLE, drawn, outside_legend

_APART = 5.0  # points between two decoders of one variant
_SCORES = {"r2": "R²", "validation_loss": "validation loss"}


def markdown(summary: StudySummary) -> str:
    """The question, the caption and one table a share of labels."""
    score, validation = summary.score, summary.score == "validation_loss"
    segmented = summary.segmented and not validation
    head = [
        "variant",
        "decoder",
        _SCORES[score],
        *(["R² with history"] if segmented else []),
        "difference to the first",
        *([] if validation else ["student minus this"]),
    ]
    head += ["parameters", "steps to best", "stopped early"]
    lines = [f"# {summary.question}", "", summary.caption, ""]
    for share in sorted({row.labels for row in summary.rows}):
        here = [row for row in summary.rows if row.labels == share]
        lines += [heading(share), "", counted(here), "", line(head), line(["---", "---", *["---:"] * (len(head) - 2)])]
        for row in summary.rows:
            if row.labels == share and getattr(row, score) is not None:
                gain = [_signed(row.student_gain, row.student_gain_interval)] if isinstance(row, StudyRow) else []
                steps = "–" if row.steps_to_best is None else f"{row.steps_to_best:.0f}"
                stopped = "–" if row.stopped_early is None else f"{100 * row.stopped_early:.0f} %"
                scored = [f"{getattr(row, score):.3f}{brackets(_interval(row, score), '.3f')}"]
                scored += [r2_text(row.r2_with_history)] if segmented and isinstance(row, StudyRow) else []
                change = _signed(row.change, row.change_interval)
                lines.append(line([row.variant, row.label, *scored, change, *gain, f"{row.parameters:,}", steps, stopped]))
        lines.append("")
    lines += [f"Settings {summary.settings[:12]}. Command: `{summary.command}`", ""]
    return "\n".join(lines)


def plot(summary: StudySummary) -> dict[str, bytes]:
    """The score against what is varied, one panel a share of labels: {"png": ..., "svg": ...}."""
    shares = sorted({row.labels for row in summary.rows})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.0 * len(shares) + 3.0, 4.4), layout="constrained")
        panels = figure.subplots(1, len(shares), sharey=True, squeeze=False)[0]
        for axis, share in zip(panels, shares, strict=True):
            _panel(axis, [row for row in summary.rows if row.labels == share], summary)
            axis.set_title(f"{100 * share:g} % of the training labels", fontsize=9)
        if summary.score == "r2":
            bound(panels[0])
        panels[0].set_ylabel(f"{_SCORES[summary.score]} (mean and 95 % interval)")
        outside_legend(figure)
        title = [summary.question, *([SYNTHETIC] if summary.synthetic else [])]
        figure.suptitle("\n".join(title), fontsize=9, x=0.01, ha="left")
        return drawn(figure)


def _panel(axis: Axes, rows: Sequence[StudyRow | ValidatedRow], summary: StudySummary) -> None:
    names = list(dict.fromkeys(row.variant for row in rows))
    score, placed = summary.score, [row.at for row in rows if row.at is not None]
    where = dict(zip((row.variant for row in rows), placed, strict=True)) if len(placed) == len(rows) else {}
    decoders = list(dict.fromkeys(row.decoder for row in summary.rows))
    for decoder in decoders:
        own = [row for row in rows if row.decoder == decoder and getattr(row, score) is not None]
        if not own:
            continue
        color, marker = look(decoder)
        at = [where[row.variant] if where else names.index(row.variant) for row in own]
        aside = ScaledTranslation((decoders.index(decoder) - (len(decoders) - 1) / 2) * _APART / 72, 0, axis.figure.dpi_scale_trans)
        beside = axis.transData + aside  # or decoders at one place would hide each other
        edge, fill = "black" if decoder.endswith(PRETRAINED) else color, "none" if decoder.startswith("spike_") else color
        style: dict[str, Any] = {"color": color, "linewidth": 1.0, "markersize": 5, "markerfacecolor": fill, "markeredgecolor": edge}
        (points,) = axis.plot(at, [getattr(row, score) for row in own], marker=marker, **style, label=own[0].label)
        points.set_transform(beside)  # afterwards: limits come from what is drawn in data units
        for x, row in zip(at, own, strict=True):
            if interval := _interval(row, score):
                axis.vlines(x, *interval, color=color, linewidth=1).set_transform(beside)
    axis.margins(x=0.15)  # room for those beside the first and the last place
    if summary.logarithmic:
        axis.set_xscale("log")
    if where:
        places = list(dict.fromkeys(where.values()))
        axis.set_xticks(places, [f"{place:g}" for place in places], minor=False)
        axis.set_xticks([], minor=True)
    else:
        axis.set_xticks(range(len(names)), names, rotation=20, ha="right", fontsize=7)
    axis.set_xlabel(summary.axis)


def _interval(row: StudyRow | ValidatedRow, score: str) -> Interval | None:
    return row.r2_interval if score == "r2" and isinstance(row, StudyRow) else None


def _signed(value: float | None, interval: Interval | None) -> str:
    return "–" if value is None else f"{value:+.3f}{brackets(interval, '+.3f')}"
