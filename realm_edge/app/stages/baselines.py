"""The baselines stage: Wiener filter and GRU through the student's own chain, decoder against decoder, all of them firmware.

They read what the run's integer front end made of the golden samples, so that they differ in the decoder alone.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from export.baseline_graphs import gru_graph, wiener_graph
from export.stepgraph import metadata, save_model
from export.trial import load_tried
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.simulate import StreamResult, simulate_stream
from firmware_sim.targets import get_target
from quantization.calibrate import observe, warm_up_bins
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.golden import Golden, float_decoded, in_units, run_decoder
from realm_edge import wiener
from realm_edge.app import artefacts
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.data import load_sessions
from realm_edge.app.summaries import Baselines, ComparedDecoder, DecoderCost
from realm_edge.baselines import cost, recurrent, sequence
from realm_edge.checkpoint import load_student
from realm_edge.metrics import accuracy, nrmse
from realm_edge.progress import Progress
from realm_edge.segments import learnt_from
from realm_edge.session import Session
from realm_edge.streams import LFP, Stream
from realm_edge.training.loop import Phase
from realm_edge.training.material import Material, gather

STUDENT = "student"


@dataclass(frozen=True)
class _Graphs:
    """One decoder's step graphs."""

    exact: onnx.ModelProto
    integers: onnx.ModelProto


def run(run: RunDir, progress: Progress, targets: Sequence[str]) -> Baselines:
    """Fit Wiener filter and GRU on each stream and run them, and the student, on ``targets``.

    Their step graphs are ``baselines/<stream>_<name>.onnx`` and ``.int8.onnx``.

    The GRU has about as many parameters as the student and its optimiser. It is trained on the CPU; what was trained is kept.

    Raises:
        UserError: the quantize stage is missing or stale, a decoder does not fit the part, or QEMU is missing.
    """
    run.require("quantize")
    sessions = load_sessions(run)
    heldout = next(session for session in sessions if session.heldout)
    outputs: list[Path] = []
    streams: dict[str, dict[str, ComparedDecoder]] = {}
    for stream in artefacts.present(run):
        material = gather(sessions, heldout, "features" if stream is LFP else "counts", run.settings.bin_ms / 1000)
        decoders = {
            STUDENT: _Graphs(
                load_tried(artefacts.float_decoder(run, stream), "decoder"), load_tried(artefacts.int8_decoder(run, stream), "decoder")
            )
        }
        scale = metadata(decoders[STUDENT].integers)["io"]["features"]["scale"]
        kept, starts = learnt_from(heldout.starts, heldout.valid, heldout.train_end)
        training = material.inputs[: heldout.train_end][kept]
        warm_up = warm_up_bins(starts, len(training))
        for name, graph in _fitted(run, stream, heldout, material, progress):
            observed = observe(graph, training, warm_up, progress, starts)
            formats = Formats(run.settings.quantize.activations)
            graphs = _Graphs(graph, quantize_decoder(graph, observed, scale, metadata(graph)["made_from"], formats))
            decoders[name] = graphs
            for model, ending in ((graphs.exact, "onnx"), (graphs.integers, "int8.onnx")):
                outputs.append(run.file("baselines", f"{stream.name}_{name}.{ending}"))
                save_model(model, outputs[-1])
        golden = Golden.load(artefacts.golden(run, stream))
        streams[stream.name] = {
            name: _row(graphs, stream, golden, heldout, targets)
            for name, graphs in progress.track(decoders.items(), f"{stream.name} decoders as firmware", len(decoders))
        }
    summary = Baselines(synthetic=heldout.synthetic, streams=streams)
    run.complete("baselines", outputs, summary)
    return summary


def _fitted(run: RunDir, stream: Stream, session: Session, material: Material, progress: Progress) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The classic decoders of a stream as float step graphs."""
    settings, series = run.settings, material.decoded
    made_from = {"settings": settings.digest(), "data": run.lineage("data")}
    about = (series.statistics, 1000.0 / settings.bin_ms, session.target_names, session.target_unit, made_from)
    inputs, targets = series.inputs.numpy(), series.targets.numpy()
    fitted = wiener.fit(inputs, targets, series.train_end, session.starts)
    yield "wiener", wiener_graph(fitted, *about)

    name = f"{stream.name}_gru"
    partial = run.file("baselines", f"{name}.safetensors")
    phase = Phase(name, settings.seed, partial, run.digest("data"))
    size = cost.parameters(load_student(artefacts.student(run, stream)))
    decoder = recurrent.build("gru", size, inputs.shape[1], targets.shape[1], phase)
    sequence.train(decoder, settings.finetune, [series], settings.window_bins, phase, progress)
    yield "gru", gru_graph(decoder, *about)


def _row(graphs: _Graphs, stream: Stream, golden: Golden, session: Session, targets: Sequence[str]) -> ComparedDecoder:
    """Accuracy on the golden bins behind the warm-up, and what the firmware costs."""
    decoded, states = run_decoder(graphs.integers, golden.features, golden.starts)
    read = (golden.features * np.asarray(metadata(graphs.integers)["io"]["features"]["scale"])).astype(np.float32)
    exact = in_units(float_decoded(graphs.exact, read, golden.starts), graphs.exact)[golden.warm_up :]
    integers = in_units(decoded, graphs.integers)[golden.warm_up :]
    first = golden.first_bin + golden.warm_up
    true = session.targets[first : first + len(integers)]
    results = {target: _simulated(graphs.integers, stream, golden, Expected(decoded, states), target) for target in targets}
    stage = next(iter(results.values())).bundle.decoder
    return ComparedDecoder(
        r2_float=accuracy(true, exact).scores(session.target_names).r2,
        r2_int8=accuracy(true, integers).scores(session.target_names).r2,
        nrmse_int8_float=nrmse(integers, exact),
        weight_bytes=stage.weight_bytes,
        state_bytes=stage.state_bytes,
        scratch_bytes=stage.scratch_bytes,
        macs=sum(kernel.macs for kernel in stage.kernels),
        targets={target: _cost(result) for target, result in results.items()},
    )


def _simulated(decoder: onnx.ModelProto, stream: Stream, golden: Golden, expected: Expected, target: str) -> StreamResult:
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as name:
        folder = Path(name)
        save_model(decoder, folder / "decoder.onnx")
        part = get_target(target)
        write_bundle(folder / "bundle", stream.name, part.build, None, folder / "decoder.onnx", with_selftest=False)
        return simulate_stream(folder / "bundle", part, golden.features, expected, folder / "work", starts=golden.starts)


def _cost(result: StreamResult) -> DecoderCost:
    cycles = result.regions["decoder"].cycles
    return DecoderCost(bit_exact=result.bit_exact, cycles=cycles.cycles, cycles_range=(cycles.low, cycles.high))
