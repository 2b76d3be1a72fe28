"""The study of stability as a table and a plot: R2 against the days since training."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from realm_edge.evaluation.forms import ArrayResult, DayMean, DayScore, StabilityLine, StabilitySummary, Way
from realm_edge.evaluation.summary import SYNTHETIC, interval
from realm_edge.evaluation.table import brackets, line
from realm_edge.pictures import STYLE, drawn, outside_legend

LOWEST = -0.5  # of the plot; the table has all
_COLORS = {"LFP": "tab:blue", "spikes": "tab:orange"}
_QUESTION = "How well do decoders of one day decode later days?"


def summarise(results: Sequence[ArrayResult], refit_s: float, zscore_s: float, **about: str) -> StabilitySummary:
    """Means and 95 % t intervals over arrays, a line for each input, decoder, statistics and refit.

    Args:
        results: one an array.
        about: study, command and settings.
    """
    lines = []
    for way in dict.fromkeys(_way(row) for one in results for row in one.rows):
        own = [row for one in results for row in one.rows if _way(row) == way]
        days = []
        for day in sorted({row.day for row in own}):
            scores = [row.r2 for row in own if row.day == day]
            days.append(DayMean(day=day, r2=float(np.mean(scores)), r2_interval=interval(scores)))
        lines.append(StabilityLine(**way.given(), days=tuple(days)))
    arrays = tuple(sorted(one.seed for one in results))
    caption = (
        f"{SYNTHETIC} R² on the last part of each session, means over {len(arrays)} arrays (seeds {arrays[0]} to {arrays[-1]}) with 95 % t "
        "intervals over them. The same student from LFP features and from threshold crossings, trained with labels on the sessions "
        "before the training day (day 0) and on that day; weights, spike thresholds and standardisation stay as they were then. Running: "
        f"a causal z-score of time constant {zscore_s:.0f} s is the front end's last step. Refit: ridge from the student's representation "
        f"to the behaviour on the first {refit_s:g} s of the later day. How fast units are lost and electrodes age is an assumption of "
        "the generator, which decides what is seen here."
    )
    return StabilitySummary(**about, synthetic=True, question=_QUESTION, caption=caption, arrays=arrays, lines=tuple(lines))


def _way(row: DayScore) -> Way:
    return Way(**{name: getattr(row, name) for name in Way.model_fields})


def markdown(summary: StabilitySummary) -> str:
    """The caption and one table."""
    days = sorted({point.day for each in summary.lines for point in each.days})
    head = ["input", "decoder", "statistics", *(f"day {day:g}" for day in days)]
    lines = [f"# {summary.question}", "", summary.caption, "", line(head), line(["---"] * 3 + ["---:"] * len(days))]
    for each in summary.lines:
        scores = {point.day: f"{point.r2:.3f}{brackets(point.r2_interval, '.3f')}" for point in each.days}
        lines.append(line([each.input, each.decoder, _statistics(each), *(scores.get(day, "–") for day in days)]))
    return "\n".join([*lines, "", f"Settings {summary.settings[:12]}. Command: `{summary.command}`", ""])


def plot(summary: StabilitySummary) -> dict[str, bytes]:
    """R2 of the students against days, LFP and spikes: {"png": ..., "svg": ...}."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 4.2), layout="constrained")
        axis = figure.subplots()
        for each in summary.lines:
            if each.decoder != "student":
                continue
            marker, style = {"frozen": "o", "running": "s"}[each.statistics], "--" if each.refit else "-"
            look: dict[str, Any] = {
                "color": _COLORS[each.input],
                "marker": marker,
                "linestyle": style,
                "markersize": 4,
                "linewidth": 1.0,
            }
            look["markerfacecolor"] = _COLORS[each.input] if each.statistics == "running" else "none"
            days = [point.day for point in each.days]
            axis.plot(days, [point.r2 for point in each.days], **look, label=f"{each.input}, {_statistics(each)}")
        axis.set_ylim(bottom=max(LOWEST, axis.get_ylim()[0]), top=1.0)
        axis.axhline(0.0, color="black", linewidth=0.6)
        axis.set_xticks(sorted({point.day for each in summary.lines for point in each.days}))
        axis.set_xlabel("days since training")
        axis.set_ylabel("R² (mean over arrays)")
        outside_legend(figure)
        figure.suptitle(f"{summary.question}\n{SYNTHETIC}", fontsize=9, x=0.01, ha="left")
        return drawn(figure)


def _statistics(each: Way) -> str:
    return each.statistics + (", read-out refitted" if each.refit else "")
