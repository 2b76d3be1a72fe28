"""The page of a verdict: one HTML file that needs nothing from outside."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from markupsafe import Markup

from firmware_sim.verdict.table import Cell, Row, Table
from realm_edge.app.html_pages import render
from realm_edge.app.numbers import format_ends
from realm_edge.app.verdict import plots, text
from realm_edge.app.verdict.form import System, Verdict
from realm_edge.files import write_text
from realm_edge.shares import format_share

SHORT = {"lfp": "LFP", "lfp-200": "LFP 200", "sbp": "SBP", "spike": "spikes"}  # in a cell of the map
SURE = (0.5, 0.8, 0.95)  # shares of the draws from which a cell of the map is darker
STATES = {"holds": "good", "holds only nominally": "warn", "broken": "bad"}


@dataclass(frozen=True)
class View:
    """A table, its name within the page, and its chart; that is empty where nothing has a power figure."""

    id: str
    table: Table
    chart: Markup


@dataclass(frozen=True)
class MapOf:
    """The cells of one part: a row by number of channels, a column by link; None where nothing was asked."""

    target: str
    part: str
    links: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Cell | None, ...]], ...]


def write(verdict: Verdict, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: it cannot be written there.
    """
    write_text(path, page(verdict))


def page(verdict: Verdict) -> str:
    """The page as HTML."""
    views = tuple(_views(verdict))
    values = {
        "v": verdict,
        "views": views,
        "first": views[0] if views else None,
        "box": _box(verdict.tables[0]) if views else "fail",
        "maps": tuple(maps(verdict)),
        "table_ids": {(view.table.channels, view.table.target, view.table.link): view.id for view in views},
        "groups": groups(verdict.systems),
        "unverified": unverified(verdict.tables),
        "commands": {hint.name: shlex.join(("realm-edge", "verdict", "--out", ".", "--apply", hint.name)) for hint in verdict.hints},
        "changes": {hint.name: tomli_w.dumps(hint.changes) for hint in verdict.hints},
        "signals": text.SIGNALS,
        "short": SHORT,
        "colors": plots.COLORS,
        "sure": SURE,
        "states": STATES,
        "deciding": text.deciding,
        "not_drawn": text.not_drawn,
        "parts": parts,
        "sureness": sureness,
        "ends": format_ends,
        "share": format_share,
        "equals": equals,
        "where": text.where,
    }
    return render("verdict/verdict.html.j2", values)


def _views(verdict: Verdict) -> Iterator[View]:
    for number, table in enumerate(verdict.tables, 1):
        yield View(f"table-{number}", table, Markup(plots.power(table, verdict.budget_uw, verdict.synthetic)))


def maps(verdict: Verdict) -> Iterator[MapOf]:
    """The map, part by part, in the order of its cells."""
    named = {table.target: table.part for table in verdict.tables}
    cells = {(cell.target, cell.channels, cell.link): cell for cell in verdict.map}
    for target in dict.fromkeys(cell.target for cell in verdict.map):
        own = [cell for cell in verdict.map if cell.target == target]
        links, counts = tuple(dict.fromkeys(cell.link for cell in own)), sorted({cell.channels for cell in own})
        rows = tuple((count, tuple(cells.get((target, count, link)) for link in links)) for count in counts)
        yield MapOf(target, named.get(target, target), links, rows)


def sureness(cell: Cell) -> int:
    """How many of :data:`SURE` the probability reaches: 0 (least sure) to 3. A winner without rival is as sure as can be."""
    if cell.probability is None:
        return len(SURE)
    written = round(cell.probability, 2)  # the number that stands in the cell
    return sum(written >= least for least in SURE)


def equals(share: float | None) -> str:
    """A share behind its letter: "= 95 %", "> 99 %"."""
    text = format_share(share)
    return text if text[0] in "<>" else f"= {text}"


def groups(systems: Iterable[System]) -> dict[str, tuple[System, ...]]:
    """Published systems by what their figures cover, in the order of the first of each."""
    found: dict[str, tuple[System, ...]] = {}
    for system in systems:
        found[system.group] = (*found.get(system.group, ()), system)
    return found


def unverified(tables: Sequence[Table]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Figures that no source was read for: those behind the first table, and those behind others alone."""
    first = tuple(dict.fromkeys(tables[0].unverified)) if tables else ()
    rest = dict.fromkeys(line for table in tables[1:] for line in table.unverified)
    return first, tuple(line for line in rest if line not in first)


def parts(rows: Iterable[Row]) -> tuple[str, ...]:
    """Names of the parts of the power, those of any row, without their total."""
    return tuple(dict.fromkeys(name for row in rows for name in row.parts_uw if name != "total"))


def _box(table: Table) -> str:
    """How the box around the answer looks."""
    row = next((row for row in table.rows if row.scenario == table.winner), None)
    if row is None:
        return "fail"
    return "pass" if row.state == "holds" else "mind"
