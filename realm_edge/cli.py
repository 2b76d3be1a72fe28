"""The command line: one command a stage, and ``run`` for all of them.

The only module of this package that reaches into ``export``, ``quantization`` and ``firmware_sim``; it does so inside the
commands, so that ``--help`` is fast. Exit status: 0; 1 a budget is broken or a required tool is missing; 2 the input is
wrong; 130 interrupted.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from realm_edge import __version__
from realm_edge.errors import UserError

if TYPE_CHECKING:
    from realm_edge.settings import Settings
    from realm_edge.workflow import Workflow

DEFAULT_TARGETS = ("cortex-m4", "rv32imc")

STAGES = {
    "data": "realm_edge.stages.data",
    "train": "realm_edge.stages.train",
    "export": "export.stage",
    "quantize": "quantization.stage",
    "compile": "export.compile_stage",
    "simulate": "firmware_sim.stage",
    "report": "realm_edge.report.stage",
}

Command = Callable[..., None]


class _Cli(click.Group):
    """Turns what a user can mend, and Ctrl-C, into one line on stderr; lists the commands in the order of the stages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            _end(ctx, 2, f"error: {' '.join(str(error).split())}")
        except OSError as error:
            if error.filename is None:
                raise
            _end(ctx, 2, f"error: {error.filename}: {error.strerror}")
        except KeyboardInterrupt:
            _end(ctx, 130, "interrupted: finished stages are kept, and the same command goes on from there")


def _end(ctx: click.Context, status: int, message: str) -> NoReturn:
    click.echo(f"realm-edge: {message}", err=True)
    ctx.exit(status)


@click.group(
    cls=_Cli,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: realm-edge run --out runs/demo",
)
@click.version_option(__version__, prog_name="realm-edge")
def main() -> None:
    """Turn recordings into an int8 LFP decoder, real implant firmware and a report on its power, bandwidth and accuracy.

    The stages follow one another: data, train, export, quantize, compile, simulate, report. Each leaves its files in the
    directory of the run; `run` performs all that are not done yet.
    """


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_PATH = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
_out = click.option("--out", type=_PATH, default=Path("runs/demo"), show_default=True, help="Directory of the run.")
_target = click.option("--target", "targets", metavar="NAME", multiple=True, help="Target, repeatable (default: both); see `targets`.")
_budget = click.option("--budget", type=_PATH, help="TOML file of limits (default: the product's).")
_source = _options(
    click.option("--preset", metavar="NAME", help="Settings to start from (default: demo)."),
    click.option("--config", type=_PATH, help="TOML file of settings; what it leaves out comes from the preset."),
    click.option("--data", "recordings", type=_PATH, multiple=True, help="Recording, repeatable (default: synthetic ones)."),
    click.option("--behavior", metavar="NAME", help="Behaviour series to decode, where a recording has several."),
    click.option("--fresh", is_flag=True, help="Remove the run in --out first."),
)


