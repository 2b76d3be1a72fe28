import warnings

import matplotlib
from matplotlib.figure import Figure

from realm_edge.pictures import STYLE, plain_decades, svg_text


def test_a_logarithmic_axis_has_numbers_where_formulas_are_not_read() -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure()
        axis = figure.subplots()
        axis.plot([0.1, 20000.0], [0.0, 1.0])
        axis.set_xscale("log")
        plain_decades(axis.xaxis)
        drawn = svg_text(figure)
    assert "mathdefault" not in drawn and drawn.startswith("<svg")
    assert all(f">{text}</text>" in drawn for text in ("0.1", "1", "1,000", "10,000"))


def test_letters_that_matplotlib_has_no_font_for_are_left_to_the_browser_without_a_word() -> None:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = Figure(layout="constrained")
        figure.subplots().set_title("信号")
        assert "信号" in svg_text(figure)
