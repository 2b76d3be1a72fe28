"""The comparison as Markdown and as a plot of R2 against parameters."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from realm_edge.evaluation.decoders import DISTILLED, DOUBLED, PRETRAINED
from realm_edge.evaluation.forms import Evaluation, Interval, Labelled, Reached, ScoredRow, TrainedRow
from realm_edge.pictures import STYLE, drawn, outside_legend, plain_decades

LOWEST = -0.2  # R2 at the foot of the plot: of far worse decoders only the figure stands there
# Colours of Okabe and Ito, and Tol. Decoders from spikes are hollow, doubled ones large, those pretrained on other sessions have an edge.
_LOOKS = {
    "student": ("#0072B2", "o"),
    "student_half": ("#0072B2", "h"),
    "student_ridge": ("#0072B2", "X"),
    "unlabelled": ("#0072B2", "d"),
    "hindsight": ("#882255", "o"),
    "hindsight_safe": ("#AA4499", "h"),
    "hindsight_own": ("#882255", "x"),
    "restarted": ("#56B4E9", "x"),
    "supervised": ("#D55E00", "o"),
    "autoencoded": ("#F0E442", "o"),
    "scratch": ("#56B4E9", "o"),
    "gru": ("#009E73", "s"),
    "lstm": ("#E69F00", "D"),
    "transformer": ("#CC79A7", "^"),
    "kalman": ("#999999", "v"),
    "wiener": ("#000000", "P"),
    "teacher": ("#888888", "*"),
    "teacher_ridge": ("#BBBBBB", "*"),
}


def markdown(summary: Evaluation) -> str:
    """The caption and one table a share of labels."""
    axes = summary.target_names
    head = [
        "decoder",
        "R²",
        *(["R² with history"] if summary.segmented else []),
        *([f"R² {axis}" for axis in axes] if len(axes) > 1 else []),
        "Pearson r",
        "student minus this",
        "over test data",
    ]
    head += ["parameters", "MACs per step", "training s", "steps to best", "stopped early"]
    lines = ["# Comparison of decoders", "", summary.caption, ""]
    for share in sorted({row.labels for row in summary.rows}):
        here = [row for row in summary.rows if row.labels == share]
        lines += [heading(share), "", counted(here), "", line(head), line(["---", *["---:"] * (len(head) - 1)])]
        lines += [*(line(_cells(row, axes, summary.segmented)) for row in here), "", *_races(here)]
    lines += [f"Settings {summary.settings[:12]}. Command: `{summary.command}`", ""]
    return "\n".join(lines)


def heading(share: float) -> str:
    """Of the table of one share of labels."""
    return f"## {100 * share:g} % of the training labels"


def counted(rows: Sequence[TrainedRow]) -> str:
    """How much is labelled in all."""
    training, validation = (round(sum(getattr(row.labelled, part) for row in rows) / len(rows)) for part in Labelled.model_fields)
    share = 100 * validation / max(1, training + validation)
    return f"{training:,} labelled bins to train on and {validation:,} to validate on, which are {share:.0f} % of what is labelled."


def plot(summary: Evaluation) -> dict[str, bytes]:
    """R2 against parameters, logarithmic, one panel a share of labels: {"png": ..., "svg": ...}."""
    shares = sorted({row.labels for row in summary.rows})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.0 * len(shares) + 3.4, 5.0), layout="constrained")
        panels = figure.subplots(1, len(shares), sharey=True, squeeze=False)[0]
        for axis, share in zip(panels, shares, strict=True):
            _panel(axis, [row for row in summary.rows if row.labels == share])
            axis.set_title(f"{100 * share:g} % of the training labels", fontsize=9)
        bound(panels[0])
        panels[0].set_ylabel("R² on held-out bins (mean and 95 % interval)")
        outside_legend(figure)
        origin = "synthetic, no evidence about brains" if summary.synthetic else ", ".join(summary.sessions)
        figure.suptitle(f"R² against parameters: {origin}", fontsize=10, x=0.01, ha="left")
        return drawn(figure)


def bound(axis: Axes) -> None:
    """Keep R2 to what a plot of R2 is for, from :data:`LOWEST` to 1: an interval of two far apart may reach beyond.

    ``axis`` is one of those that share its limits, all of which are drawn: from here on none of them makes room for more.
    """
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, LOWEST), min(high, 1.0))


def look(decoder: str) -> tuple[str, str]:
    """Colour and marker of an arm."""
    return _LOOKS[decoder.removeprefix("spike_").removesuffix(DOUBLED).removesuffix(PRETRAINED)]


def _panel(axis: Axes, rows: Sequence[ScoredRow]) -> None:
    for row in rows:
        if row.chance:
            axis.axhline(row.r2, color="black", linewidth=0.8, linestyle=":", label=row.label)
            continue
        color, marker = look(row.decoder)
        fill = "none" if row.decoder.startswith("spike_") else color
        edge = "black" if row.decoder.endswith(PRETRAINED) else color
        size = 8 if row.decoder.endswith(DOUBLED) else 5
        looks: dict[str, Any] = {"color": color, "markerfacecolor": fill, "markeredgecolor": edge, "markersize": size}
        axis.plot(row.parameters, row.r2, marker, **looks, label=row.label)
        if row.r2 < LOWEST:
            axis.annotate(f"{row.r2:.2f}", (row.parameters, LOWEST), color=color, fontsize=6, rotation=90, ha="center", va="bottom")
        if row.r2_interval:
            axis.vlines(row.parameters, *row.r2_interval, color=color, linewidth=1)
    axis.set_xscale("log")
    plain_decades(axis.xaxis)
    axis.set_xlabel("parameters (logarithmic)")


def _cells(row: ScoredRow, axes: Sequence[str], segmented: bool) -> list[str]:
    gain = "–" if row.student_gain is None else f"{row.student_gain:+.3f}{brackets(row.student_gain_interval, '+.3f')}"
    seconds = f"{row.training_seconds:.1f}"
    if row.pretraining_seconds:
        seconds += f" + {row.pretraining_seconds:.1f} before"
    return [
        row.label,
        f"{row.r2:.3f}{brackets(row.r2_interval, '.3f')}",
        *([r2_text(row.r2_with_history)] if segmented else []),
        *([f"{row.r2_by_axis[axis]:.3f}" for axis in axes] if len(axes) > 1 else []),
        f"{row.r:.3f}",
        gain,
        brackets(row.student_gain_test_interval, "+.3f").strip() or "–",
        f"{row.parameters:,}",
        f"{row.macs_per_step:,}",
        seconds,
        "–" if row.steps_to_best is None else f"{row.steps_to_best:.0f}",
        "–" if row.stopped_early is None else f"{100 * row.stopped_early:.0f} %",
    ]


def _races(rows: Sequence[ScoredRow]) -> list[str]:
    """The student against every other decoder that is trained step by step, from the same labels."""
    raced = [(row, row.race) for row in rows if row.race]
    if not raced:
        return []
    student = next(row for row in rows if row.decoder == DISTILLED)
    head = ["decoder", "its best validation loss", "its steps to that", "the student's steps to that", "of its steps"]
    head += ["its steps to the student's best", "its pretraining", "repaid after"]
    lines = [
        "Steps (and seconds) of training on the decoded session until each is as good as the other at its best, on the validation part;",
        f"in brackets the cells in which it ever is. The student's pretraining took {_cost(student)}, once for all its cells a seed;",
        "it is repaid after as many decoded sessions as save the seconds that it took more than the other's (–: none are saved).",
        "",
        line(head),
        line(["---", *["---:"] * (len(head) - 1)]),
    ]
    for row, race in raced:
        ratio = "–" if race.ratio is None else f"{race.ratio:.2f}"
        own = f"{race.best.steps:.0f} ({race.best.seconds:.1f} s)"
        there, back = (_reached(side, race.cells) for side in (race.first, race.second))
        repaid = "–" if race.repaid_after is None else f"{race.repaid_after:.0f} sessions"
        lines.append(line([row.label, f"{race.best.validation_loss:.3f}", own, there, ratio, back, _cost(row), repaid]))
    return [*lines, ""]


def _reached(side: Reached, cells: int) -> str:
    if not side.reached:
        return f"never [0 of {cells}]"
    return f"{side.steps:.0f} ({side.seconds:.1f} s) [{side.reached} of {cells}]"


def _cost(row: ScoredRow) -> str:
    return f"{row.pretraining_steps:,} steps ({row.pretraining_seconds:.1f} s)" if row.pretraining_steps else "–"


def r2_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def brackets(interval: Interval | None, spec: str) -> str:
    return "" if interval is None else f" [{interval[0]:{spec}}, {interval[1]:{spec}}]"


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
