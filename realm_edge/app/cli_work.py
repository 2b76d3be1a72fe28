"""How commands open a run and perform its stages; what is imported for it is imported when it is needed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from realm_edge.torchrun import leads

if TYPE_CHECKING:
    from realm_edge.app.rundir import RunDir
    from realm_edge.app.workflow import Workflow
    from realm_edge.settings import Settings
    from realm_edge.sources import Recordings


def known(names: Sequence[str]) -> tuple[str, ...]:
    """The targets that were named, each once; a UserError names the first that does not exist."""
    from firmware_sim.targets import get_target

    return tuple(dict.fromkeys(get_target(name).name for name in names))


def compilable(names: Sequence[str]) -> tuple[str, ...]:
    """As :func:`known`, of what firmware or a library can be compiled for: parts, and Linux."""
    from firmware_sim.targets import build_for

    return tuple(name for name in dict.fromkeys(names) if build_for(name))


def simulated(names: Sequence[str]) -> tuple[str, ...]:
    """Of targets that were compiled for, those that firmware is simulated on."""
    from firmware_sim.targets import targets

    return tuple(name for name in names if name in targets())


def try_emulators(names: Sequence[str]) -> None:
    """See that the firmware of these targets can be simulated here; say where QEMU is one that this was not tested with."""
    from firmware_sim.emulator import find_emulator
    from firmware_sim.targets import get_target

    found = [find_emulator(get_target(name)) for name in names]
    for remark in dict.fromkeys(emulator.remark for emulator in found if emulator.remark):
        click.echo(f"realm-edge: {remark}", err=True)


def build_of(target: str) -> str:
    """Name of the build that a target's firmware, or library, is compiled by."""
    from firmware_sim.targets import build_for

    return build_for(target)


def asked_to_compile(prefix: str | None) -> dict[str, Any]:
    """Request and options of a compile stage, once the prefix has been found to be one."""
    from realm_edge.app.workflow import compile_options, compile_request

    return {"request": compile_request(prefix), "options": compile_options(prefix)}


def simulation_asked(budget: Path | None, components: Path | None) -> dict[str, Any]:
    """The request of a simulation, once the files of limits and figures have been found to be sound."""
    from realm_edge.app.workflow import simulation_request

    if budget is not None:
        from firmware_sim.budgets import load_budgets

        load_budgets(budget)
    if components is not None:
        from firmware_sim.components import load_components

        load_components(components)
    return simulation_request(budget, components)


def see_that_it_fits(settings: "Settings", recordings: "Recordings") -> None:
    """Refuse models that are too large for the memory before recordings are read, of which nothing is known yet: one channel, one axis."""
    from realm_edge.training.memory import Inputs, check_training

    kinds = 1 + len(settings.lfp.bands_hz)
    channels = 1 if recordings.files else settings.synthetic.channels
    check_training(settings, Inputs(channels * kinds, 1, kinds))


def open_run(out: Path) -> "Workflow":
    """Open the run and hold its lock until the command ends."""
    from realm_edge.app.workflow import opened

    return workflow_of(click.get_current_context().with_resource(opened(out, leads())))


def quantized(
    out: Path | None,
    settings: "Settings | None",
    recordings: "Recordings",
    fresh: bool,
    device: str,
    precision: str,
    see: Callable[["RunDir"], None] | None = None,
) -> "Workflow":
    """Make or reopen a run, hold its lock until the command ends, and perform what is not done of its stages as far as quantize.

    Args:
        out: None for ``runs/`` and the name of the first recording, or of the preset.
        settings: None for those of the run that is there, or the ``demo`` preset.
        see: raises where the recordings, once they are read, are not what the command needs; nothing is trained then.
    """
    from realm_edge.app.workflow import open_for_data
    from realm_edge.readers.names import name_of

    out = out or Path("runs") / (name_of(recordings.files[0]) if recordings.files else settings.preset if settings else "demo")
    opening = open_for_data(out, settings, recordings, fresh=fresh, may_skip=True)
    run, request = click.get_current_context().with_resource(opening)
    work = workflow_of(run)
    if "train" not in run.performed():
        see_that_it_fits(run.settings, recordings)
    work.resume("data", recordings, request=request, options=recordings.options())
    if see is not None:
        see(run)
    work.resume("train", device, precision)
    work.resume("export")
    work.resume("quantize")
    return work


def workflow_of(run: Any) -> "Workflow":
    """What performs the stages of a run, and tells of them on stderr."""
    from realm_edge.app.stages import stage_of
    from realm_edge.app.workflow import Workflow
    from realm_edge.progress import Silent, Terminal

    progress = Terminal() if leads() else Silent()
    if run.removed:
        progress.say(f"removed {len(run.removed)} half-written file(s) of an interrupted command")
    return Workflow(run, progress, stage_of)


def json_text(summary: Any) -> str:
    from realm_edge.documents import jsonable

    return json.dumps(jsonable(summary), indent=2)
