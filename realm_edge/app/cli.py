"""The command line: one command per stage, and ``run`` for all of them.

It imports what it needs inside the commands, so that ``--help`` is fast. Exit status: 0; 1 a budget or bound is broken, bits differ or
a required tool is missing; 2 the input is wrong or the machine fails; 70 a bug; 130 interrupted; 143 and 129 ended by SIGTERM and SIGHUP.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

from realm_edge import __version__
from realm_edge.app import bugs
from realm_edge.app.cli_adapt import adapt
from realm_edge.app.cli_board import board_check
from realm_edge.app.cli_components import components_
from realm_edge.app.cli_cores import targets_, validate
from realm_edge.app.cli_cycles import cycles
from realm_edge.app.cli_evaluate import evaluate, study
from realm_edge.app.cli_graphs import GRAPH, check_onnx, compile_onnx, see_no_graph_options
from realm_edge.app.cli_options import (
    AS_JSON,
    BUDGET,
    CHOICES,
    COMPONENTS,
    CONFIG,
    MACHINE,
    NOMINAL,
    OUT,
    PATH,
    PREFIX,
    SESSION,
    SOURCE,
    TARGETS,
    gathered,
    options,
    settings_of,
)
from realm_edge.app.cli_package import package
from realm_edge.app.cli_text import compared, verdict, verified
from realm_edge.app.cli_verdict import verdict as verdict_
from realm_edge.app.cli_work import (
    asked_to_compile,
    build_of,
    compilable,
    json_text,
    known,
    open_run,
    quantized,
    simulated,
    simulation_asked,
    try_emulators,
    workflow_of,
)
from realm_edge.errors import UserError
from realm_edge.faults import fault, told
from realm_edge.files import cache_folder
from realm_edge.interrupt import Ended, behind, told_to_end
from realm_edge.printable import printable
from realm_edge.torchrun import leads, processes

if TYPE_CHECKING:
    from realm_edge.app.summaries import Baselines, Simulation, Verification
    from realm_edge.sources import Recordings

DEFAULT_TARGETS = ("cortex-m4", "stm32u385", "rv32imc")
ALL = "all"  # of compile: every part
MOST_VERIFIED = 10_000_000  # decoder steps; more take days


class _Cli(click.Group):
    """Turns what a user can mend, and signals to end, into one line on stderr; lists the commands in the order of the stages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with told_to_end():
                return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            _end_by(interrupt)
        except Exception as error:
            if (came := behind(error)) is not None:
                _end_by(came)
            if isinstance(error, UserError):
                _end(2, f"error: {error}")
            raise

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Click's, which does not see what goes wrong outside of a command: help that cannot be written, locks that are let go of.

        A bug costs a line, too; its traceback is written to a file.
        """
        try:
            return super().main(*args, **kwargs)
        except Exception as error:
            of_machine = fault(error)
            if of_machine is not None:
                _end(2, f"error: {told(of_machine)}")
            line = bugs.reported(error)
            if line is None:
                raise
            _end(bugs.STATUS, f"error: {line}")


def _end_by(interrupt: KeyboardInterrupt) -> NoReturn:
    number = interrupt.number if isinstance(interrupt, Ended) else signal.SIGINT
    how = f" by {signal.Signals(number).name}" if number != signal.SIGINT else ""
    _end(128 + number, f"interrupted{how}: what is finished is kept, and the same command goes on from there")


def _end(status: int, message: str) -> NoReturn:
    with suppress(OSError):  # standard error may be full as well: the status says it
        click.echo(f"realm-edge: {printable(message.strip())}", err=True)
    sys.exit(status)


@click.group(
    cls=_Cli,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: realm-edge run --out runs/demo",
)
@click.version_option(__version__, prog_name="realm-edge")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Turn recordings into an int8 LFP decoder, real implant firmware and a report on its power, bandwidth and accuracy.

    The stages follow one another: data, train, export, quantize, compile, simulate, report. Each leaves its files in the
    directory of the run; `run` performs all that are not done yet.
    """
    # Libraries keep caches too, and would fail, or warn at length, where there is no home directory.
    os.environ.setdefault("MPLCONFIGDIR", str(cache_folder() / "matplotlib"))
    if processes() > 1 and ctx.invoked_subcommand != "train":
        raise UserError(f"torchrun started {processes()} processes of '{ctx.invoked_subcommand}': only 'train' can use more than one")


