"""The commands ``targets`` and ``validate``: where firmware can go, and what the cycle tables of its cores are worth."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from realm_edge.app.cli_options import AS_JSON, PATH, options


@click.command(name="targets", epilog="Example: realm-edge targets --json")
@AS_JSON
def targets_(as_json: bool) -> None:
    """List the parts that firmware can be made for; --json adds the source of every value."""
    from firmware_sim.targets import targets

    if as_json:
        click.echo(json.dumps([asdict(target) for target in targets().values()], indent=2))
        return
    for target in targets().values():
        size = f"{target.clock_hz / 1e6:g} MHz, {target.flash_bytes // 1024} KiB flash, {target.ram_bytes // 1024} KiB RAM"
        assumed = f" (assumed: {', '.join(target.assumed)})" if target.assumed else ""
        power = "" if target.components.active and target.components.sleep else "; no power figure"
        click.echo(f"{target.name:<12} {target.part}, {size}{power}{assumed}")


@click.command(epilog="Example: realm-edge validate --core ibex-small")
@options(
    click.option("--core", "cores", metavar="NAME", multiple=True, help="Core, repeatable (default: all whose RTL is public)."),
    click.option("--out", type=PATH, help="Where to write the result (default: validation.json in the user's cache folder)."),
    AS_JSON,
)
def validate(cores: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Hold the cycle tables of RISC-V cores against their RTL (status 1 when an error is too large). Needs Verilator."""
    from firmware_sim.validation.output import print_table
    from firmware_sim.validation.rtl import get_rtl, rtl_cores
    from firmware_sim.validation.run import validate
    from realm_edge.files import cache_folder, write_json
    from realm_edge.progress import Terminal

    chosen = [get_rtl(name).core for name in dict.fromkeys(cores or rtl_cores())]
    result = validate(chosen, Terminal())
    write_json(out or cache_folder() / "validation.json", result)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        print_table(result)
    if not all(one["summary"]["ok"] for one in result["cores"].values()):
        click.get_current_context().exit(1)
