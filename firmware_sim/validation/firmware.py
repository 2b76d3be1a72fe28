"""Whole firmwares for the validation: what this project compiles, with random weights, on synthetic noise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import ArrayLike, NDArray

from export.baseline_graphs import gru_graph, wiener_graph
from export.decoder_graph import decoder_graph
from export.foreign.expression import X, apply, function_of
from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from export.functions import functions
from export.graph_parts import behaviour, linear, normalised
from export.pointwise import PREFIX
from export.stepgraph import GraphBuilder, metadata, save_model
from firmware_sim.build import build_firmware
from firmware_sim.bundle import Bundle, load_bundle
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.compiler.names import DEFAULT_NAME
from firmware_sim.targets import Target
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.frontend import quantize_frontend
from quantization.golden import run_frontend
from realm_edge.baselines.recurrent import Recurrent
from realm_edge.frontend import design, design_spike, lfp_features, spike_counts, spike_threshold
from realm_edge.models.student import Student
from realm_edge.settings import Activations, Settings, preset
from realm_edge.training.segments import Statistics
from realm_edge.wiener import Wiener

CHANNELS, BINS, WARM_UP, RUN_BINS = 8, 200, 50, 3
GRU_WIDTH, WIENER_LAGS, HIDDEN = 24, 8, 32
UNITS, HEADS, KEYS, VALUES = 12, 2, 8, 6
BIN_RATE, TARGETS, UNIT = 50.0, ("vx", "vy"), "cm/s"
BOARD = ("bench_stream.c", "bench_board.c", "bench_board.h")


@dataclass(frozen=True)
class Graphs:
    """Integer step graphs of one firmware, and ``samples`` (ticks, values) of its first bins; without a front end these are features."""

    stream: str
    frontend: onnx.ModelProto | None
    decoder: onnx.ModelProto
    samples: NDArray[np.int16]


@dataclass(frozen=True)
class _Input:
    """A stream's front end: its noise, the float features of all bins, and the integer graph."""

    settings: Settings
    samples: NDArray[np.int16]
    features: NDArray[np.float32]
    frontend: onnx.ModelProto

    @property
    def statistics(self) -> Statistics:
        settled, dims = self.features[WARM_UP:], len(TARGETS)
        inv_std = (1 / np.maximum(settled.std(axis=0), 1e-9)).astype(np.float32)
        return Statistics(settled.mean(axis=0), inv_std, np.zeros(dims, np.float32), np.ones(dims, np.float32))