@main.command(epilog="Example: realm-edge run --data monday.nwb --data tuesday.nwb --behavior hand_velocity --out runs/hand")
@options(SOURCE, TARGETS, PREFIX, BUDGET, COMPONENTS, NOMINAL, MACHINE)
@click.option("--out", type=PATH, help="Directory of the run (default: runs/ and the first recording's or the preset's name).")
@AS_JSON
@gathered
def run(
    preset: str | None,
    config: Path | None,
    recordings: "Recordings",
    fresh: bool,
    targets: tuple[str, ...],
    prefix: str | None,
    budget: Path | None,
    components: Path | None,
    nominal: bool,
    device: str,
    precision: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Perform every stage that is not done yet; without --data, on synthetic recordings."""
    from realm_edge.app.workflow import report_request, simulation_options, target_options

    chosen = known(targets) or DEFAULT_TARGETS
    named = asked_to_compile(prefix)
    asked = simulation_asked(budget, components)
    try_emulators(chosen)  # before anything is trained, or removed by --fresh
    work = quantized(out, settings_of(preset, config), recordings, fresh, device, precision)
    for target in chosen:
        work.resume(f"compile.{target}", target, build_of(target), prefix, **named)
    given = simulation_options(budget, components)
    results = {target: work.resume(f"simulate.{target}", target, budget, components, request=asked, options=given) for target in chosen}
    work.resume("report", chosen, request=report_request(work.run, chosen), options=target_options(chosen))
    _finish(results, nominal, as_json, report=str(work.run.file("report.html")))


@main.group(invoke_without_command=True, epilog="Example: realm-edge data --data monday.nwb --behavior hand_velocity --out runs/hand")
@options(SOURCE, OUT, AS_JSON)
@gathered
@click.pass_context
def data(
    ctx: click.Context,
    preset: str | None,
    config: Path | None,
    recordings: "Recordings",
    fresh: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Read recordings, or generate the synthetic ones; compute features and spike counts."""
    if ctx.invoked_subcommand is not None:
        given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"options of '{ctx.invoked_subcommand}' come after it")
        return
    from realm_edge.app.workflow import open_for_data

    made, request = ctx.with_resource(open_for_data(out, settings_of(preset, config), recordings, fresh=fresh, may_skip=False))
    _tell(workflow_of(made).perform("data", recordings, request=request, options=recordings.options()), as_json)


@data.command(epilog="Example: realm-edge data inspect monday.nwb --png monday.png")
@click.argument("file", type=PATH)
@options(CHOICES, SESSION)
@click.option("--png", type=PATH, help="Draw traces, spectrum and behaviour into this file.")
@AS_JSON
@gathered
def inspect(file: Path, recordings: "Recordings", session: int | None, png: Path | None, as_json: bool) -> None:
    """Show what is in a recording, and what is done about it: channels, rates, units, behaviour, gaps, dead and saturated channels."""
    from realm_edge.apart import apart
    from realm_edge.app.inspection_text import lines

    summary = apart("realm_edge.inspection:summary", file, recordings.of(0), session, png, files=recordings.read_of(0))
    click.echo(json.dumps(summary, indent=2, allow_nan=False) if as_json else "\n".join(lines(summary)))


@data.command(epilog="Example: realm-edge data convert monday.nwb monday.realm --behavior hand_velocity")
@click.argument("file", type=PATH)
@click.argument("out", type=PATH)
@options(CHOICES, SESSION, CONFIG, AS_JSON)
@gathered
def convert(file: Path, out: Path, recordings: "Recordings", session: int | None, config: Path | None, as_json: bool) -> None:
    """Write a recording as a .realm directory, which opens at once; without --behavior, with all its behaviour series."""
    from realm_edge.apart import apart
    from realm_edge.app.inspection_text import lines
    from realm_edge.settings import preset

    settings = settings_of(None, config) or preset("demo")
    summary = apart("realm_edge.inspection:convert", file, out, settings, recordings.of(0), session, files=recordings.read_of(0))
    click.echo(json.dumps(summary, indent=2, allow_nan=False) if as_json else "\n".join((printable(f"wrote {out}"), *lines(summary))))


@main.command(epilog="Example: realm-edge train --out runs/demo")
@options(MACHINE, OUT, AS_JSON)
def train(device: str, precision: str, out: Path, as_json: bool) -> None:
    """Pretrain the teacher, distil and fine-tune the student, and train the baselines; goes on where it was interrupted.

    Under torchrun, on one machine or several with a shared directory, all processes train together:
    torchrun --nproc_per_node 4 -m realm_edge train --out runs/demo
    """
    summary = open_run(out).perform("train", device, precision)
    if leads():
        _tell(summary, as_json)


