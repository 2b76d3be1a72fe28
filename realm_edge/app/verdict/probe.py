"""What firmware takes on a part: compiled, run in QEMU over at least a second of signal, equal to onnxruntime in every bit.

Of a run's own graphs, and of untrained ones where a run has another number of channels. What was counted is kept.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import metadata, save_model
from firmware_sim.build import TooLarge
from firmware_sim.bundle import load_bundle
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.cores import load_core
from firmware_sim.simulate import StreamResult, build, simulate_built
from firmware_sim.stream_report import ranged_case
from firmware_sim.targets import Target, get_target
from firmware_sim.timing import Cycles
from firmware_sim.verdict.counts import COUNTS, Counts, Signal
from firmware_sim.workload import Delays, Sensed
from quantization.golden import Golden, run_decoder, run_frontend
from quantization.inputs import stored
from realm_edge.app import artefacts
from realm_edge.app.rundir import MAKERS, RunDir
from realm_edge.app.stages.simulate import delays, sensed
from realm_edge.app.summaries import DataSummary
from realm_edge.app.verdict.untrained import noise, signal_settings, untrained
from realm_edge.documents import jsonable, read_document, write_document
from realm_edge.errors import UserError
from realm_edge.files import sha256_json
from realm_edge.progress import Progress
from realm_edge.segments import Starts, within
from realm_edge.settings import Settings
from realm_edge.streams import LFP, SPIKE
from realm_edge.versions import versions_of

LEAST_S = 1.0  # of signal, that firmware is run over
PACKAGES = tuple(sorted({*MAKERS["train"], *MAKERS["export"], *MAKERS["quantize"], *MAKERS["compile"], *MAKERS["simulate"]}))


@dataclass(frozen=True)
class _Vectors:
    """What firmware reads, and what onnxruntime makes of it."""

    samples: NDArray[np.int16]  # (ticks, channels), or the features of each bin
    expected: Expected
    starts: Starts
    what: str  # "noise"


@dataclass(frozen=True)
class _Firmware:
    """One firmware on one part, before it is compiled."""

    signal: Signal
    channels: int
    target: Target
    frontend: Path | None  # integer step graphs
    decoder: Path
    sensed: Sensed
    delays: Delays

    def __str__(self) -> str:
        behind = "" if self.frontend else " behind a circuit"
        return f"{self.signal}, {self.channels} channels{behind}, on {self.target.part}"


def count(
    signal: Signal, channels: int, frontend: bool, target: str, settings: Settings, outputs: int, folder: Path, progress: Progress
) -> Counts:
    """What a student of the settings' size takes, untrained, at any number of channels.

    Args:
        signal: whose chain.
        channels: electrodes.
        frontend: whether the firmware computes the features; else a circuit does, and it reads those of each bin.
        target: a name that ``realm-edge targets`` lists.
        settings: of a run.
        outputs: values that the decoder answers.
        folder: where counts are kept; what is there already is not counted again.

    Returns:
        The counts. Where the part's memory is too small, nothing was run and there are no cycles; where its clock is too slow, there are.

    Raises:
        UserError: a bit differs from onnxruntime's, settings that cannot be computed in integers, QEMU missing, or an unknown target.
    """
    part, own = get_target(target), signal_settings(settings, signal)
    lfp = signal != "spike"
    of_chain = {"bin_ms", "output_delay_ms", "student", "quantize", "lfp" if lfp else "spike"}
    decides = {"settings": own.model_dump(mode="json", include=of_chain), "outputs": outputs}

    def make(work: Path) -> Counts:
        made = untrained(signal, channels, own, outputs)
        decoder = _saved(made.decoder, work / "decoder.onnx")
        first = _saved(made.frontend, work / "frontend.onnx") if frontend else None
        firmware = _Firmware(signal, channels, part, first, decoder, sensed(own, lfp), delays(own, lfp, computed=True))
        return _counted(firmware, lambda: _untrained_vectors(signal, channels, own, outputs, frontend), work, progress)

    return _kept(folder, f"{signal}-{channels}-{'software' if frontend else 'circuit'}", part, decides, make)


def count_run(run: RunDir, signal: Signal, frontend: bool, target: str, folder: Path, progress: Progress) -> Counts:
    """As :func:`count`, of a run's own trained graphs at its own number of channels, over its golden samples.

    Args:
        signal: what the run's stream is called here: "spike" is its spike stream, all others are its LFP stream.

    Raises:
        UserError: as :func:`count`; also a run that is not quantised, or that has no such stream, front end or number of electrodes.
    """
    run.require("quantize")
    part, stream = get_target(target), SPIKE if signal == "spike" else LFP
    if stream not in artefacts.present(run):
        raise UserError(f"{run.path}: it has no {stream.name} decoder: its recordings have no spikes, or they were left out")
    data: DataSummary = run.summary("data")
    [session] = [each for each in data.sessions if each.heldout]
    graph = artefacts.int8_frontend(run, stream)
    if frontend and not graph.exists():
        raise UserError(f"{run.path}: it has no {stream.name} front end: its recordings hold what one makes of samples")
    electrodes = session.spike_electrodes if stream is SPIKE and not graph.exists() else session.channels
    if not electrodes:
        raise UserError(f"{run.path}: its recordings do not say how many electrodes the {stream.name} decoder needs: nothing can be priced")
    late = delays(run.settings, stream is LFP, computed=True, resampling_s=session.resampling_delay_ms / 1000)
    what = sensed(run.settings, stream is LFP)
    firmware = _Firmware(signal, electrodes, part, graph if frontend else None, artefacts.int8_decoder(run, stream), what, late)

    def make(work: Path) -> Counts:
        return _counted(firmware, lambda: _golden_vectors(artefacts.golden(run, stream), frontend, run.settings), work, progress)

    name = f"run-{signal}-{'software' if frontend else 'circuit'}"
    return _kept(folder, name, part, {"quantize": run.digest("quantize")}, make)


def _kept(folder: Path, name: str, part: Target, decides: dict[str, Any], make: Callable[[Path], Counts]) -> Counts:
    """What was counted before from the same, or is counted now. The part's data and its core's table decide too."""
    key = sha256_json([decides, jsonable(part), jsonable(load_core(part.core)), versions_of(PACKAGES)])
    path = folder / f"{name}-{part.name}-{key[:16]}.json"
    if path.exists():
        return read_document(path, COUNTS, Counts, "remove it, and it is counted again")
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as work:
        counts = make(Path(work))
    write_document(path, COUNTS, counts, PACKAGES)
    return counts


def _counted(firmware: _Firmware, vectors: Callable[[], _Vectors], work: Path, progress: Progress) -> Counts:
    """Compile, and where it fits the part's memory, run."""
    progress.say(f"  {firmware}")
    target, stream = firmware.target, SPIKE if firmware.signal == "spike" else LFP
    write_bundle(work / "bundle", stream.name, target.build, firmware.frontend, firmware.decoder, with_selftest=False)
    try:
        built = build(work / "bundle", target, work / "build")
    except TooLarge as error:
        return _counts(firmware, work / "bundle", error.fit_text)
    flash, ram = built.memory.flash, built.memory.ram + built.bundle.ring_bytes
    if problem := _too_small(target, flash, ram):
        return _counts(firmware, work / "bundle", problem, flash_bytes=flash, ram_bytes=ram)
    given = vectors()
    result = simulate_built(built, given.samples, given.expected, work / "run", starts=given.starts)
    if (differs := result.mismatch) is not None:
        raise UserError(
            f"{firmware}: bin {differs.step}, {differs.tensor}{list(differs.index)}: the firmware has {differs.got}, onnxruntime "
            f"{differs.expected}: please report it"
        )
    cycles = _cycles(result, firmware)
    bin_s = 1 / built.bundle.decoder.rate_hz
    needed = sum(nominal for name, (_, nominal, _) in cycles.items() if name != "last_block_cycles") / bin_s
    ran = f"{result.steps * bin_s:.1f} s of {given.what}, {result.steps} bins, equal to onnxruntime"
    slow = f"does not fit: needs a clock of {needed / 1e6:.1f} MHz, {target.part} has {target.clock_hz / 1e6:.0f} MHz; "
    text = slow + ran if needed > target.clock_hz else ran
    return _counts(firmware, work / "bundle", text, fits=needed <= target.clock_hz, flash_bytes=flash, ram_bytes=ram, **cycles)


