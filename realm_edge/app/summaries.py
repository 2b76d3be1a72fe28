"""What each stage says of itself, in its record and to who called it. Light to import."""

from typing import Any

from firmware_sim.budgets import Row
from firmware_sim.ranges import Comparison
from firmware_sim.stream_report import Core, StreamReport
from quantization.summaries import QuantizedStream, VerifiedStream
from realm_edge.app.verdict.form import Verdict
from realm_edge.documents import Form, Number
from realm_edge.summaries import HeldOutScores, Pretraining, SessionSummary
from realm_edge.training.history import Fit

METRICS = "realm-edge metrics/1"  # metrics.json
SIMULATION = "realm-edge simulation/2"  # simulation/<target>.json
VERIFICATION = "realm-edge verification/1"  # verification.json


class DataSummary(Form):
    """Of the data stage."""

    synthetic: bool
    single_recording: bool
    sessions: tuple[SessionSummary, ...]  # the decoded one last


class Bins(Form):
    """Of the decoded session's parts."""

    train: int
    validation: int
    test: int


class Machine(Form):
    """What training ran on."""

    device: str
    processes: int
    precision: str


class Teacher(Form):
    """Stays outside the implant."""

    parameters: int
    pretrain: Fit


class StudentScores(HeldOutScores):
    """Of a decoder that is trained step by step."""

    parameters: int
    epochs: int  # of all phases
    phases: dict[str, Fit]


class WienerScores(HeldOutScores):
    """Of a ridge regression on lagged inputs."""

    parameters: int
    lags: int
    alpha: Number  # the penalty


class Metrics(Form):
    """Of the train stage: ``metrics.json``. Accuracies are on the decoded session's test part."""

    session: str  # the decoded one
    synthetic: bool
    spike_source: str
    target_names: tuple[str, ...]
    target_unit: str
    bin_ms: int
    segments: int
    bins: Bins
    machine: Machine
    pretraining: dict[str, Pretraining]  # by stream
    teacher: Teacher
    decoders: dict[str, StudentScores | WienerScores]  # "lfp_student", "lfp_wiener", and with spikes "spike_student", "spike_wiener"


class ExportErrors(Form):
    """Of the export stage: a stream's largest differences over the largest values, onnxruntime against scipy and torch."""

    frontend_error: Number | None  # None where the stream has no front end
    decoder_error: Number


class BytesByTensor(Form):
    """Those of the scratch are more than its block: bytes are used again."""

    constants: dict[str, int]
    states: dict[str, int]
    scratch: dict[str, int]


class CompiledStage(Form):
    """Of the compile stage: a front end or a decoder."""

    weight_bytes: int
    state_bytes: int
    scratch_bytes: int
    bytes_by_tensor: BytesByTensor
    macs_by_layer: dict[str, int]  # multiply-accumulates a step, by node


class Simulation(Form):
    """Of the simulate stage: ``simulation/<target>.json``."""

    target: str
    part: str
    core: Core
    synthetic: bool
    streams: dict[str, StreamReport]
    budgets: tuple[Row, ...]  # of the LFP stream; the spike baseline's are there for comparison
    comparisons: tuple[Comparison, ...]  # of the LFP stream's power with the spike baseline's
    ok: bool  # every bit is equal, and the LFP stream keeps every budget, also with all figures at their worse ends
    ok_nominally: bool  # the same, with all figures at their nominal ones
    unverified: tuple[str, ...]  # figures that no source was read for, in words


class Holds(Form):
    """Whether a target holds, and every reason why not, or why only nominally."""

    ok: bool
    ok_nominally: bool
    reasons: tuple[str, ...]


class ReportSummary(Form):
    """Of the report stage."""

    ok: bool
    verdicts: dict[str, Holds]  # by target


class DecoderCost(Form):
    """What a decoder step takes on one target."""

    bit_exact: bool
    cycles: Number
    cycles_range: tuple[Number, Number]


class ComparedDecoder(Form):
    """One decoder behind the integer front end; float and int8 read the same integer features."""

    r2_float: Number
    r2_int8: Number
    nrmse_int8_float: Number
    weight_bytes: int
    state_bytes: int
    scratch_bytes: int
    macs: int  # of one step
    targets: dict[str, DecoderCost]


class Baselines(Form):
    """Of the baselines stage."""

    synthetic: bool
    streams: dict[str, dict[str, ComparedDecoder]]  # by stream and decoder


class Verification(Form):
    """Of the verify stage: ``verification.json``."""

    ok: bool
    synthetic: bool
    bin_ms: int
    streams: dict[str, VerifiedStream]


SUMMARIES: dict[str, Any] = {  # of each stage
    "data": DataSummary,
    "train": Metrics,
    "export": dict[str, ExportErrors],  # by stream
    "quantize": dict[str, QuantizedStream],
    "compile": dict[str, dict[str, CompiledStage]],  # by stream and "frontend" or "decoder"
    "simulate": Simulation,
    "report": ReportSummary,
    "baselines": Baselines,
    "verify": Verification,
    "verdict": Verdict,
}
