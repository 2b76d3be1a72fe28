from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from firmware_sim.verdict.table import Row, Table
from realm_edge.app.verdict import plots
from realm_edge.evaluation.summary import SYNTHETIC
from tests.realm_edge.verdict.verdicts import BUDGET_UW, table


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws a table and gives its two panels, whose marks and lines can be measured."""
    monkeypatch.setattr(plots, "svg_text", lambda figure: figure)
    return lambda table, budget=BUDGET_UW, synthetic=True: plots.power(table, budget, synthetic).axes


@pytest.fixture
def many() -> Table:
    return table(96, "stm32u385", "ble-1m")


def priced(table: Table) -> list[Row]:
    return [row for row in table.rows if row.power_uw is not None]


def marks(axis: Axes) -> dict[float, Any]:
    """By line of the chart."""
    return {line.get_ydata()[0]: line for line in axis.lines if line.get_marker() not in ("", "None", None)}


def names(axis: Axes) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def test_scenarios_are_sorted_by_power_and_stand_where_their_power_is(panels: Any, many: Table) -> None:
    shuffled = many.model_copy(update={"rows": tuple(reversed(many.rows))})
    left, right = panels(shuffled)
    rows = sorted(priced(many), key=lambda row: row.power_uw or 0.0)
    assert [name.removesuffix(" ◂") for name in names(left)] == [row.scenario for row in rows]
    for axis, figure in ((left, "power_uw"), (right, "r2")):
        assert [float(marks(axis)[y].get_xdata()[0]) for y in range(len(rows))] == [getattr(row, figure) for row in rows]
    assert left.get_xscale() == "log" and left.get_ylim()[0] > left.get_ylim()[1]


def test_what_has_no_power_figure_is_in_no_chart(panels: Any, many: Table) -> None:
    left, _ = panels(many)
    assert len(marks(left)) == len(priced(many)) < len(many.rows)
    assert plots.power(table(32, "rv32imc", "ble-1m"), BUDGET_UW, True) == ""


def test_ranges_run_from_end_to_end_and_are_dotted_where_nothing_fits_at_the_worse_one(panels: Any, many: Table) -> None:
    left, _ = panels(many)
    lines = {line.get_ydata()[0]: line for line in left.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2.2}
    rows = sorted(priced(many), key=lambda row: row.power_uw or 0.0)
    assert any(row.power_uw_range[1] is None for row in rows)
    for y, row in enumerate(rows):
        low, high = row.power_uw_range
        end = left.get_xlim()[1] if high is None else high
        assert tuple(lines[y].get_xdata()) == (low, end)
        assert lines[y].get_linestyle() == (":" if high is None else "-")
    told = [each.get_text() for each in left.texts]
    assert sum("or does not fit" in text for text in told) == sum(row.power_uw_range[1] is None for row in rows)


def test_the_budget_is_a_line_with_its_number_in_the_legend(panels: Any, many: Table) -> None:
    left, _ = panels(many, budget=5000.0)
    assert [5000.0, 5000.0] in [list(line.get_xdata()) for line in left.lines if line.get_linestyle() == "--"]
    assert left.get_xlim()[0] < 5000.0 < left.get_xlim()[1]
    assert "budget, 5,000 µW" in [text.get_text() for text in left.figure.legends[0].get_texts()]


def test_colour_and_shape_say_the_signal_and_hollow_marks_do_not_count(panels: Any, many: Table) -> None:
    left, right = panels(many)
    rows = sorted(priced(many), key=lambda row: row.power_uw or 0.0)
    assert {row.eligible for row in rows} == {True, False}
    for axis in (left, right):
        for y, row in enumerate(rows):
            mark = marks(axis)[y]
            assert mark.get_color() == plots.COLORS[row.signal] and mark.get_marker() == plots.SHAPES[row.signal]
            assert (to_rgba(mark.get_markerfacecolor()) == to_rgba("white")) != row.eligible
    assert len(set(plots.COLORS.values())) == len(set(plots.SHAPES.values())) == 4


def test_the_winner_is_marked_and_long_names_are_cut(panels: Any, many: Table) -> None:
    first, *others = many.rows
    long = first.model_copy(update={"scenario": "x" * 80})
    left, _ = panels(many.model_copy(update={"rows": (long, *others), "winner": long.scenario}))
    assert names(left)[0] == "x" * (plots.LONGEST_NAME - 1) + "… ◂"
    assert [label.get_fontweight() for label in left.get_yticklabels()][:2] == ["bold", "normal"]


def test_a_scenario_without_a_decoder_has_no_mark_of_accuracy(panels: Any) -> None:
    many = table(1024, "stm32u385", "uwb")
    left, right = panels(many)
    without = [row for row in priced(many) if row.r2 is None]
    assert without and len(marks(right)) == len(marks(left)) - len(without)
    assert [text.get_text() for text in right.texts].count("none") == len(without)


@pytest.mark.parametrize(("r2", "stands"), [(-0.7, -0.7), (-40.0, plots.LOWEST)])
def test_a_decoder_that_is_worse_than_none_is_within_the_panel(panels: Any, many: Table, r2: float, stands: float) -> None:
    rows = (many.rows[0].model_copy(update={"r2": r2}), *many.rows[1:])
    _, right = panels(many.model_copy(update={"rows": rows}))
    assert right.get_xlim()[0] < marks(right)[0].get_xdata()[0] == stands
    assert right.texts[0].get_text() == f"{r2:.2f}"


def test_synthetic_is_within_the_picture(many: Table) -> None:
    assert f">{SYNTHETIC}</text>" in plots.power(many, BUDGET_UW, True)
    assert "ynthetic" not in plots.power(many, BUDGET_UW, False)


def test_a_budget_of_nothing_has_no_line(panels: Any, many: Table) -> None:
    free = many.rows[0].model_copy(update={"power_uw": 0.0, "power_uw_range": (0.0, 0.0)})
    for rows in ((free,), many.rows):
        left, _ = panels(many.model_copy(update={"rows": rows}), budget=0.0)
        assert not [line for line in left.lines if line.get_linestyle() == "--"]


def test_ties_are_drawn(panels: Any, many: Table) -> None:
    tied = tuple(row.model_copy(update={"power_uw": 500, "power_uw_range": (500, 500)}) for row in many.rows[:3])
    left, _ = panels(many.model_copy(update={"rows": tied}), budget=500.0)
    assert [mark.get_xdata()[0] for mark in marks(left).values()] == [500, 500, 500]
    assert left.get_xlim()[0] < 500 < left.get_xlim()[1]
