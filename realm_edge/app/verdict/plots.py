"""The chart of a table: what each scenario draws, with its range, against the budget; and how well it decodes."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from firmware_sim.verdict.table import Row, Table
from realm_edge.app.numbers import format_number
from realm_edge.app.verdict.text import SIGNALS
from realm_edge.evaluation.summary import SYNTHETIC
from realm_edge.pictures import STYLE, plain_decades, svg_text

# Colours of Okabe and Ito, and a shape each: signals differ for colour-blind readers and on grey paper, too.
COLORS = {"lfp": "#0072B2", "lfp-200": "#56B4E9", "sbp": "#009E73", "spike": "#D55E00"}
SHAPES = {"lfp": "o", "lfp-200": "s", "sbp": "^", "spike": "D"}
LONGEST_NAME = 34  # of a scenario, beside its line
LOWEST = -1.0  # of R² in the picture: what is worse stands there, with its number
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # behind a number that crosses the budget's line
WIDTH, ROW, REST = 7.2, 0.175, 1.0  # inches: the chart, a scenario, and title, legend and axis


def power(table: Table, budget_uw: float, synthetic: bool) -> str:
    """An SVG with the scenarios that have a power figure, least first, on a logarithmic axis; empty where none has."""
    rows = sorted((row for row in table.rows if row.power_uw is not None), key=lambda row: row.power_uw or 0.0)
    if not rows:
        return ""
    # Names of parts of one chart are no names of another's on the same page.
    salt = f"{STYLE['svg.hashsalt']} {table.channels} {table.target} {table.link}"
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": salt, "font.size": 8}):
        figure = Figure(figsize=(WIDTH, REST + ROW * len(rows)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(4.2, 1))
        _power_panel(left, rows, table.winner, budget_uw)
        _accuracy_panel(right, rows)
        if synthetic:
            left.set_title(SYNTHETIC, loc="left", fontsize=8, fontweight="bold")
        signals = [signal for signal in SIGNALS if any(row.signal == signal for row in rows)]
        handles = [Line2D([], [], color=COLORS[each], marker=SHAPES[each], markersize=5, label=SIGNALS[each]) for each in signals]
        handles.append(Line2D([], [], color="black", linestyle="--", linewidth=1, label=f"budget, {format_number(budget_uw)} µW"))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=7.5, handlelength=1.6)
        return svg_text(figure)


def _power_panel(axis: Axes, rows: Sequence[Row], winner: str | None, budget_uw: float) -> None:
    known = [value for row in rows for value in (row.power_uw, *row.power_uw_range) if value] or [1.0]
    least, most = min(*known, budget_uw or known[0]), max(*known, budget_uw)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if most < 1000 * least else (1.0,)))
    plain_decades(axis.xaxis)
    axis.set_xlim(least / 1.5, most * (most / least) ** 0.22 * 2)  # the numbers lie to the right of the ranges
    if budget_uw > 0:
        axis.axvline(budget_uw, color="black", linestyle="--", linewidth=1)
    for y, row in enumerate(rows):
        color = COLORS[row.signal]
        low, high = row.power_uw_range
        value = row.power_uw or 0.0
        beyond = high is None  # at its worse end it does not fit: the range has no end
        end = axis.get_xlim()[1] if high is None else high
        axis.plot([value if low is None else low, end], [y, y], color=color, linewidth=2.2, alpha=0.55, linestyle=":" if beyond else "-")
        axis.plot(value, y, **_mark(row))
        text = f"{format_number(value)}, or does not fit" if beyond else format_number(value)
        axis.annotate(text, (value if beyond else end, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=7, bbox=_PAPER)
    axis.set_yticks(range(len(rows)), [_name(row, winner) for row in rows])
    for label, row in zip(axis.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.scenario == winner else "normal")
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel("mean power (µW)")
    axis.grid(axis="y", visible=False)


def _accuracy_panel(axis: Axes, rows: Sequence[Row]) -> None:
    known = [row.r2 for row in rows if row.r2 is not None]
    axis.set_xlim(max(LOWEST, min((0.0, *known))) - 0.08, 1.45)
    axis.set_xticks([0.0, 0.5, 1.0])
    for y, row in enumerate(rows):
        if row.r2 is None:
            axis.text(0.0, y, "none", va="center", fontsize=7, color="#57606a")
            continue
        at = max(row.r2, LOWEST)
        axis.plot(at, y, **_mark(row))
        axis.annotate(f"{row.r2:.2f}", (at, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=7)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("R² of int8")
    axis.grid(axis="y", visible=False)


def _mark(row: Row) -> dict[str, Any]:
    """Hollow where the scenario does not count."""
    color = COLORS[row.signal]
    return {"marker": SHAPES[row.signal], "markersize": 5, "color": color, "markerfacecolor": color if row.eligible else "white"}


def _name(row: Row, winner: str | None) -> str:
    name = row.scenario if len(row.scenario) <= LONGEST_NAME else f"{row.scenario[: LONGEST_NAME - 1]}…"
    return f"{name} ◂" if row.scenario == winner else name