def build_reference(name: str, target: Target, folder: Path) -> tuple[Bundle, Path]:
    """Bundle and ELF of one of :data:`FIRMWARES`, by its name; the ELF holds ``RUN_BINS`` bins of samples."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = FIRMWARES[name]()
    frontend = folder / "frontend.onnx" if graphs.frontend else None
    for path, graph in ((frontend, graphs.frontend), (folder / "decoder.onnx", graphs.decoder)):
        if path and graph:
            save_model(graph, path)
    # Of one prefix whatever the stream: records of measurements name the kernels.
    write_bundle(folder / "bundle", graphs.stream, target.name, frontend, folder / "decoder.onnx", DEFAULT_NAME, with_selftest=False)
    bundle = load_bundle(folder / "bundle")
    samples = graphs.samples[: RUN_BINS * bundle.ticks_per_bin]
    text = f"#include <stdint.h>\nconst int16_t realm_bench_samples[] = {{{','.join(map(str, samples.ravel()))}}};\n"
    blocks = RUN_BINS * bundle.blocks_per_bin
    text += f"const uint32_t realm_bench_blocks = {blocks}, realm_bench_block_len = {samples.size // blocks};\n"
    (folder / "bench_samples.c").write_text(text, encoding="ascii")
    with as_file(files("firmware_sim").joinpath("validation/programs")) as programs:
        board = [*(programs / source for source in BOARD), folder / "bench_samples.c"]
        return bundle, build_firmware(bundle, target, folder / "build", board)


def _settings() -> Settings:
    settings = preset("implant-s")
    lfp = settings.lfp.model_copy(update={"power_bins": 4, "zscore_bins": 64})
    return settings.model_copy(update={"lfp": lfp, "spike": settings.spike.model_copy(update={"zscore_bins": 64})})


def _lfp() -> _Input:
    settings, rng = _settings(), np.random.default_rng(5)
    shape = (BINS * settings.lfp_samples_per_bin, CHANNELS)
    samples = (rng.normal(0, 15, shape).cumsum(axis=0) + rng.normal(0, 60, shape)).clip(-32768, 32767).astype(np.int16)
    frontend = design(settings, np.ones(CHANNELS, bool))
    plain = lfp_features(replace(frontend, zscore_bins=0), samples)
    integers = quantize_frontend(lfp_frontend_graph(frontend, {}), plain[WARM_UP:], {})
    return _Input(settings, samples, lfp_features(frontend, samples), integers)


def _spikes() -> _Input:
    """Noise with a spike of one sample per channel every 10 ms or so."""
    settings, rng = _settings(), np.random.default_rng(6)
    shape = (BINS * settings.spike_samples_per_bin, CHANNELS)
    samples = (rng.normal(0, 60, shape) - 900 * (rng.random(shape) < 100 / settings.spike.rate_hz)).astype(np.int16)
    frontend = design_spike(settings, spike_threshold(settings, samples))
    plain = spike_counts(replace(frontend, zscore_bins=0), [samples])
    integers = quantize_frontend(spike_frontend_graph(frontend, {}), plain[WARM_UP:], {})
    return _Input(settings, samples, spike_counts(frontend, [samples]), integers)


def _student(stream: str, taken: _Input, tokenizer: str, activations: Activations) -> Graphs:
    torch.manual_seed(0)
    model, inputs = taken.settings.student.model_copy(update={"tokenizer": tokenizer}), taken.features.shape[1]
    student = Student(model, inputs, len(TARGETS), kinds=inputs // CHANNELS).eval()
    student.feature_mean.copy_(torch.from_numpy(taken.statistics.input_mean))
    student.feature_inv_std.copy_(torch.from_numpy(taken.statistics.input_inv_std))
    graph = decoder_graph(student, BIN_RATE, TARGETS, UNIT, {})
    return Graphs(stream, taken.frontend, _integers(graph, taken, activations), taken.samples)


def _baseline(graph: onnx.ModelProto, taken: _Input) -> Graphs:
    """As the baselines stage compiles it: the decoder alone, on the integer front end's features."""
    features, _ = run_frontend(taken.frontend, taken.samples[: RUN_BINS * taken.settings.lfp_samples_per_bin])
    return Graphs("lfp", None, _integers(graph, taken, "int8"), features)


def _integers(graph: onnx.ModelProto, taken: _Input, activations: Activations) -> onnx.ModelProto:
    scale = metadata(taken.frontend)["io"]["features"]["scale"]
    formats = Formats(activations)
    return quantize_decoder(graph, observe(graph, taken.features, WARM_UP), scale, {}, formats)


def _wiener() -> Graphs:
    taken, rng = _lfp(), np.random.default_rng(7)
    shape = (WIENER_LAGS * taken.features.shape[1], len(TARGETS))
    fitted = Wiener(WIENER_LAGS, 1.0, 0.0, rng.normal(0, 0.1, shape).astype(np.float32), np.zeros(len(TARGETS), np.float32))
    return _baseline(wiener_graph(fitted, taken.statistics, BIN_RATE, TARGETS, UNIT, {}), taken)


def _gru() -> Graphs:
    torch.manual_seed(0)
    taken = _lfp()
    decoder = Recurrent("gru", GRU_WIDTH, taken.features.shape[1], len(TARGETS)).eval()
    return _baseline(gru_graph(decoder, taken.statistics, BIN_RATE, TARGETS, UNIT, {}), taken)


def _layers() -> Graphs:
    """Two linear layers with a rectifier between them: a decoder such as a user may bring."""
    taken, rng = _lfp(), np.random.default_rng(8)
    graph, inputs = GraphBuilder("decoder", functions()), taken.features.shape[1]
    x = normalised(graph, taken.statistics.input_mean, taken.statistics.input_inv_std)
    linear(graph, "hidden", x, rng.normal(0, inputs**-0.5, (HIDDEN, inputs)), rng.normal(0, 0.3, HIDDEN))
    graph.node("Relu", ["hidden"], ["hidden.relu"], "hidden.relu", domain="")
    linear(graph, "head", "hidden.relu", rng.normal(0, HIDDEN**-0.5, (len(TARGETS), HIDDEN)), np.zeros(len(TARGETS)))
    behaviour(graph, "head", TARGETS, UNIT, np.ones(len(TARGETS)), np.zeros(len(TARGETS)))
    return _baseline(graph.build(kind="decoder", rate_hz=BIN_RATE, made_from={}), taken)