@main.command(epilog="Example: realm-edge run --data monday.nwb --data tuesday.nwb --behavior hand_velocity --out runs/hand")
@_options(_source, _target, _budget)
@click.option("--out", type=_PATH, help="Directory of the run (default: runs/ and the first recording's or the preset's name).")
@_json
def run(
    preset: str | None,
    config: Path | None,
    recordings: tuple[Path, ...],
    behavior: str | None,
    fresh: bool,
    targets: tuple[str, ...],
    budget: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Perform every stage that is not done yet; without --data, on synthetic recordings."""
    from realm_edge.workflow import budget_request, open_for_data

    chosen = _known(targets) or DEFAULT_TARGETS
    limits = budget_request(budget)
    settings = _settings(preset, config)
    out = out or Path("runs") / (recordings[0].stem if recordings else settings.preset if settings else "demo")
    made, request = open_for_data(out, settings, recordings, behavior, fresh=fresh, may_skip=True)
    work = _workflow(made)
    work.resume("data", recordings, behavior, request=request)
    for stage in ("train", "export", "quantize"):
        work.resume(stage)
    for target in chosen:
        work.resume(f"compile.{target}", target)
    results = {target: work.resume(f"simulate.{target}", target, budget, request=limits) for target in chosen}
    work.resume("report", chosen, request={"targets": list(chosen)})
    _finish(results, as_json, report=str(made.file("report.html")))


@main.command(epilog="Example: realm-edge data --data monday.nwb --behavior hand_velocity --out runs/hand")
@_options(_source, _out, _json)
def data(
    preset: str | None, config: Path | None, recordings: tuple[Path, ...], behavior: str | None, fresh: bool, out: Path, as_json: bool
) -> None:
    """Read recordings, or generate the synthetic ones; compute features and spike counts."""
    from realm_edge.workflow import open_for_data

    made, request = open_for_data(out, _settings(preset, config), recordings, behavior, fresh=fresh, may_skip=False)
    _tell(_workflow(made).perform("data", recordings, behavior, request=request), as_json)


@main.command(epilog="Example: realm-edge train --out runs/demo")
@_options(_out, _json)
def train(out: Path, as_json: bool) -> None:
    """Pretrain the teacher, distil and fine-tune the student, and train the baselines."""
    _tell(_open(out).perform("train"), as_json)


@main.command(epilog="Example: realm-edge export --out runs/demo")
@_options(_out, _json)
def export(out: Path, as_json: bool) -> None:
    """Write the float step graphs (ONNX) and check them against torch."""
    _tell(_open(out).perform("export"), as_json)


@main.command(epilog="Example: realm-edge quantize --out runs/demo")
@_options(_out, _json)
def quantize(out: Path, as_json: bool) -> None:
    """Calibrate on the training part and write the int8 step graphs."""
    _tell(_open(out).perform("quantize"), as_json)


@main.command(name="compile", epilog="Example: realm-edge compile --target cortex-m4 --out runs/demo")
@_options(_target, _out, _json)
def compile_(targets: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Compile the int8 step graphs with TVM into one bundle a target."""
    chosen = _known(targets) or DEFAULT_TARGETS
    work = _open(out)
    _tell({"targets": {target: work.perform(f"compile.{target}", target) for target in chosen}}, as_json)


@main.command(epilog="Example: realm-edge simulate --target rv32imc --budget limits.toml --out runs/demo --json")
@_options(_target, _budget, _out, _json)
def simulate(targets: tuple[str, ...], budget: Path | None, out: Path, as_json: bool) -> None:
    """Run the firmware on held-out input, compare every bit and hold it against the budgets (status 1 when one is broken)."""
    from realm_edge.workflow import budget_request

    limits = budget_request(budget)
    named = _known(targets)
    work = _open(out)
    chosen = named or work.run.targets("compile") or DEFAULT_TARGETS
    _finish({target: work.perform(f"simulate.{target}", target, budget, request=limits) for target in chosen}, as_json)


@main.command(epilog="Example: realm-edge report --out runs/demo")
@_options(_target, _out, _json)
def report(targets: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Write report.html and report.json."""
    named = _known(targets)
    work = _open(out)
    chosen = named or work.run.targets("simulate") or DEFAULT_TARGETS
    _tell(work.perform("report", chosen, request={"targets": list(chosen)}), as_json)


@main.command(name="targets", epilog="Example: realm-edge targets --json")
@_json
def targets_(as_json: bool) -> None:
    """List the parts that firmware can be made for."""
    from firmware_sim.targets import targets

    if as_json:
        click.echo(json.dumps([asdict(target) for target in targets().values()], indent=2))
        return
    for target in targets().values():
        size = f"{target.clock_hz / 1e6:g} MHz, {target.flash_bytes // 1024} KiB flash, {target.ram_bytes // 1024} KiB RAM"
        assumed = f" (assumed: {', '.join(target.assumed)})" if target.assumed else ""
        click.echo(f"{target.name:<12} {target.part}, {size}{assumed}")


@main.command(epilog="Example: realm-edge doctor")
@_json
def doctor(as_json: bool) -> None:
    """Show what is installed, what is missing and how to get it (status 1 when something required is missing)."""
    from firmware_sim.qemu import VERSIONS
    from firmware_sim.targets import targets
    from realm_edge.doctor import examine

    items = examine([target.machine.emulator for target in targets().values()], VERSIONS)
    ok = all(item.found for item in items if item.required)
    if as_json:
        click.echo(json.dumps({"ok": ok, "items": [asdict(item) for item in items]}, indent=2))
    else:
        for item in items:
            click.echo(item.line())
    if not ok:
        click.get_current_context().exit(1)


def _known(names: Sequence[str]) -> tuple[str, ...]:
    from firmware_sim.targets import get_target

    return tuple(dict.fromkeys(get_target(name).name for name in names))


def _settings(preset_name: str | None, config: Path | None) -> "Settings | None":
    from realm_edge.settings import load, preset

    base = preset(preset_name) if preset_name else None
    return load(config, base) if config else base


def _open(out: Path) -> "Workflow":
    from realm_edge.rundir import RunDir

    return _workflow(RunDir.open(out))


def _workflow(run: Any) -> "Workflow":
    from realm_edge.progress import Terminal
    from realm_edge.workflow import Workflow

    progress = Terminal()
    if run.removed:
        progress.say(f"removed {len(run.removed)} half-written file(s) of an interrupted command")
    return Workflow(run, progress, STAGES)


def _tell(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    for key, value in summary.items():
        if isinstance(value, str | int | float):
            click.echo(f"{key}: {value}")


def _finish(results: dict[str, dict[str, Any]], as_json: bool, **more: str) -> None:
    """Show what the simulations found; status 1 when one of them is not bit-exact or broke a budget."""
    ok = all(result["ok"] for result in results.values())
    if as_json:
        click.echo(json.dumps({"ok": ok, **more, "targets": results}, indent=2))
    else:
        for target, result in results.items():
            for line in _verdict(result):
                click.echo(f"{target:<12} {line}")
        for key, value in more.items():
            click.echo(f"{key}: {value}")
    if not ok:
        click.get_current_context().exit(1)


def _verdict(result: dict[str, Any]) -> Iterator[str]:
    for name, stream in result["streams"].items():
        differs = "" if stream["bit_exact"] else ": DIFFERS from onnxruntime"
        yield f"{name}: {stream['steps']} steps, {stream['cycles_per_step']:,.0f} cycles a step, {stream['fit_text']}{differs}"
    for row in result["budgets"]:
        value = "none" if row["value"] is None else f"{row['value']:,.6g}"
        mark = "ok" if row["ok"] else f"BROKEN: {row['lever']}"
        yield f"{row['name']:<14} {value:>10} of {row['limit']:,.6g} {row['unit']}".ljust(46) + mark


if __name__ == "__main__":
    main()
