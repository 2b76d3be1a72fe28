"""How all plots look, and what becomes of a figure."""

import io
import warnings
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "realm-edge",  # equal plots give equal bytes
    "text.parse_math": False,  # names come from files: a "$" in one is no formula
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
}
_UNDATED = {"Date": None, "Creator": None, "Format": None, "Type": None}  # of an SVG


def outside_legend(figure: Figure) -> None:
    """One legend for all panels, to their right."""
    handles = {label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False, fontsize=7)


def plain_decades(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis as numbers: by itself it writes formulas, which :data:`STYLE` leaves unread."""
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def svg_text(figure: Figure) -> str:
    """A figure as an ``<svg>`` element for a page."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the text stays text, for whose letters the browser has fonts
        figure.savefig(stream, format="svg", metadata=_UNDATED)
    text = stream.getvalue()
    return text[text.index("<svg") :]


def drawn(figure: Figure) -> dict[str, bytes]:
    """The files of a figure, without dates: {"png": ..., "svg": ...}."""
    files = {}
    for kind, metadata in (("png", {"Software": None}), ("svg", _UNDATED)):
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, dpi=150, metadata=metadata)
        files[kind] = stream.getvalue()
    return files