def _others() -> Graphs:
    """What graphs of other people become besides: LSTM, linear attention, RMSNorm, products, and a state that is stored."""
    taken, rng = _lfp(), np.random.default_rng(9)
    graph, inputs = GraphBuilder("decoder", functions()), taken.features.shape[1]
    gate = function_of(apply("Sigmoid", X), f"{PREFIX}0")[0]
    graph.functions = (*graph.functions, gate)

    def constant(name: str, value: ArrayLike) -> str:
        return graph.constant(name, value, np.float32)

    def layer(name: str, x: str, n_in: int, n_out: int) -> str:
        return linear(graph, name, x, rng.normal(0, n_in**-0.5, (n_out, n_in)), rng.normal(0, 0.3, n_out))

    x = graph.input("features", np.float32, (inputs,), unit="front-end features", scale=1.0, offset=0.0)
    statistics = taken.statistics
    gains = [
        constant("scaled.gain", statistics.input_inv_std),
        constant("scaled.offset", -statistics.input_mean * statistics.input_inv_std),
    ]
    graph.node("Affine", [x, *gains], ["scaled"], "scaled")
    h, c = graph.state("lstm.h", np.float32, (UNITS,)), graph.state("lstm.c", np.float32, (UNITS,))
    gates = [layer("lstm.input", "scaled", inputs, 4 * UNITS), layer("lstm.recurrent", h[0], UNITS, 4 * UNITS)]
    graph.node("LstmStep", [*gates, h[0], c[0]], [h[1], c[1]], "lstm")
    q, k, v = (layer(name, h[1], UNITS, n) for name, n in (("q", HEADS * KEYS), ("k", KEYS), ("v", HEADS * VALUES)))
    for name, source in (("decay", layer("fade", h[1], UNITS, HEADS)), ("queries", q)):
        graph.node(gate.name, [source], [name], name)
    graph.node("Gather", [k, graph.constant("keys.places", np.tile(np.arange(KEYS), HEADS), np.int64)], ["keys"], "keys", domain="", axis=0)
    graph.node("Mul", [v, v], ["values"], "values", domain="")
    s = graph.state("attention.s", np.float32, (HEADS, VALUES, KEYS))
    graph.node(
        "LinearAttentionStep", ["queries", "keys", "values", "decay", s[0], constant("scale", KEYS**-0.5)], ["read", s[1]], "attention"
    )
    graph.node("RmsNorm", ["read", constant("norm.weight", np.ones(HEADS * VALUES)), constant("norm.eps", 1e-5)], ["normed"], "norm")
    mixed, leaky = layer("mixed", "normed", HEADS * VALUES, UNITS), graph.state("leaky", np.float32, (UNITS,))
    kept = linear(graph, "kept", leaky[0], 0.9 * np.eye(UNITS), np.zeros(UNITS))
    graph.node("Add", [mixed, kept], ["sum"], "sum", domain="")
    graph.node("Store", [leaky[0], "sum"], [leaky[1]], "leaky")
    graph.node("Concat", ["sum", "read"], ["both"], "both", domain="", axis=0)
    head = layer("head", "both", UNITS + HEADS * VALUES, len(TARGETS))
    behaviour(graph, head, TARGETS, UNIT, np.ones(len(TARGETS)), np.zeros(len(TARGETS)))
    return _baseline(graph.build(kind="decoder", rate_hz=BIN_RATE, made_from={}), taken)


# Students by tokenizer, the student on spike counts with its front end, the baselines, two layers, what graphs of other people become:
# every kernel of the compiler is in one.
FIRMWARES: dict[str, Callable[[], Graphs]] = {
    "linear": lambda: _student("lfp", _lfp(), "linear", "int16"),
    "channel": lambda: _student("lfp", _lfp(), "channel", "int8"),
    "spike": lambda: _student("spike", _spikes(), "linear", "int8"),
    "wiener": _wiener,
    "gru": _gru,
    "layers": _layers,
    "others": _others,
}
