"""Everything the report states, gathered from the finished stages of a run; it becomes ``report.json``."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from firmware_sim.board.form import Board
from firmware_sim.components import Figure
from quantization.summaries import CALIBRATION, Calibration, QuantizedStream, TensorTable
from realm_edge.app.boards import boards_of
from realm_edge.app.rundir import PER_TARGET, RunDir
from realm_edge.app.summaries import (
    Bins,
    CompiledStage,
    DataSummary,
    Holds,
    Metrics,
    Simulation,
    StudentScores,
    Teacher,
    Verification,
    WienerScores,
)
from realm_edge.documents import Form, read_document
from realm_edge.settings import text_of
from realm_edge.sources import options_of
from realm_edge.summaries import Pretraining, SessionSummary

REPORT = "realm-edge report/3"  # report.json
MAC_RULE = "linear weights + convolution taps + 3 x heads x headdim x d_state per block; nothing else counts"


class What(Form):
    """Which recordings and settings the report is about."""

    preset: str
    transform: str  # of the behaviour
    output_delay_ms: int  # by which the decoder answers late, by design
    features: str | None  # name of the series, where recordings hold features instead of voltage
    segments: int  # of the decoded session
    session: str  # the decoded one
    synthetic: bool
    spike_source: str
    target_names: tuple[str, ...]
    target_unit: str
    bin_ms: int
    bins: Bins
    pretraining: dict[str, Pretraining]  # by stream
    teacher: Teacher


class Accuracies(Form):
    """How well is decoded: in float over the whole test part, and in int8 over the golden vectors' bins."""

    decoders: dict[str, StudentScores | WienerScores]
    scored: dict[str, QuantizedStream]  # by stream


class Scratch(Form):
    """Bytes of the intermediate tensors of a front end or decoder, largest first."""

    bytes: int  # of the block; tensors that are never alive together share them
    tensors: dict[str, int]


class Layer(Form):
    """Multiply-accumulates of one step."""

    node: str
    macs: int


class Macs(Form):
    """Multiply-accumulates of one step of a stream."""

    total: int
    layers: tuple[Layer, ...]


class PerformedStage(Form):
    """A stage that the report rests on."""

    stage: str
    command: str  # as it is given within the run's directory
    sha256: str  # of its record


class Provenance(Form):
    """Where everything comes from."""

    recordings: tuple[tuple[str, str], ...]  # name and SHA-256; none: synthetic ones
    behavior: str | None  # name of the series
    settings_sha256: str
    settings_toml: str
    stages: tuple[PerformedStage, ...]
    versions: dict[str, str]  # by package


class Facts(Form):
    """``report.json``: everything that the report states."""

    what: What
    sessions: tuple[SessionSummary, ...]
    ok: bool
    bit_exact: bool
    verdicts: dict[str, Holds]  # by target
    accuracy: Accuracies
    quantization: dict[str, TensorTable]  # by stream; the tensors that cost most come first
    verification: Verification | None
    targets: dict[str, Simulation]
    scratch: dict[str, dict[str, Scratch]]  # by stream and stage; all targets lay them out alike
    macs: dict[str, Macs]  # by stream; they do not depend on the target
    mac_rule: str
    components: tuple[Figure, ...]  # that went into any power or latency, each once, unverified ones first
    provenance: Provenance
    boards: tuple[Board, ...] = ()  # on which the self-tests of these bundles ran; absent where there are none


def gather(run: RunDir, targets: Sequence[str]) -> Facts:
    """Collect the numbers of ``targets``.

    Raises:
        UserError: a stage is missing or stale; the message names the command that mends it.
    """
    run.require(*(f"simulate.{target}" for target in targets))
    simulations: dict[str, Simulation] = {target: run.summary(f"simulate.{target}") for target in targets}
    metrics: Metrics = run.summary("train")
    data: DataSummary = run.summary("data")
    return Facts(
        what=_what(run, metrics),
        sessions=data.sessions,
        ok=all(simulation.ok for simulation in simulations.values()),
        bit_exact=all(stream.bit_exact for simulation in simulations.values() for stream in simulation.streams.values()),
        verdicts={target: _verdict(simulation) for target, simulation in simulations.items()},
        accuracy=Accuracies(decoders=metrics.decoders, scored=run.summary("quantize")),
        quantization=_quantization(run),
        verification=run.summary("verify") if run.is_complete("verify") else None,
        targets=simulations,
        scratch=_scratch(run, targets[0]),
        macs=_macs(next(iter(simulations.values()))),
        mac_rule=MAC_RULE,
        components=_components(simulations),
        provenance=_provenance(run, targets),
        **({"boards": boards} if (boards := boards_of(run, targets)) else {}),
    )


