"""The command ``board-check``: what a board wrote, against the bundle and the core's table."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from realm_edge.app.cli_options import AS_JSON, PATH, options
from realm_edge.errors import UserError
from realm_edge.printable import printable

if TYPE_CHECKING:
    from firmware_sim.board.form import Energy
    from firmware_sim.board.log import BoardLog

_DEFAULT_OUT = Path("runs/demo")


@click.command(name="board-check", epilog="Example: realm-edge board-check serial.log --out runs/demo --target cortex-m4")
@click.argument("log", type=PATH)
@options(
    click.option("--out", type=PATH, help="Run whose bundle was flashed (default: runs/demo)."),
    click.option("--bundle", type=PATH, help="The bundle alone, in place of a run: bits and cycles, without the table's."),
    click.option("--target", metavar="NAME", help="Part of the board, where the run has the bundle for several; see `targets`."),
    click.option("--name", metavar="NAME", help="Under which the run keeps the board (default: as the self-test was told)."),
    click.option("--port", metavar="DEVICE", help="Take the log from this serial port, and write it to LOG."),
    click.option("--baud", type=click.IntRange(300, 4_000_000), default=115_200, show_default=True, help="Of --port."),
    click.option("--seconds", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="Of --port: when to give up."),
    click.option("--current", type=PATH, help="CSV export of a PPK2 or a Joulescope: energy of a cycle."),
    click.option("--volts", type=click.FloatRange(0.1, 60), help="Of --current, where the probe measures none (PPK2)."),
    click.option("--mark", metavar="LINE", help="Of --current: digital line that the self-test set, D0 to D7."),
    click.option("--window", metavar="FROM:TO", help="Of --current, in place of a line: seconds within the first run."),
    AS_JSON,
)
def board_check(
    log: Path,
    out: Path | None,
    bundle: Path | None,
    target: str | None,
    name: str | None,
    port: str | None,
    baud: int,
    seconds: float,
    current: Path | None,
    volts: float | None,
    mark: str | None,
    window: str | None,
    as_json: bool,
) -> None:
    """Hold the LOG of a bundle's self-test on a board against the reference and the core's table (status 1: bits differ).

    With a run, its report then says what was measured, and how far the table is from it, kernel by kernel. docs/boards.md says how to
    build the self-test.
    """
    from firmware_sim.board import check, text
    from firmware_sim.board.form import BOARD
    from firmware_sim.board.log import read_log
    from firmware_sim.board.table import price
    from firmware_sim.bundle import check_manifest, load_bundle
    from realm_edge.app import boards
    from realm_edge.app.workflow import opened
    from realm_edge.documents import header, jsonable
    from realm_edge.files import sha256_file
    from realm_edge.progress import Terminal

    if bundle is not None and (out is not None or target is not None):
        raise UserError("--bundle: it is in place of a run: leave out --out and --target")
    _check_current_options(current, volts, mark, window)
    progress = Terminal()
    if port is not None:
        _record(port, baud, seconds, log)
    found = read_log(log)
    energy = _energy(current, found, volts, mark, window)
    chosen, digest = boards.name_of(name, found, log), sha256_file(log)
    if bundle is not None:
        check_manifest(bundle)
        flashed = load_bundle(bundle)
        check.require_same_bundle(found, flashed, str(log))
        board = check.checked(found, flashed, chosen, digest, None, energy)
    else:
        run = click.get_current_context().with_resource(opened(out or _DEFAULT_OUT))
        of_run = boards.find(run, found, target, str(log))
        check.require_same_bundle(found, of_run.bundle, str(log))
        priced = None
        if check.why_no_measurement(found) is None:
            progress.say(f"pricing the self-test by the table of {of_run.target.core} ({of_run.target.part})")
            boards.see_that_it_is_compiled(run, of_run)
            priced = price(of_run.bundle, of_run.target)
        board = check.checked(found, of_run.bundle, chosen, digest, (of_run.target, priced), energy)
        progress.say(f"  {boards.keep(run, board)}")
    click.echo(json.dumps(header(BOARD) | jsonable(board), indent=2) if as_json else "\n".join(map(printable, text.lines(board))))
    if not board.bits.agree:
        click.get_current_context().exit(1)


def _check_current_options(current: Path | None, volts: float | None, mark: str | None, window: str | None) -> None:
    given = {"--volts": volts, "--mark": mark, "--window": window}
    first = next((option for option, value in given.items() if value is not None), None)
    if current is None and first is not None:
        raise UserError(f"{first}: it is about --current: give that, too")
    if mark is not None and window is not None:
        raise UserError(f"--window {window}: --mark says where the run is: leave one of them out")


def _record(port: str, baud: int, seconds: float, log: Path) -> None:
    from firmware_sim.board.port import record
    from realm_edge.files import write_bytes

    click.echo(f"realm-edge: listening to {port}: reset the board", err=True)
    write_bytes(log, record(port, baud, seconds))


def _energy(current: Path | None, log: "BoardLog", volts: float | None, mark: str | None, window: str | None) -> "Energy | None":
    from firmware_sim.board.check import why_no_measurement
    from firmware_sim.board.current import energy, read_trace

    if current is None:
        return None
    if (why := why_no_measurement(log)) is not None:
        raise UserError(f"--current {current}: the log has no cycles to divide energy by ({why})")
    return energy(read_trace(current), log, volts, mark, _window(window))


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?):(\d{1,9}(?:\.\d{1,9})?)", text)
    if match is None or not float(match[1]) < float(match[2]):
        raise UserError(f"--window {text or repr(text)}: use seconds on the probe's clock, such as 1.25:1.40")
    return float(match[1]), float(match[2])