def _too_small(target: Target, flash: int, ram: int) -> str:
    """What of the part's memory is too small, with the ADC's buffer in it; empty where nothing is."""
    if flash > target.flash_bytes:
        return f"does not fit: needs {flash} bytes of flash, {target.part} has {target.flash_bytes}"
    if ram > target.ram_bytes:
        return f"does not fit: needs {ram} bytes of RAM with the ADC's buffer, {target.part} has {target.ram_bytes}"
    return ""


def _cycles(result: StreamResult, firmware: _Firmware) -> dict[str, tuple[float, float, float]]:
    """Of a bin, by field of :class:`Counts`."""
    work = ranged_case(result, firmware.sensed, firmware.delays).workload
    both = {f"{name}_cycles": _ends(result.regions[name].cycles) for name in ("decoder", "send")}
    names = ("frontend_cycles", "last_block_cycles", "loop_cycles")
    return both | {name: (getattr(work.low, name), getattr(work.nominal, name), getattr(work.high, name)) for name in names}


def _ends(cycles: Cycles) -> tuple[float, float, float]:
    return cycles.low, cycles.cycles, cycles.high


def _counts(firmware: _Firmware, bundle_dir: Path, text: str, fits: bool = False, **counted: Any) -> Counts:
    """What is known of a firmware, and what was ``counted``; the rest is None."""
    bundle = load_bundle(bundle_dir)
    unknown = dict.fromkeys(name for name in Counts.model_fields if name.endswith(("_cycles", "_bytes")))
    [(features,), (output_values,)] = [each[0].shape for each in (bundle.decoder.inputs, bundle.decoder.outputs)]
    about = {
        "signal": firmware.signal,
        "channels": firmware.channels,
        "target": firmware.target.name,
        "frontend": firmware.frontend is not None,
        "fits": fits,
        "text": text,
        "rate_hz": firmware.sensed.rate_hz,
        "bandwidth_hz": firmware.sensed.bandwidth_hz,
        "features": features,
        "output_values": output_values,
        "bin_s": 1 / bundle.decoder.rate_hz,
        "ticks_per_bin": bundle.ticks_per_bin,
        "blocks_per_bin": bundle.blocks_per_bin,
        "delay_s": sum(asdict(firmware.delays).values()),
    }
    return Counts(**about | unknown | counted)


