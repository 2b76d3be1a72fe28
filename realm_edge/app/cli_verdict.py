"""The command ``verdict``: which scenario needs least power, how surely, and what decides it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from realm_edge.app.cli_options import (
    AS_JSON,
    BUDGET,
    COMPONENTS,
    CONFIG,
    FILES,
    FRESH,
    MACHINE,
    NOMINAL,
    PATH,
    PRESET,
    RECORDINGS,
    SERIES,
    gathered,
    number,
    options,
    settings_of,
)
from realm_edge.app.cli_work import build_of, json_text, known, quantized, simulation_asked, try_emulators
from realm_edge.errors import UserError
from realm_edge.printable import printable

if TYPE_CHECKING:
    from realm_edge.app.stages.verdict import Asked
    from realm_edge.app.summaries import Simulation
    from realm_edge.app.verdict.form import Hint, Verdict
    from realm_edge.app.workflow import Workflow
    from realm_edge.sources import Recordings


@click.command(name="verdict", epilog="Example: realm-edge verdict --out runs/demo --target stm32u385 --channels 32,256")
@options(
    PRESET,
    CONFIG,
    RECORDINGS,
    SERIES,
    FILES,
    FRESH,
    click.option("--target", "targets", metavar="NAME", multiple=True, help="Target, repeatable (default: four parts); see `targets`."),
    click.option("--channels", "numbers", metavar="LIST", help="Numbers of channels beside the run's own (default: 32,96,256,1024)."),
    click.option(
        "--link", "links", metavar="NAME", multiple=True, help="Link of the map, beside each part's own; repeatable (default: four)."
    ),
    click.option("--scenario", "scenarios", type=PATH, multiple=True, help="TOML file of a scenario, repeatable, beside the product's."),
    click.option("--apply", "hint", metavar="HINT", help="Make a run in hints/ with the change that a hint names, and show its verdict."),
    BUDGET,
    COMPONENTS,
    NOMINAL,
    MACHINE,
    click.option("--out", type=PATH, help="Directory of the run (default: runs/ and the first recording's or the preset's name)."),
    AS_JSON,
)
@gathered
def verdict(
    preset: str | None,
    config: Path | None,
    recordings: "Recordings",
    fresh: bool,
    targets: tuple[str, ...],
    numbers: str | None,
    links: tuple[str, ...],
    scenarios: tuple[Path, ...],
    hint: str | None,
    budget: Path | None,
    components: Path | None,
    nominal: bool,
    device: str,
    precision: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Price every scenario of sensing, front end and link, and say which needs least power (status 1: none keeps its budget).

    Stages of the run that are missing are performed first. Spiking-band power and LFP at 200 Hz get decoders of their own beside it, from
    the same recordings; firmware is counted at each number of channels on each target. What is done already is not done again.
    """
    from realm_edge.app.stages.verdict import CHANNELS, LINKS, TARGETS, Asked, require_voltage

    asked = Asked(
        known(targets) or TARGETS, _numbers(numbers) or CHANNELS, tuple(dict.fromkeys(links)) or LINKS, scenarios, budget, components
    )
    asked.check()
    try_emulators(asked.targets)
    work = quantized(out, settings_of(preset, config), recordings, fresh, device, precision, see=require_voltage)
    found = _judged(work, asked, device, precision)
    if not as_json:
        _show(work, found, asked)
    if hint is not None:
        work = _applied(work, _chosen(found, hint), device, precision)
        found = _judged(work, asked, device, precision)
        if not as_json:
            click.echo(printable(f"with '{hint}':"))
            _show(work, found, asked)
    if as_json:
        click.echo(json_text(found))
    if not _holds(found, nominal):
        click.get_current_context().exit(1)


def _show(work: "Workflow", found: "Verdict", asked: "Asked") -> None:
    """The verdict, and the budgets of the run's own firmware, which its hints are about."""
    from realm_edge.app.cli_text import budgets
    from realm_edge.app.rundir import command
    from realm_edge.app.verdict.text import lines

    first = asked.targets[0]
    simulated: Simulation = work.run.summary(f"simulate.{first}")
    own = (f"{first:<12} {line}" for line in budgets(simulated))
    click.echo(
        "\n".join(map(printable, (*lines(found, command("verdict", work.run.path)), *own, f"page: {work.run.file('verdict.html')}")))
    )


def _numbers(text: str | None) -> tuple[int, ...]:
    from realm_edge.app.stages.verdict import MOST_CHANNELS

    wanted = f"whole numbers from 1 to {MOST_CHANNELS}, such as 32,256"
    found = tuple(number("--channels", each, int, wanted) for each in text.split(",")) if text is not None else ()
    for each in found:
        if not 1 <= each <= MOST_CHANNELS:
            raise UserError(f"--channels {each}: use {wanted}")
    return tuple(dict.fromkeys(found))


def _judged(work: "Workflow", asked: "Asked", device: str, precision: str) -> "Verdict":
    """The verdict on a run that is quantised."""
    from realm_edge.app.workflow import simulation_options

    first = asked.targets[0]
    request, given = simulation_asked(asked.budget, asked.components), simulation_options(asked.budget, asked.components)
    work.resume(f"compile.{first}", first, build_of(first))
    work.resume(f"simulate.{first}", first, asked.budget, asked.components, request=request, options=given)
    found: Verdict = work.resume("verdict", asked, device, precision, request=asked.request(), options=asked.options())
    return found


def _chosen(found: "Verdict", name: str) -> "Hint":
    for hint in found.hints:
        if hint.name == name:
            return hint
    offered = ", ".join(hint.name for hint in found.hints)
    raise UserError(f"--apply {name}: no such hint: " + (f"use one of {offered}" if offered else "the verdict gives none"))


def _applied(work: "Workflow", hint: "Hint", device: str, precision: str) -> "Workflow":
    """The hint's run, taken as far as quantize from the same recordings."""
    from realm_edge.app.verdict.beside import recordings_of
    from realm_edge.app.verdict.hints import apply

    settings, path = apply(work.run, hint)
    work.progress.say(f"hint '{hint.name}': {path}")
    return quantized(path, settings, recordings_of(work.run), False, device, precision)


def _holds(found: "Verdict", nominal: bool) -> bool:
    """Whether the run's own table has a winner, and its budget holds."""
    table = found.tables[0]
    state = next((row.state for row in table.rows if row.scenario == table.winner), None)
    return state == "holds" or (nominal and state is not None)
