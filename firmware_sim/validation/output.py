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
        for heading in ("program", "part", "RTL", "table", "error", "one wait state on fetches", "on data"):
            table.add_column(heading, justify="left" if heading in ("program", "part") else "right")
        for row in one["rows"]:
            name = row["subject"] + (" *" if row["after_freeze"] else "")
            error = f"{row['low']:,.0f} to {row['high']:,.0f}" if row["range"] else f"{row['error_percent']:+.3f} %"
            waits = [f"{row['waits'][port]:,}" if row["waits"] else "" for port in ("instruction", "data")]
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
    return f"{worst}; {counted}, {summary['kernels']} kernels; {summary['ranges']} ranges (division){outside}"
