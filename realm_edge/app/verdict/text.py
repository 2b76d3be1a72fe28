"""What the command line prints of a verdict. Light to import."""

from collections.abc import Iterator, Sequence

from firmware_sim.ranges import Turn
from firmware_sim.verdict.table import Row, Table, channels_text
from realm_edge.app.cli_text import SYNTHETIC
from realm_edge.app.numbers import format_ends, format_number
from realm_edge.app.verdict.form import Verdict
from realm_edge.shares import format_share

SIGNALS = {"lfp": "LFP", "lfp-200": "LFP 200 Hz", "sbp": "spiking-band power", "spike": "spikes"}


def lines(verdict: Verdict, command: str) -> Iterator[str]:
    """The answer, the scenarios of the first table, which it is about, a line for each other table, and the hints.

    Args:
        command: that gave the verdict, for a shell.
    """
    yield verdict.answer
    if verdict.synthetic:
        yield SYNTHETIC
    first, *others = verdict.tables
    yield from _scenarios(first)
    yield f"{deciding(first)}; {_turned(first.turns)}"
    if first.lfp_against_spikes is not None:
        yield f"LFP against spikes: {_turned(first.lfp_against_spikes.turns)}"
    yield from map(_short, others)
    for hint in verdict.hints:
        yield f"hint {hint.name}: {hint.text}: {command} --apply {hint.name}"
    yield verdict.context


def where(table: Table) -> str:
    """Channels, part and link of a table."""
    return f"{channels_text(table.channels)}, {table.part}, {table.link}"


def not_drawn(row: Row) -> str:
    """Why a scenario has no power; empty where it has one."""
    if row.power_uw is not None:
        return ""
    return row.why_not if row.fits else row.fit_text


def deciding(table: Table) -> str:
    """How often the winner needs less than every other scenario that counts."""
    if table.winner is None:
        return "no scenario counts"
    if table.probability is None:
        return "nothing else counts that it could be held against"
    return f"needs least in {format_share(table.probability)} of the draws"


def _scenarios(table: Table) -> Iterator[str]:
    width = max((len(row.scenario) for row in table.rows), default=0)
    for row in table.rows:
        mark = "*" if row.scenario == table.winner else " "
        yield f"{mark} {row.scenario:<{width}}  {_figures(row)}"
        if row.why_not and not not_drawn(row):
            yield f"  {'':<{width}}  does not count: {row.why_not}"


def _short(table: Table) -> str:
    won = next((row for row in table.rows if row.scenario == table.winner), None)
    if won is None:
        return table.sentence
    power = f"{format_number(won.power_uw)} uW ({format_ends(won.power_uw_range)})"
    behind = f", next {table.runner_up}" if table.runner_up else ""
    compared = table.lfp_against_spikes
    lfp = f"; LFP needs less than spikes in {format_share(compared.probability)}" if compared else ""
    return f"{where(table)}: {won.scenario} {power}, {deciding(table)}{behind}{lfp}"


def _turned(turns: Sequence[Turn]) -> str:
    named = " and ".join(f"{turn.figure} ({format_share(turn.share)})" for turn in turns)
    return f"turned most often by {named}" if named else "no figure alone turns it"


def _figures(row: Row) -> str:
    r2 = "no R2" if row.r2 is None else f"R2 {row.r2:.3f}"
    if row.power_uw is None:
        return f"{not_drawn(row)}, {r2}"
    latency = "" if row.latency_ms is None else f", {format_number(row.latency_ms)} ms"
    power = f"{format_number(row.power_uw)} uW ({format_ends(row.power_uw_range)}), budget {row.state}"
    return f"{power}, {r2}{latency}, {format_number(row.payload_bps)} b/s"
