"""The chain for notebooks: from a recording to the figures of firmware, a function for each step.

``realm_edge.load``, ``train``, ``quantize``, ``compile``, ``simulate`` and ``report`` are these functions. They do what the commands of the
same names do, on the same run directories: what is done already is not done again, stages that are stale are told of, and a run that was
begun here goes on in a terminal, or the other way round. Progress goes to stderr. What a user can mend is raised as
:class:`realm_edge.errors.UserError`, whose text names the value and the remedy in the words of the command line. Ctrl-C, or a notebook's
"interrupt", ends a training behind the step in progress; the same call goes on from there.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import ConfigDict, ValidationError, validate_call

from firmware_sim.budgets import load_budgets
from firmware_sim.components import load_components
from firmware_sim.emulator import find_emulator
from firmware_sim.stream_report import StreamReport
from firmware_sim.targets import build_for, get_target
from quantization.summaries import QuantizedStream
from realm_edge.apart import apart
from realm_edge.app import artefacts
from realm_edge.app.results import Compiled, Figures, Loaded, Quantized, Reported, Simulated, Trained
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages import stage_of
from realm_edge.app.summaries import CompiledStage, Metrics, ReportSummary, Simulation
from realm_edge.app.workflow import (
    Workflow,
    compile_options,
    compile_request,
    open_for_data,
    opened,
    report_request,
    simulation_options,
    simulation_request,
    target_options,
)
from realm_edge.devices import Device, Precision
from realm_edge.errors import UserError
from realm_edge.progress import Terminal
from realm_edge.readers.choices import Choices
from realm_edge.settings import Settings, changed, flaw
from realm_edge.settings import preset as preset_of
from realm_edge.sources import Recordings
from realm_edge.streams import LFP, SPIKE, Stream
from realm_edge.training.machine import check_device

Names = str | Sequence[str]
File = str | Path
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _checked(step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Arguments of other types than the signature has are a UserError that names the first of them; other calls a TypeError, as usual."""
    checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(step)
    signature = inspect.signature(step)
    every = list(signature.parameters.values())
    rest = next((parameter.name for parameter in every if parameter.kind is parameter.VAR_POSITIONAL), None)

    @functools.wraps(step)
    def call(*args: Arguments.args, **named: Arguments.kwargs) -> Result:
        signature.bind(*args, **named)
        try:
            return checked(*args, **named)
        except ValidationError as error:
            first = error.errors()[0]
            at = first["loc"][0]
            name = at if isinstance(at, str) else rest or every[at].name
            raise UserError(f"{step.__name__}: {name}={first['input']!r:.80}: {first['msg']}") from error

    return call


@_checked
def load(
    *files: File,
    behavior: Names = (),
    lfp: Names = (),
    channels: Names = (),
    without_channels: Names = (),
    segments: str | None = None,
    features: str | None = None,
    behavior_files: Sequence[File] = (),
    units_files: Sequence[File] = (),
    sync_offsets: Sequence[float] = (),
    spike_electrodes: int | None = None,
) -> Loaded:
    """Look at recordings, and say what is taken of them; the arguments are the options of ``realm-edge data`` (docs/recordings.md).

    Args:
        files: recordings, one per session; the last is decoded, the others pretrain. None: the synthetic recordings.
        behavior: series to decode; several are one target. None: the only one there is.
        lfp: series to decode from; several follow one another.
        channels: to take: "0-31,40", names, or "column=value" of the electrodes.
        without_channels: to leave out, likewise.
        segments: table of intervals that are segments ("trials", "epochs", another of the file, or a .csv).
        features: the recordings hold features instead of voltage: the series they are in.
        behavior_files: with the behaviour, one per recording.
        units_files: with the spike times, one per recording.
        sync_offsets: seconds added to the times of those files, one per recording.
        spike_electrodes: that the sorted units come from, where the recording does not say.

    Raises:
        UserError: a file is missing or cannot be read, has no such series, or choices do not go together.
    """
    choices = Choices(
        _names(behavior), _names(lfp), _names(channels), _names(without_channels), segments, spike_electrodes=spike_electrodes
    )
    extra = _paths(behavior_files), _paths(units_files)
    recordings = Recordings(_paths(files), choices, *extra, tuple(sync_offsets), features)
    recordings.check()
    if features is not None:
        for path in recordings.files:
            apart("realm_edge.feature_table:seconds_a_bin", path, features, files=[path])
        return Loaded(recordings)
    taken = [(recordings.of(index), recordings.read_of(index)) for index in range(len(recordings.files))]
    summaries = (
        apart("realm_edge.inspection:summary", path, chosen, files=read)
        for path, (chosen, read) in zip(recordings.files, taken, strict=True)
    )
    return Loaded(recordings, tuple(summaries))