@main.command(epilog="Example: realm-edge export --out runs/demo")
@options(OUT, AS_JSON)
def export(out: Path, as_json: bool) -> None:
    """Write the float step graphs (ONNX) and check them against torch."""
    _tell(open_run(out).perform("export"), as_json)


@main.command(epilog="Example: realm-edge quantize --out runs/demo")
@options(OUT, AS_JSON)
def quantize(out: Path, as_json: bool) -> None:
    """Calibrate on the training part, write the int8 step graphs and show the tensors that cost most; calibration.json has them all."""
    from quantization.output import show

    work = open_run(out)
    summary = work.perform("quantize")
    if as_json:
        _tell(summary, as_json)
    else:
        show(summary, work.run.file("calibration.json"))


@main.command(name="compile", epilog="Example: realm-edge compile --target cortex-m4 --out runs/demo")
@options(TARGETS, PREFIX, GRAPH, OUT, AS_JSON)
@click.pass_context
def compile_(
    ctx: click.Context, targets: tuple[str, ...], prefix: str | None, onnx: Path | None, out: Path, as_json: bool, **given: Any
) -> None:
    """Compile the int8 step graphs with TVM into one bundle per target and stream: C to put into a program.

    Names in it begin with realm_lfp and realm_spike, or with --prefix and the stream, so that bundles can be linked into one program.
    With --onnx, a step graph of yours instead: float ones are calibrated and quantised, and the firmware is run and compared (--out is by
    default runs/ and the file's name, C names begin with realm_ and that, or with --prefix alone).
    Targets x86_64-linux, aarch64-linux and riscv64-linux are gateways: their bundles have a shared library and a Python wheel.
    `--target all` compiles for every part, simulates what is not simulated yet, and shows a table (status 1 when bits differ).
    """
    if onnx is not None:
        default = ctx.get_parameter_source("out") is not ParameterSource.COMMANDLINE
        compile_onnx(onnx, known(targets) or DEFAULT_TARGETS, prefix, None if default else out, as_json, **given)
        return
    see_no_graph_options(**given)
    if ALL in targets:
        _all_targets(prefix, out, as_json)
        return
    chosen = compilable(targets) or DEFAULT_TARGETS
    named = asked_to_compile(prefix)
    work = open_run(out)
    _tell({"targets": {target: work.perform(f"compile.{target}", target, build_of(target), prefix, **named) for target in chosen}}, as_json)


def _all_targets(prefix: str | None, out: Path, as_json: bool) -> None:
    from firmware_sim.targets import targets
    from realm_edge.app.all_targets import lines, matrix

    asked_to_compile(prefix)
    try_emulators(tuple(targets()))
    rows = matrix(open_run(out), prefix)
    click.echo(json.dumps({"matrix": [asdict(row) for row in rows]}, indent=2) if as_json else "\n".join(map(printable, lines(rows))))
    if any(row.bit_exact is False for row in rows):
        click.get_current_context().exit(1)


@main.command(epilog="Example: realm-edge simulate --target rv32imc --budget limits.toml --out runs/demo --json")
@options(TARGETS, BUDGET, COMPONENTS, NOMINAL, OUT, AS_JSON)
def simulate(targets: tuple[str, ...], budget: Path | None, components: Path | None, nominal: bool, out: Path, as_json: bool) -> None:
    """Run the firmware on held-out input, compare every bit, and check the budgets (status 1 when one is broken).

    A budget that holds only with all figures at their nominal ones is status 1 too, unless --nominal is given.
    """
    from realm_edge.app.workflow import simulation_options

    asked, given = simulation_asked(budget, components), simulation_options(budget, components)
    named = known(targets)
    work = open_run(out)
    chosen = named or simulated(work.run.targets("compile")) or DEFAULT_TARGETS
    try_emulators(chosen)
    results = {target: work.perform(f"simulate.{target}", target, budget, components, request=asked, options=given) for target in chosen}
    _finish(results, nominal, as_json)


