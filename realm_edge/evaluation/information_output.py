"""The study of information as tables, sentences and one plot."""

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from realm_edge.evaluation.forms import InformationSummary, InputInformation, SessionInformation, Told
from realm_edge.evaluation.summary import SYNTHETIC
from realm_edge.evaluation.table import line
from realm_edge.pictures import STYLE, drawn, outside_legend

LOWEST = -0.1  # of the plot; the tables have all
_SHOWN = (1, 4, 16)  # numbers of components in the table, beside all
_MOST_NAMED = 8  # lines that the legend can name
_COLORS = {"LFP": ("#0072B2", "#56B4E9", "#009E73", "#000000"), "spikes": ("#D55E00", "#E69F00", "#CC79A7", "#999999")}  # Okabe and Ito
_QUESTION = "What can masked autoencoding learn from these recordings?"


def summarise(found: Sequence[SessionInformation], caption: str, **about: str) -> InformationSummary:
    """``about``: study, command and settings."""
    synthetic = any(one.synthetic for one in found)
    return InformationSummary(
        **about,
        synthetic=synthetic,
        question=_QUESTION,
        caption=f"{SYNTHETIC} {caption}" if synthetic else caption,
        sentences=tuple(f"{_label(session, one)}: {one.verdict} ({_reason(one)})." for session, one in _each(found)),
        sessions=tuple(found),
    )


def _reason(one: InputInformation) -> str:
    told = f"R² of masked bins {_r2(one.masked)}; of the target {_r2(one.target_from_bin)} from a bin, "
    return told + f"{_r2(one.target_from_prediction)} from what is told of it"


def markdown(summary: InformationSummary) -> str:
    """A sentence a session and input, the caption and two tables."""
    rows = list(_each(summary.sessions))
    distances = list(dict.fromkeys(_distance(at.nearest, at.farthest) for _, one in rows for at in one.by_distance))
    away = [f"{each} away" for each in distances]
    head = ["session", "input", "inputs", "masked bin", *away, "other channels", "target", "from prediction", "kept"]
    lines = [f"# {summary.question}", "", *(f"- {sentence}" for sentence in summary.sentences), "", summary.caption, ""]
    lines += [line(head), line(["---", "---", *["---:"] * (len(head) - 2)])]
    for session, one in rows:
        at = {_distance(each.nearest, each.farthest): _r2(each) for each in one.by_distance}
        others = "–" if one.other_channels is None else _chanced(one.other_channels)
        kept = "–" if one.kept is None else f"{100 * one.kept:.0f} %"
        cells = [session.session, one.input, str(one.inputs), _chanced(one.masked), *(at.get(each, "–") for each in distances), others]
        lines.append(line([*cells, _chanced(one.target_from_bin), _chanced(one.target_from_prediction), kept]))
    lines += ["", "Principal components: share of the variance that the first ones hold, and R² of the target from them.", ""]
    lines += [line(["session", "input", *(f"first {k}" for k in _SHOWN), "all"]), line(["---", "---", *["---:"] * (len(_SHOWN) + 1)])]
    for session, one in rows:
        *first, every = one.components
        held = {each.components: f"{100 * each.variance:.0f} %, {each.r2:.3f}" for each in first}
        last = f"{every.components}: {every.r2:.3f} ({_number(one.target.chance)})"
        lines.append(line([session.session, one.input, *(held.get(k, "–") for k in _SHOWN), last]))
    return "\n".join([*lines, "", f"Settings {summary.settings[:12]}. Command: `{summary.command}`", ""])


def plot(summary: InformationSummary) -> dict[str, bytes]:
    """Masked bins by distance, the target by components, and the target from bins and from predictions: {"png": ..., "svg": ...}."""
    rows = list(_each(summary.sessions))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 4.4), layout="constrained")
        distance, components, target = figure.subplots(1, 3)
        seen: dict[str, int] = {}
        for session, one in rows:
            color = _COLORS[one.input][seen.setdefault(one.input, 0) % len(_COLORS[one.input])]
            seen[one.input] += 1
            name = _label(session, one) if len(rows) <= _MOST_NAMED else one.input
            style: dict[str, Any] = {"color": color, "marker": "o" if one.input == "LFP" else "s", "markersize": 4, "linewidth": 1.0}
            _lines(distance, components, one, style, name)
            if one.target_from_bin.r2 is not None and one.target_from_prediction.r2 is not None:
                target.plot(one.target_from_bin.r2, one.target_from_prediction.r2, **style | {"linestyle": "none"})
        distance.set_xlabel("bins to the nearest visible one")
        distance.set_ylabel("R² of a masked bin (dotted: chance)")
        components.set_xscale("log", base=2)
        components.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        components.set_xlabel("leading principal components")
        components.set_ylabel("R² of the target (dashed: share of the variance)")
        target.set_xlabel("R² of the target from the bin itself")
        target.set_ylabel("the same from a masked bin's prediction")
        target.set_xlim(LOWEST, 1.0)
        target.axline((0.0, 0.0), slope=1.0, color="#999999", linewidth=0.6)
        for axis in (distance, components, target):
            axis.set_ylim(LOWEST, 1.0)
            axis.axhline(0.0, color="black", linewidth=0.6)
        outside_legend(figure)
        title = [summary.question, *([SYNTHETIC] if summary.synthetic else [])]
        figure.suptitle("\n".join(title), fontsize=9, x=0.01, ha="left")
        return drawn(figure)


def _lines(distance: Axes, components: Axes, one: InputInformation, style: dict[str, Any], name: str) -> None:
    places = [_distance(each.nearest, each.farthest) for each in one.by_distance]
    scores, chances = ([getattr(each, field) for each in one.by_distance] for field in ("r2", "chance"))
    distance.plot(places, scores, **style, label=name)
    distance.plot(places, chances, color=style["color"], linestyle=":", linewidth=0.8)
    k = [each.components for each in one.components]
    components.plot(k, [each.r2 for each in one.components], **style)
    components.plot(k, [each.variance for each in one.components], color=style["color"], linestyle="--", linewidth=0.8)


def _each(sessions: Sequence[SessionInformation]) -> Iterator[tuple[SessionInformation, InputInformation]]:
    return ((session, one) for session in sessions for one in session.inputs)


def _label(session: SessionInformation, one: InputInformation) -> str:
    return f"{session.session}, {one.input}"


def _distance(nearest: int, farthest: int | None) -> str:
    if farthest is None:
        return f"{nearest} or more"
    return f"{nearest}" if nearest == farthest else f"{nearest} to {farthest}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _r2(told: Told) -> str:
    return _number(told.r2)


def _chanced(told: Told) -> str:
    return f"{_number(told.r2)} ({_number(told.chance)})"
