"""A whole firmware for the validation: front end and decoder of an untrained student, compiled by this project, on synthetic noise."""

from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from export.decoder_graph import decoder_graph
from export.frontend_graph import lfp_frontend_graph
from export.stepgraph import metadata, save_model
from export.tvm.bundle import write_bundle
from firmware_sim.build import build_firmware
from firmware_sim.bundle import Bundle, load_bundle
from firmware_sim.targets import Target
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.formats import Formats, widenable
from quantization.frontend import quantize_frontend
from realm_edge.frontend import design, lfp_features
from realm_edge.models.student import Student
from realm_edge.settings import Settings, preset

CHANNELS, BINS, WARM_UP, RUN_BINS = 8, 200, 50, 3
TOKENIZERS = ("linear", "channel")
BOARD = ("bench_stream.c", "bench_board.c", "bench_board.h")


def build_reference(tokenizer: str, target: Target, folder: Path) -> tuple[Bundle, Path]:
    """Bundle and ELF of a student with ``tokenizer``; the ELF holds ``RUN_BINS`` bins of samples. Weights and samples are random."""
    settings = preset("implant-s")
    settings = settings.model_copy(update={"lfp": settings.lfp.model_copy(update={"power_bins": 4, "zscore_bins": 64})})
    samples = _write_graphs(settings, tokenizer, folder)
    write_bundle(folder / "bundle", "lfp", target.name, folder / "frontend.onnx", folder / "decoder.onnx")
    bundle = load_bundle(folder / "bundle")
    counts = ",".join(map(str, samples[: RUN_BINS * bundle.ticks_per_bin].ravel()))
    text = f"#include <stdint.h>\nconst int16_t realm_bench_samples[] = {{{counts}}};\n"
    text += f"const uint32_t realm_bench_blocks = {RUN_BINS}, realm_bench_block_len = {bundle.ticks_per_bin * CHANNELS};\n"
    (folder / "bench_samples.c").write_text(text, encoding="ascii")
    with as_file(files("firmware_sim").joinpath("validation/programs")) as programs:
        board = [*(programs / name for name in BOARD), folder / "bench_samples.c"]
        return bundle, build_firmware(bundle, target, folder / "build", board)


def _write_graphs(settings: Settings, tokenizer: str, folder: Path) -> NDArray[np.int16]:
    rng = np.random.default_rng(5)
    shape = (BINS * settings.lfp_samples_per_bin, CHANNELS)
    samples = (rng.normal(0, 15, shape).cumsum(axis=0) + rng.normal(0, 60, shape)).clip(-32768, 32767).astype(np.int16)
    frontend = design(settings, np.ones(CHANNELS, bool))
    features = lfp_features(frontend, samples)
    plain = lfp_features(replace(frontend, zscore_bins=0), samples)
    torch.manual_seed(0)
    model = settings.student.model_copy(update={"tokenizer": tokenizer})
    student = Student(model, features.shape[1], 2, kinds=features.shape[1] // CHANNELS).eval()
    student.feature_mean.copy_(torch.from_numpy(features[WARM_UP:].mean(axis=0)))
    student.feature_inv_std.copy_(torch.from_numpy(1 / np.maximum(features[WARM_UP:].std(axis=0), 1e-9)))
    int_frontend = quantize_frontend(lfp_frontend_graph(frontend, {}), plain[WARM_UP:], {})
    decoder = decoder_graph(student, 1000 / settings.bin_ms, ("vx", "vy"), "cm/s", {})
    # int16 into the linear layers of one of the two, so that the kernels of both kinds run.
    formats = Formats(wide=frozenset(widenable(decoder)) if tokenizer == "linear" else frozenset())
    scale = metadata(int_frontend)["io"]["features"]["scale"]
    int_decoder = quantize_decoder(decoder, observe(decoder, features, WARM_UP), scale, {}, formats)
    folder.mkdir(parents=True, exist_ok=True)
    for name, graph in (("frontend", int_frontend), ("decoder", int_decoder)):
        save_model(graph, folder / f"{name}.onnx")
    return samples