@_checked
def train(
    loaded: Loaded,
    out: File,
    *,
    preset: str | None = None,
    changes: Mapping[str, Any] | None = None,
    device: Device = "auto",
    precision: Precision = "32",
    fresh: bool = False,
) -> Trained:
    """Make a run of recordings: causal features, teacher, student, spike baseline and Wiener filters (``realm-edge data`` and ``train``).

    Args:
        loaded: what :func:`load` returned.
        out: the run's directory; a run that is there is gone on with.
        preset: settings to start from. None, without changes: those of the run in ``out``, or ``demo``.
        changes: of the preset's values, nested as in a TOML file of settings: ``{"student": {"d_model": 16}}``.
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        precision: of the matrix products: "32", "bf16-mixed" or "16-mixed".
        fresh: remove the run in ``out`` first.

    Raises:
        UserError: a recording cannot be used, settings are wrong, the run in ``out`` was made from others, another command writes there,
            or there is too little memory.
    """
    check_device(device)  # before the recordings are read
    with open_for_data(Path(out), _settings(preset, changes), loaded.recordings, fresh=fresh, may_skip=False) as (run, request):
        work = _workflow(run)
        work.resume("data", loaded.recordings, request=request, options=loaded.recordings.options())
        metrics: Metrics = work.resume("train", device, precision)
        r2 = {name: decoder.r2 for name, decoder in metrics.decoders.items()}
        return Trained(run.path, metrics.synthetic, r2, run.file("predictions.npz"), metrics)


@_checked
def quantize(run: File) -> Quantized:
    """Turn the students into float step graphs, and those into int8 ones (``realm-edge export`` and ``quantize``).

    Args:
        run: directory of a run that is trained.

    Raises:
        UserError: it is not trained, or stale, or a tensor cannot be quantised.
    """
    with opened(Path(run)) as opened_run:
        work = _workflow(opened_run)
        work.resume("export")
        summary: dict[str, QuantizedStream] = work.resume("quantize")
        decoders = {stream.name: artefacts.int8_decoder(opened_run, stream) for stream in _streams(summary)}
        exact, integers = {name: one.r2.float for name, one in summary.items()}, {name: one.r2.int8 for name, one in summary.items()}
        differ = {name: one.nrmse_int8_float for name, one in summary.items()}
        return Quantized(opened_run.path, decoders, exact, integers, differ, summary)


@_checked
def compile(run: File, target: str, prefix: str | None = None) -> Compiled:
    """Compile the int8 step graphs into firmware for one target (``realm-edge compile``).

    Args:
        run: directory of a run that is quantised.
        target: a name that ``realm-edge targets`` lists, or a Linux such as "aarch64-linux".
        prefix: what names in the C of the bundles begin with, before the stream; None for "realm".

    Raises:
        UserError: it is not quantised, or stale, there is no such target, the prefix is no lower-case C identifier, or a graph holds what
            cannot be compiled.
    """
    build = build_for(target)
    asked, given = compile_request(prefix), compile_options(prefix)
    with opened(Path(run)) as opened_run:
        stage, arguments = f"compile.{target}", (target, build, prefix)
        summary: dict[str, dict[str, CompiledStage]] = _workflow(opened_run).resume(stage, *arguments, request=asked, options=given)
        bundles = {stream.name: artefacts.bundle(opened_run, stream, target) for stream in _streams(summary)}
        weights = {name: sum(stage.weight_bytes for stage in stages.values()) for name, stages in summary.items()}
        return Compiled(opened_run.path, target, bundles, weights)


