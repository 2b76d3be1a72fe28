"""The validation as a table on the terminal."""

import sys
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(result: dict[str, Any]) -> None:
    """Every row of every core, then the worst of each."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for core, one in result["cores"].items():
        table = Table(title=f"{core}: clock cycles on the RTL and by the table")
        for heading in ("program", "part", "RTL", "table", "error", "error with 1 and 3 wait states: fetches", "data"):
            table.add_column(heading, justify="left" if heading in ("program", "part") else "right")
        for row in one["rows"]:
            name = row["subject"] + (" *" if row["after_freeze"] else "")
            error = f"{row['low']:,.0f} to {row['high']:,.0f}" if row["range"] else f"{row['error_percent']:+.3f} %"
            waits = [", ".join(f"{one['error_percent']:+.2f}" for one in row["waits"] if one["port"] == port) for port in ("fetch", "data")]
            table.add_row(name, row["part"], f"{row['rtl']:,}", f"{row['cycles']:,.0f}", error, *waits)
        console.print(table)
    console.print("* written after the table was frozen")
    for core, one in result["cores"].items():
        console.print(f"{core}: {verdict(one['summary'])}", soft_wrap=True)


def verdict(summary: dict[str, Any]) -> str:
    """One line of what a core's validation found."""
    counted = f"{summary['programs']} programs of {summary['sources']} sources, {summary['programs_after_freeze']} written after the freeze"
    worst = f"worst error {summary['worst_error_percent']:+.3f} % ({summary['worst_program']}), {summary['limit_percent']:g} % are accepted"
    outside = f", OUTSIDE: {', '.join(summary['outside_range'])}" if summary["outside_range"] else ""
    waits = "".join(f"; {port} with wait states: {_waited(one)}" for port, one in summary["wait_states"].items() if "programs" in one)
    return f"{worst}; {counted}, {summary['kernels']} kernels; {summary['ranges']} ranges (division){outside}{waits}"


def _waited(one: dict[str, Any]) -> str:
    worst = f"worst error {one['worst_error_percent']:+.3f} % ({one['worst_program']}), {one['limit_percent']:g} % are accepted"
    fresh = one["worst_error_after_freeze_percent"]
    after = f", {fresh:+.3f} % of the {one['programs_after_freeze']} written after the freeze" if fresh is not None else ""
    return f"{worst}{after}"