def _bins(settings: Settings) -> int:
    """That :data:`LEAST_S` takes."""
    return -(-round(1000 * LEAST_S) // settings.bin_ms)


@lru_cache(maxsize=8)  # every signal with front end and without, in whatever order parts come
def _untrained_vectors(signal: Signal, channels: int, settings: Settings, outputs: int, frontend: bool) -> _Vectors:
    """Noise through the front end; without one, the features of the noise that was calibrated on, over and over."""
    made, bins = untrained(signal, channels, settings, outputs), _bins(settings)
    if frontend:
        samples = noise(signal, bins * made.ticks, channels)
        features, states = run_frontend(made.frontend, samples)
    else:
        again = np.resize(made.features, (bins, made.features.shape[1]))
        samples, states = stored(again, metadata(made.decoder)["io"]["features"]["scale"]), {}
        features = samples
    decoded, decoder_states = run_decoder(made.decoder, features)
    return _Vectors(samples, Expected(decoded, states | decoder_states, features if frontend else None), (0,), "noise")


def _golden_vectors(path: Path, frontend: bool, settings: Settings) -> _Vectors:
    golden, bins = Golden.load(path), _bins(settings)
    if len(golden.decoded) < bins:
        raise UserError(f"{path}: it holds {len(golden.decoded)} bins, less than {LEAST_S:g} s: use a longer recording")
    states = golden.decoder_states | (golden.frontend_states if frontend else {})
    features = golden.features[:bins]
    samples = golden.samples[: bins * golden.ticks_per_bin] if frontend and golden.samples is not None else features
    first = {name: values[:bins] for name, values in states.items()}
    expected = Expected(golden.decoded[:bins], first, features if frontend else None)
    return _Vectors(samples, expected, within(golden.starts, 0, bins), "the run's recording")


def _saved(model: onnx.ModelProto, path: Path) -> Path:
    save_model(model, path)
    return path
