"""The command ``cycles``: the simulator as a profiler of any bare-metal program."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from realm_edge.app.cli_options import AS_JSON, PATH, options
from realm_edge.errors import UserError
from realm_edge.printable import printable

if TYPE_CHECKING:
    from firmware_sim.cycles.program import Program
    from firmware_sim.cycles.run import Span


@click.command(epilog="Example: realm-edge cycles build/app.elf --target cortex-m4 --until app_done --against base.json --fail-over 2%")
@click.argument("elf", type=PATH)
@options(
    click.option("--target", default="cortex-m4", show_default=True, metavar="NAME", help="Part that is priced; see `targets`."),
    click.option("--entry", metavar="SYMBOL", help="Count from the first time here (default: from reset)."),
    click.option("--until", metavar="SYMBOL[@N]", help="End here, or when this is reached for the N-th time (default: semihosting exit)."),
    click.option(
        "--seconds-limit", type=click.FloatRange(0.1, 86400), default=60.0, show_default=True, help="Real time after which to give up."
    ),
    click.option("--against", type=PATH, help="JSON of an earlier profile: show what changed."),
    click.option("--fail-over", metavar="PERCENT", help="With --against: status 1 if the total, or a function of 1 % of it, grew by more."),
    click.option("--flame", type=PATH, help="Draw a flame graph (SVG) into this file."),
    AS_JSON,
)
def cycles(
    elf: Path,
    target: str,
    entry: str | None,
    until: str | None,
    seconds_limit: float,
    against: Path | None,
    fail_over: str | None,
    flame: Path | None,
    as_json: bool,
) -> None:
    """Profile any bare-metal program (ELF): cycles by function on a part, with its flash's wait states.

    The program runs in QEMU from its vector table, or entry, and ends by semihosting exit or at --until. With --json the comparison
    goes to stderr.
    """
    from firmware_sim.cycles import compare
    from firmware_sim.cycles.flame import flame as drawn
    from firmware_sim.cycles.form import CYCLES
    from firmware_sim.cycles.pricing import profile_of, table_of
    from firmware_sim.cycles.program import read_program
    from firmware_sim.cycles.run import count
    from firmware_sim.cycles.text import lines
    from firmware_sim.targets import get_target
    from realm_edge.documents import header, jsonable
    from realm_edge.files import write_bytes

    most = _share(fail_over)
    if most is not None and against is None:
        raise UserError(f"--fail-over {fail_over}: there is nothing to compare with: give --against FILE")
    part = get_target(target)
    table = table_of(part)
    baseline = compare.read_baseline(against) if against is not None else None
    program = read_program(elf, part)
    span = _span(program, entry, until)
    profile = profile_of(program, span, count(program, span, part, table, seconds_limit), part, table)
    if flame is not None:
        write_bytes(flame, drawn(profile))
    if as_json:
        click.echo(json.dumps(header(CYCLES) | jsonable(profile), indent=2))
    else:
        click.echo("\n".join(map(printable, lines(profile, part))))
    if baseline is None or against is None:
        return
    compare.check_comparable(baseline, profile, against)
    found = compare.changes(baseline, profile)
    shown = [compare.HEADER, *compare.comparison(found, float("inf") if most is None else most)]
    click.echo("\n".join(("", *map(printable, shown))), err=as_json)
    if most is not None and any(row.breaks(most) for row in found):
        click.get_current_context().exit(1)


def _span(program: "Program", entry: str | None, until: str | None) -> "Span":
    from firmware_sim.cycles.run import Span

    begin = program.start if entry is None else program.address_of(entry, "--entry")
    first = entry or program.functions.function_at(begin)
    if until is None:
        return Span(begin, first)
    name, _, number = until.rpartition("@") if re.search(r"@\d+$", until) else (until, "", "1")
    times = int(number)
    if not 1 <= times < 1 << 31:
        raise UserError(f"--until {until}: it is reached for the 1st time or later: use SYMBOL@N with N from 1 on")
    return Span(begin, first, program.address_of(name, "--until"), name, times)


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", text)
    if match is None:
        raise UserError(f"--fail-over {text or repr(text)}: use a percentage such as 2%")
    return float(match[1]) / 100
