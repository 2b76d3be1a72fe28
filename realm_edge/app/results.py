"""What the functions of :mod:`realm_edge.app.api` return: where a run's files are, and the figures that are asked for first."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantization.summaries import QuantizedStream
from realm_edge.app.inspection_text import lines
from realm_edge.app.summaries import Metrics, Simulation
from realm_edge.sources import Recordings


@dataclass(frozen=True)
class Loaded:
    """Recordings that were looked at; ``print`` shows what is in them, as ``realm-edge data inspect`` does.

    Attributes:
        recordings: the files, and what is taken of each; no files: the synthetic ones.
        contents: what :func:`realm_edge.inspection.describe` says of each file; nothing of synthetic recordings, or of features.
    """

    recordings: Recordings
    contents: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        if not self.recordings.files:
            return "synthetic recordings: no evidence about brains"
        if self.recordings.features is not None:
            return "\n".join(f"{path}\nfeatures   {self.recordings.features}" for path in self.recordings.files)
        return "\n".join(line for summary in self.contents for line in lines(summary))


@dataclass(frozen=True)
class Trained:
    """A run whose decoders are trained. Accuracies are on the test part of the held-out session.

    Attributes:
        run: the run's directory, which the other functions take.
        synthetic: whether the recordings are: no evidence about brains.
        r2: by decoder, float: "lfp_student", "lfp_wiener", and where there are spikes "spike_student", "spike_wiener".
        predictions: .npz: "bins" (n,) int64, "true" (n, dims), and one (n, dims) float32 array for each decoder, in the target's unit.
        metrics: content of metrics.json.
    """

    run: Path
    synthetic: bool
    r2: dict[str, float]
    predictions: Path
    metrics: Metrics = field(repr=False)


@dataclass(frozen=True)
class Quantized:
    """Int8 step graphs, by stream: "lfp", and "spike" where there are spikes. R2 is that on the bins that the firmware decodes.

    Attributes:
        run: the run's directory.
        decoders: the int8 step graphs, ONNX.
        r2_float: of the float decoder.
        r2_int8: of the int8 front end and decoder.
        nrmse_int8_float: root mean square of int8 - float over the standard deviation of float.
        summary: more scores, sizes and warnings.
    """

    run: Path
    decoders: dict[str, Path]
    r2_float: dict[str, float]
    r2_int8: dict[str, float]
    nrmse_int8_float: dict[str, float]
    summary: dict[str, QuantizedStream] = field(repr=False)


@dataclass(frozen=True)
class Compiled:
    """Firmware for one target, by stream.

    Attributes:
        run: the run's directory.
        target: its name.
        bundles: directories: kernels, headers, driver and metadata.json.
        weight_bytes: of front end and decoder.
    """

    run: Path
    target: str
    bundles: dict[str, Path]
    weight_bytes: dict[str, int]


@dataclass(frozen=True)
class Figures:
    """What the simulation of one stream found.

    Attributes:
        bit_exact: whether the firmware equals onnxruntime in every output and state.
        steps: bins that it ran.
        cycles_per_step: of front end and decoder, with wait states; a step is a bin.
        cycles_range: low and high; they differ where the core's table, or the model of its flash, leaves something open.
        flash_bytes: code, wherever it runs from, constants and weights.
        ram_bytes: states, scratch, stack, the ADC's buffer, and code where it runs from RAM.
        fits: whether it fits the clock and the link, in words.
        power_uw: microwatts, mean of the whole implant; None where it does not fit, or no figure of the part is known.
        power_range: the same with all figures and cycles at their better and at their worse ends.
        latency_ms: milliseconds from a change at the start of a bin to the end of the packet that shows it; None where it does not fit.
        r2_float: of the float decoder.
        r2_int8: of the firmware.
    """

    bit_exact: bool
    steps: int
    cycles_per_step: float
    cycles_range: tuple[float, float]
    fits: str
    power_uw: float | None
    power_range: tuple[float | None, float | None]
    latency_ms: float | None
    flash_bytes: int
    ram_bytes: int
    r2_float: float
    r2_int8: float


@dataclass(frozen=True)
class Simulated:
    """What the simulation of one target found.

    Attributes:
        run: the run's directory.
        target: its name.
        part: the microcontroller.
        ok: whether every stream is bit exact, and the LFP stream keeps every budget, also with all figures at their worse ends.
        synthetic: whether the recordings are.
        lfp: of the LFP stream.
        spike: of the baseline; None where there are no spikes.
        broken: budgets that the LFP stream breaks.
        only_nominally: budgets that it keeps with nominal figures alone.
        summary: content of simulation/<target>.json.
    """

    run: Path
    target: str
    part: str
    ok: bool
    synthetic: bool
    lfp: Figures
    spike: Figures | None
    broken: tuple[str, ...]
    only_nominally: tuple[str, ...]
    summary: Simulation = field(repr=False)


@dataclass(frozen=True)
class Reported:
    """The report of a run.

    Attributes:
        run: the run's directory.
        page: HTML in one file.
        numbers: the same as JSON.
        ok: whether every target is bit exact and within its budgets.
        reasons: by target, why not.
    """

    run: Path
    page: Path
    numbers: Path
    ok: bool
    reasons: dict[str, tuple[str, ...]]