def _quantization(run: RunDir) -> dict[str, TensorTable]:
    remedy = f"run 'realm-edge quantize --out {run.path}'"
    return {
        name: TensorTable(
            tensors=tuple(sorted(stream.tensors, key=lambda row: -row.nrmse_alone)), sizes=stream.sizes, compared_bins=stream.compared_bins
        )
        for name, stream in read_document(run.file("calibration.json"), CALIBRATION, Calibration, remedy).streams.items()
    }


def _what(run: RunDir, metrics: Metrics) -> What:
    settings = run.settings
    return What(
        preset=settings.preset,
        transform=settings.behavior_transform,
        output_delay_ms=settings.output_delay_ms,
        features=run.requested("data").get("features"),
        **{name: getattr(metrics, name) for name in Metrics.model_fields if name in What.model_fields},
    )


def _verdict(simulation: Simulation) -> Holds:
    reasons = [
        f"{name}: the firmware differs from onnxruntime in '{stream.mismatch.tensor}' at step {stream.mismatch.step}"
        for name, stream in simulation.streams.items()
        if stream.mismatch
    ]
    how = {"broken": "breaks its budget", "holds only nominally": "holds only nominally"}
    reasons += [f"{row.name} {how[row.state]}: {row.lever}" for row in simulation.budgets if row.state in how]
    return Holds(ok=simulation.ok, ok_nominally=simulation.ok_nominally, reasons=tuple(reasons))


def _scratch(run: RunDir, target: str) -> dict[str, dict[str, Scratch]]:
    compiled: dict[str, dict[str, CompiledStage]] = run.summary(f"compile.{target}")
    return {
        name: {
            stage: Scratch(
                bytes=about.scratch_bytes, tensors=dict(sorted(about.bytes_by_tensor.scratch.items(), key=lambda item: -item[1]))
            )
            for stage, about in stages.items()
        }
        for name, stages in compiled.items()
    }


def _macs(simulation: Simulation) -> dict[str, Macs]:
    rows = {name: [kernel for kernel in stream.kernels if kernel.macs] for name, stream in simulation.streams.items()}
    return {
        name: Macs(total=sum(row.macs for row in kernels), layers=tuple(Layer(node=row.node, macs=row.macs) for row in kernels))
        for name, kernels in rows.items()
    }


def _components(simulations: Mapping[str, Simulation]) -> tuple[Figure, ...]:
    streams = [stream for simulation in simulations.values() for stream in simulation.streams.values()]
    figures = {figure.name: figure for stream in streams for figure in stream.components}
    return tuple(sorted(figures.values(), key=lambda figure: (figure.confidence != "unverified", figure.name)))


def _provenance(run: RunDir, targets: Sequence[str]) -> Provenance:
    verified = ["verify"] if run.is_complete("verify") else []
    stages = ["data", "train", "export", "quantize", *verified, *(f"{verb}.{target}" for target in targets for verb in PER_TARGET)]
    asked = run.requested("data")
    return Provenance(
        recordings=asked.get("recordings", ()),
        behavior=asked.get("behavior"),
        settings_sha256=run.settings.digest(),
        settings_toml=text_of(run.settings),  # the file may hold comments
        stages=tuple(PerformedStage(stage=stage, command=_command(run, stage, asked), sha256=run.digest(stage)) for stage in stages),
        versions={name: number for stage in stages for name, number in run.made_by(stage).items()},
    )


def _command(run: RunDir, stage: str, asked: dict[str, Any]) -> str:
    """As it is given within the run's directory: where that lies is no part of a report."""
    verb, _, target = stage.partition(".")
    words = ["realm-edge", verb]
    if verb == "data":
        words += ["--config", "config.toml"]
        words += [word for name, _ in asked.get("recordings", []) for word in ("--data", name)] + options_of(asked)
    words += ["--target", target] if target else []
    budget = run.requested(stage).get("budget")
    words += ["--budget", f"sha256:{budget}"] if budget else []
    components = run.requested(stage).get("components")
    words += ["--components", f"sha256:{components}"] if components else []
    bins = run.requested(stage).get("bins")
    words += ["--bins", str(bins)] if bins else []
    return shlex.join([*words, "--out", "."])
