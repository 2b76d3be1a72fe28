"""The command ``components``: the figures behind power and latency."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from realm_edge.app.cli_options import AS_JSON, PATH, options
from realm_edge.errors import UserError
from realm_edge.printable import printable

if TYPE_CHECKING:
    from firmware_sim.components import Figure


@click.command(name="components", epilog="Example: realm-edge components --filter radio --unit mW")
@options(
    click.option("--filter", "text", metavar="TEXT", help="Only figures with this in name, condition, source or confidence."),
    click.option("--unit", metavar="UNIT", help="Only figures that this unit measures too, and in it."),
    click.option("--check", type=PATH, help="TOML file of figures of your own: see that it is sound, and list what it holds."),
    AS_JSON,
)
def components_(text: str | None, unit: str | None, check: Path | None, as_json: bool) -> None:
    """List the figures behind power and latency with range, unit, source and confidence; --json adds their conditions."""
    from firmware_sim.components import load_components, read_figures

    figures = load_components().all() if check is None else tuple(read_figures(check).values())
    if text is not None:
        figures = tuple(each for each in figures if any(text.lower() in str(part).lower() for part in asdict(each).values()))
    if unit is not None:
        figures = _in_unit(figures, unit)
    if as_json:
        click.echo(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    for figure in figures:
        click.echo(printable(f"{figure.line()}; {figure.confidence}: {figure.source}"))


def _in_unit(figures: "tuple[Figure, ...]", unit: str) -> "tuple[Figure, ...]":
    from firmware_sim.units import check_unit

    try:
        check_unit(unit)
    except ValueError as error:
        raise UserError(f"--unit {unit}: {error}: use one such as mW or pJ/cycle") from None
    return tuple(moved for figure in figures if (moved := _converted(figure, unit)))


def _converted(figure: "Figure", unit: str) -> "Figure | None":
    from firmware_sim.units import factor

    try:
        times = factor(figure.unit, unit)
    except UserError:
        return None
    return replace(figure, value=figure.value * times, low=figure.low * times, high=figure.high * times, unit=unit)