@main.command(epilog="Example: realm-edge report --out runs/demo")
@options(TARGETS, OUT, AS_JSON)
def report(targets: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Write report.html and report.json."""
    from realm_edge.app.workflow import report_request, target_options

    named = known(targets)
    work = open_run(out)
    chosen = named or work.run.targets("simulate") or DEFAULT_TARGETS
    summary = work.perform("report", chosen, request=report_request(work.run, chosen), options=target_options(chosen))
    _tell(summary, as_json, report=str(work.run.file("report.html")))


@main.command(epilog="Example: realm-edge baselines --target cortex-m4 --out runs/demo")
@options(TARGETS, OUT, AS_JSON)
def baselines(targets: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Run Wiener filter and GRU, fitted on the decoded session alone, as firmware beside the student's (status 1 when one differs)."""
    from realm_edge.app.workflow import target_options

    chosen = known(targets) or DEFAULT_TARGETS
    try_emulators(chosen)
    summary: Baselines = open_run(out).perform("baselines", chosen, request={"targets": list(chosen)}, options=target_options(chosen))
    click.echo(json_text(summary) if as_json else "\n".join(map(printable, compared(summary))))
    if not all(cost.bit_exact for decoders in summary.streams.values() for one in decoders.values() for cost in one.targets.values()):
        click.get_current_context().exit(1)


@main.command(epilog="Example: realm-edge verify --out runs/demo")
@click.option(
    "--bins",
    type=click.IntRange(1, MOST_VERIFIED),
    help="Decoder steps that are compared with the reference, and all ticks of the front end for them.",
)
@options(OUT, AS_JSON)
def verify(bins: int | None, out: Path, as_json: bool) -> None:
    """Compare the int8 step graphs with the reference over long and hostile input, and with float for ten minutes (status 1: they differ).

    By default over 10,000 decoder steps, and as many ticks of a fast front end as minutes allow. `report` then shows the result.
    """
    from realm_edge.app.report.verification_plot import endurance
    from realm_edge.files import write_bytes

    work = open_run(out)
    summary: Verification = work.perform("verify", bins, request={"bins": bins}, options=["--bins", str(bins)] if bins is not None else [])
    for kind, picture in endurance(summary).items():
        write_bytes(work.run.file(f"verification.{kind}"), picture)
    click.echo(json_text(summary) if as_json else "\n".join(map(printable, verified(summary))))
    if not summary.ok:
        click.get_current_context().exit(1)


for command in (package, verdict_, adapt, evaluate, study, check_onnx, targets_, components_, cycles, board_check, validate):
    main.add_command(command)


@main.command(epilog="Example: realm-edge presets --json")
@AS_JSON
def presets(as_json: bool) -> None:
    """List the presets with the sizes of their models: parameters, and multiply-accumulates per step of the student."""
    from realm_edge.app.preset_sizes import HEADER, preset_size
    from realm_edge.settings import PRESETS

    sizes = [preset_size(settings) for settings in PRESETS.values()]
    if as_json:
        click.echo(json.dumps([asdict(size) for size in sizes], indent=2))
        return
    click.echo("\n".join((HEADER, *(size.line() for size in sizes))))


@main.command(epilog="Example: realm-edge doctor")
@AS_JSON
def doctor(as_json: bool) -> None:
    """Show what is installed, what is missing and how to get it (status 1 when something required is missing)."""
    from firmware_sim.emulator import emulator_items
    from firmware_sim.targets import targets
    from realm_edge.doctor import examine

    items = examine(emulator_items(targets().values()))
    ok = all(item.found for item in items if item.required)
    if as_json:
        click.echo(json.dumps({"ok": ok, "items": [asdict(item) for item in items]}, indent=2))
    else:
        for item in items:
            click.echo(item.line())
    if not ok:
        click.get_current_context().exit(1)


def _tell(summary: Any, as_json: bool, **more: str) -> None:
    """Show a stage's summary: its plain values, or all of it."""
    from realm_edge.documents import jsonable

    content = jsonable(summary) | more
    if as_json:
        click.echo(json_text(content))
        return
    for key, value in content.items():
        if isinstance(value, str | int | float):
            click.echo(printable(f"{key}: {value}"))


def _finish(results: dict[str, "Simulation"], nominal: bool, as_json: bool, **more: str) -> None:
    """Show what the simulations found; status 1 when one of them is not bit-exact or broke a budget, by nominal figures or by any."""
    ok = all(result.ok_nominally if nominal else result.ok for result in results.values())
    if as_json:
        click.echo(json_text({"ok": ok, **more, "targets": results}))
    else:
        for target, result in results.items():
            for line in verdict(result):
                click.echo(printable(f"{target:<12} {line}"))
        for key, value in more.items():
            click.echo(printable(f"{key}: {value}"))
    if not ok:
        click.get_current_context().exit(1)