@_checked
def simulate(run: File, target: str, budget: File | None = None, components: File | None = None) -> Simulated:
    """Run the firmware in QEMU on held-out input, compare every bit and hold it against budgets (``realm-edge simulate``).

    Args:
        run: directory of a run that is compiled for ``target``.
        target: a name that ``realm-edge targets`` lists.
        budget: TOML file of limits; None: the product's.
        components: TOML file of figures that go before the product's; None: the product's alone.

    Raises:
        UserError: it is not compiled, or stale, there is no such target, a file of limits or figures is broken, or QEMU is missing.
    """
    part, (limits, figures) = get_target(target), (None if each is None else Path(each) for each in (budget, components))
    load_budgets(limits)
    load_components(figures)
    emulator = find_emulator(part)
    with opened(Path(run)) as opened_run:
        work = _workflow(opened_run)
        if emulator.remark:
            work.progress.say(emulator.remark)
        request, options = simulation_request(limits, figures), simulation_options(limits, figures)
        summary = work.resume(f"simulate.{part.name}", part.name, limits, figures, request=request, options=options)
        return _simulated(opened_run.path, summary)


@_checked
def report(run: File, targets: Names | None = None) -> Reported:
    """Write the report (``realm-edge report``).

    Args:
        run: directory of a run that is simulated.
        targets: what it shows. None: all that were simulated.

    Raises:
        UserError: nothing was simulated, a target's simulation is missing or stale, or there is no such target.
    """
    named = tuple(get_target(name).name for name in _names(targets or ()))
    with opened(Path(run)) as opened_run:
        chosen = named or opened_run.targets("simulate")
        if not chosen:
            raise UserError(
                f"{opened_run.path}: nothing was simulated: call simulate first, or 'realm-edge simulate --out {opened_run.path}'"
            )
        request = report_request(opened_run, chosen)
        summary: ReportSummary = _workflow(opened_run).resume("report", chosen, request=request, options=target_options(chosen))
        reasons = {target: verdict.reasons for target, verdict in summary.verdicts.items()}
        page, numbers = opened_run.file("report.html"), opened_run.file("report.json")
        return Reported(opened_run.path, page, numbers, summary.ok, reasons)


def _simulated(run: Path, summary: Simulation) -> Simulated:
    streams = {name: _figures(stream) for name, stream in summary.streams.items()}
    broken, nominally = (tuple(row.name for row in summary.budgets if row.state == state) for state in ("broken", "holds only nominally"))
    whole = (summary.target, summary.part, summary.ok, summary.synthetic)
    lfp, spike = streams[LFP.name], streams.get(SPIKE.name)
    return Simulated(run, *whole, lfp=lfp, spike=spike, broken=broken, only_nominally=nominally, summary=summary)


def _figures(stream: StreamReport) -> Figures:
    return Figures(
        bit_exact=stream.bit_exact,
        steps=stream.steps,
        cycles_per_step=stream.cycles_per_step,
        cycles_range=stream.cycles_per_step_range,
        fits=stream.fit_text,
        power_uw=stream.power_uw["total"],
        power_range=stream.power_uw_range,
        latency_ms=stream.latency_ms["total"],
        flash_bytes=stream.flash_bytes,
        ram_bytes=stream.ram_bytes,
        r2_float=stream.r2.float,
        r2_int8=stream.r2.int8,
    )


def _streams(summary: Mapping[str, Any]) -> tuple[Stream, ...]:
    return tuple(stream for stream in (LFP, SPIKE) if stream.name in summary)


def _settings(name: str | None, changes: Mapping[str, Any] | None) -> Settings | None:
    """None where neither is given."""
    if not changes:
        return preset_of(name) if name else None
    try:
        return changed(preset_of(name or "demo"), changes)
    except ValidationError as error:
        raise UserError(f"changes: {flaw(error)}") from error


def _workflow(run: RunDir) -> Workflow:
    return Workflow(run, Terminal(), stage_of)


def _names(given: Names) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _paths(given: Sequence[File]) -> tuple[Path, ...]:
    return tuple(Path(file) for file in given)
