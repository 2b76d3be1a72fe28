"""The plot of a verification: the error of int8 against time."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from realm_edge.app.report.plots import STREAM_COLORS, STREAM_NAMES
from realm_edge.app.summaries import Verification
from realm_edge.evaluation.summary import SYNTHETIC
from realm_edge.pictures import STYLE, drawn, outside_legend


def endurance(verification: Verification) -> dict[str, bytes]:
    """Error of each window, and the bound that the last minute is held against: {"png": ..., "svg": ...}."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 3.0), layout="constrained")
        axis = figure.subplots()
        for name, stream in verification.streams.items():
            grown = stream.endurance
            if grown is None:
                continue
            seconds, color = grown.warm_up_s + grown.window_s * (np.arange(len(grown.errors)) + 0.5), STREAM_COLORS[name]
            axis.plot(seconds, 100 * np.array(grown.errors), color=color, linewidth=1.1, marker=".", label=STREAM_NAMES[name])
            most, end = 100 * grown.most_growth * grown.first, grown.seconds
            axis.hlines(most, end - grown.compared_s, end, color=color, linestyle="--", label=f"{STREAM_NAMES[name]}: most at the end")
        axis.set_ylim(bottom=0)
        axis.set_xlabel("time since the zero state (s)")
        axis.set_ylabel("int8 against float,\n% of the output's sd")
        if verification.synthetic:
            axis.set_title(SYNTHETIC, loc="left", fontsize=9)
        if axis.get_legend_handles_labels()[0]:
            outside_legend(figure)
        return drawn(figure)


def endurance_svg(verification: Verification) -> str:
    """The same as SVG text for a page."""
    text = endurance(verification)["svg"].decode()
    return text[text.index("<svg") :]
