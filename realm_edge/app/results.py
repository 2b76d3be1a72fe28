"""What the functions of :mod:`realm_edge.app.api` return: where a run's files are, and the figures that are asked for first."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realm_edge.app.inspection_text import lines
from realm_edge.sources import Recordings


@dataclass(frozen=True)
class Loaded:
    """Recordings that were looked at; ``print`` shows what is in them, as ``realm-edge data inspect`` does."""

    recordings: Recordings  # the files, and what is taken of each; no files: the synthetic ones
    # What :func:`realm_edge.inspection.describe` says of each file; nothing of synthetic recordings, or of features.
    contents: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        if not self.recordings.files:
            return "synthetic recordings: no evidence about brains"
        if self.recordings.features is not None:
            return "\n".join(f"{path}\nfeatures   {self.recordings.features}" for path in self.recordings.files)
        return "\n".join(line for summary in self.contents for line in lines(summary))


@dataclass(frozen=True)
class Trained:
    """A run whose decoders are trained. Accuracies are on the test part of the held-out session."""

    run: Path  # the run's directory, which the other functions take
    synthetic: bool  # the recordings are: no evidence about brains
    r2: dict[str, float]  # by decoder, float: "lfp_student", "lfp_wiener", and where there are spikes "spike_student", "spike_wiener"
    predictions: Path  # .npz: "bins" (n,) int64, "true" (n, dims), and one (n, dims) float32 array a decoder, in the target's unit
    metrics: dict[str, Any] = field(repr=False)  # content of metrics.json


@dataclass(frozen=True)
class Quantized:
    """Int8 step graphs, by stream: "lfp", and "spike" where there are spikes. R2 is that on the bins that the firmware decodes."""

    run: Path
    decoders: dict[str, Path]  # ONNX
    r2_float: dict[str, float]
    r2_int8: dict[str, float]
    nrmse_int8_float: dict[str, float]  # root mean square of int8 - float over the standard deviation of float
    summary: dict[str, Any] = field(repr=False)  # of :func:`quantization.scores.score`, with sizes and warnings


@dataclass(frozen=True)
class Compiled:
    """Firmware for one target, by stream."""

    run: Path
    target: str
    bundles: dict[str, Path]  # directories: kernels, headers, driver and metadata.json
    weight_bytes: dict[str, int]  # of front end and decoder


@dataclass(frozen=True)
class Figures:
    """What the simulation of one stream found."""

    bit_exact: bool  # the firmware equals onnxruntime in every output and state
    steps: int  # bins that it ran
    cycles_per_step: float
    cycles_range: tuple[float, float]  # low and high, where the core's table is not validated against RTL
    fits: str  # whether it fits the clock and the link, in words
    power_uw: float | None  # mean of sensing, microcontroller and radio; None where it does not fit, or no figure of the part is known
    latency_ms: float | None  # from a change at the start of a bin to the end of the packet that shows it; None where it does not fit
    flash_bytes: int
    ram_bytes: int
    r2_float: float
    r2_int8: float


@dataclass(frozen=True)
class Simulated:
    """What the simulation of one target found."""

    run: Path
    target: str
    part: str
    ok: bool  # every stream is bit exact, and the LFP stream keeps every budget
    synthetic: bool
    lfp: Figures
    spike: Figures | None  # the baseline, where there are spikes
    broken: tuple[str, ...]  # budgets that the LFP stream breaks
    summary: dict[str, Any] = field(repr=False)  # content of simulation/<target>.json


@dataclass(frozen=True)
class Reported:
    """The report of a run."""

    run: Path
    page: Path  # HTML in one file
    numbers: Path  # the same as JSON
    ok: bool  # every target is bit exact and within its budgets
    reasons: dict[str, tuple[str, ...]]  # by target, why not
