"""Runs beside a run: the same recordings, split, seed, behaviour and student for other signals, so that accuracies can be compared."""

from collections.abc import Mapping

import click

from firmware_sim.verdict.counts import Signal
from quantization.summaries import QuantizedStream
from realm_edge import settings as settings_module
from realm_edge import synthetic
from realm_edge.apart import apart
from realm_edge.app.cli_options import CHOICES, FEATURES, RECORDINGS, gathered, options
from realm_edge.app.rundir import RunDir, command
from realm_edge.app.stages import stage_of
from realm_edge.app.summaries import DataSummary
from realm_edge.app.verdict.form import Accuracy
from realm_edge.app.verdict.untrained import signal_settings
from realm_edge.app.workflow import Workflow
from realm_edge.devices import Device, Precision
from realm_edge.errors import UserError
from realm_edge.progress import Progress
from realm_edge.settings import Settings
from realm_edge.sources import Recordings
from realm_edge.streams import LFP, SPIKE, Stream
from realm_edge.summaries import SessionSummary

NAMES: Mapping[Signal, str] = {
    "lfp": "LFP",
    "lfp-200": "LFP at 200 Hz",
    "sbp": "spiking-band power",
    "spike": "threshold crossings",
}
SIGNALS: tuple[Signal, ...] = ("lfp-200", "sbp")  # that have a run beside
_NOMINAL = 0.999  # of a rate, from which on a recording has it: clocks are not exact


def beside(
    run: RunDir,
    signal: Signal,
    progress: Progress,
    device: Device = "auto",
    precision: Precision = "32",
    recordings: Recordings | None = None,
) -> RunDir | str:
    """Train, export and quantise for ``signal`` in ``<run>/verdict/<signal>/``; what is done already is not done again.

    The spike stream is left out: it is the run's own. Who calls this holds the run's lock.

    Args:
        run: whose data stage is complete.
        signal: one of :data:`SIGNALS`.
        device, precision: see :func:`realm_edge.training.machine.machine`.
        recordings: of the run; None for those that it remembers.

    Returns:
        The run beside; ``run`` itself where its settings are the signal's; or why there is none.

    Raises:
        UserError: the run's data stage is missing or stale, it does not say where its recordings are, these are others than it was made
            from, or a stage fails.
    """
    run.require("data")
    recordings = recordings or recordings_of(run)
    asked = run.requested("data")
    if recordings.request() != asked:
        raise UserError(f"{run.path}: its recordings are others than it was made from: run '{command('data', run.path)}'")
    if recordings.features is not None:
        return f"the recording holds features, and no voltage that {NAMES[signal]} could be computed from"
    settings = signal_settings(run.settings, signal)
    if settings == run.settings:
        return run
    if (rate := _slowest(recordings, settings)) < _NOMINAL * settings.lfp.rate_hz:
        return f"the recording's voltage has {rate:,.6g} Hz: {NAMES[signal]} needs {settings.lfp.rate_hz:,}"
    path = run.file("verdict", signal)
    if (path / "config.toml").exists() and settings_module.load(path / "config.toml") != settings:
        RunDir.erase(path)  # of an earlier version, whose filters were others
    other = RunDir.create(path, settings)
    work = Workflow(other, progress, stage_of)
    progress.say(f"{NAMES[signal]}, beside the run: {other.path}")
    work.resume("data", recordings, False, request={**asked, "spikes": False}, options=recordings.options())
    work.resume("train", device, precision)
    work.resume("export")
    work.resume("quantize")
    return other


def recordings_of(run: RunDir) -> Recordings:
    """The recordings that the options say which the run's data stage remembers; none where it was made of synthetic ones.

    Raises:
        UserError: the run does not remember them.
    """
    found: list[Recordings] = []

    @click.command()
    @options(RECORDINGS, CHOICES, FEATURES)
    @gathered
    def keep(recordings: Recordings) -> None:
        found.append(recordings)

    try:
        keep.main(run.remembered("data"), standalone_mode=False)
    except click.ClickException:
        found.clear()
    names = [name for name, _ in run.requested("data").get("recordings", [])]
    if [path.name for recordings in found for path in recordings.files] != names:
        raise UserError(f"{run.path}: it does not say any more where {', '.join(names)} lie(s): name the recordings with --data")
    return found[0] if found else Recordings()


def _slowest(recordings: Recordings, settings: Settings) -> float:
    """Rate of the voltage, Hz, in the recording that has least."""
    if not recordings.files:
        return float(synthetic.LFP_HZ[settings.synthetic.version])
    reads = [(path, recordings.of(index), settings, recordings.read_of(index)) for index, path in enumerate(recordings.files)]
    return min(float(apart("realm_edge.readers.reading:lfp_rate", *arguments, files=files)) for *arguments, files in reads)


def accuracies(run: RunDir, besides: Mapping[Signal, RunDir | str]) -> tuple[Accuracy, ...]:
    """R2 of each signal's decoder, float and int8, as the quantize stages scored them.

    Args:
        run: whose LFP and spike streams count.
        besides: what :func:`beside` gave.

    Raises:
        UserError: a quantize stage is missing or stale.
    """
    own = _heldout(run)
    found = [_accuracy(run, "lfp", LFP, own)]
    for signal in SIGNALS:
        other = besides.get(signal, "no decoder was trained for it")
        found.append(_without(signal, other) if isinstance(other, str) else _accuracy(other, signal, LFP, own))
    return (*found, _accuracy(run, "spike", SPIKE, own))


def _accuracy(run: RunDir, signal: Signal, stream: Stream, own: SessionSummary) -> Accuracy:
    """Of one stream of a run; ``own`` is the decoded session as the run has it that the others are beside."""
    run.require("quantize")
    quantised: dict[str, QuantizedStream] = run.summary("quantize")
    if stream.name not in quantised:
        return _without(signal, "the recording has no spikes")
    scored, session = quantised[stream.name], _heldout(run)
    here, there = ((each.train_bins, each.validation_bins, each.test_bins) for each in (session, own))
    text = f"over {scored.scored_bins:,} bins of the test part of session {session.name}"
    if here != there:
        text += f"; bins for training, validation and test: {_parts(here)}, where the run has {_parts(there)}"
    return Accuracy(signal=signal, channels=session.channels or None, r2_float=scored.r2.float, r2_int8=scored.r2.int8, text=text)


def _parts(bins: tuple[int, int, int]) -> str:
    return ", ".join(f"{each:,}" for each in bins)


def _without(signal: Signal, why: str) -> Accuracy:
    return Accuracy(signal=signal, channels=None, r2_float=None, r2_int8=None, text=why)


def _heldout(run: RunDir) -> SessionSummary:
    data: DataSummary = run.summary("data")
    return next(each for each in data.sessions if each.heldout)
