"""How fast firmware is simulated with attribution on: python tests/benchmarks/bench_simulator.py [TARGET] [SECONDS]

One minute (or SECONDS) of an untrained 96-channel LFP implant, preset implant-m, on random samples: compiled, run in QEMU with the
counting plugin, then priced by visit. The firmware's equality with onnxruntime is the tests' matter and left out. Printed: instructions
retired in front end and decoder a second of the wall clock, which a busy machine lengthens.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from export.decoder_graph import decoder_graph
from export.frontend_graph import lfp_frontend_graph
from export.stepgraph import metadata, save_model
from firmware_sim.attribution import count_cycles
from firmware_sim.build import build_firmware
from firmware_sim.bundle import load_bundle
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.cores import load_core
from firmware_sim.elf import SymbolMap, read_symbols
from firmware_sim.profile import VISITS, read_profile
from firmware_sim.qemu import run_firmware
from firmware_sim.simulate import constants_of
from firmware_sim.targets import get_target
from firmware_sim.wait_states import memory_of
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.frontend import quantize_frontend
from realm_edge.app.preset_sizes import DIMS
from realm_edge.frontend import design, lfp_features
from realm_edge.models.student import Student
from realm_edge.settings import preset

CHANNELS, CALIBRATION_BINS, WARM_UP = 96, 200, 50


def write_graphs(folder: Path, rng: np.random.Generator) -> int:
    """Integer step graphs of the implant in ``folder``; returns the ticks of a bin."""
    settings = preset("implant-m")
    samples = _noise(rng, CALIBRATION_BINS * settings.lfp_samples_per_bin)
    frontend = design(settings, np.ones(CHANNELS, bool))
    features = lfp_features(frontend, samples)
    torch.manual_seed(0)
    student = Student(settings.student, features.shape[1], DIMS).eval()
    student.feature_mean.copy_(torch.from_numpy(features[WARM_UP:].mean(axis=0)))
    student.feature_inv_std.copy_(torch.from_numpy(1 / features[WARM_UP:].std(axis=0)))
    integers = quantize_frontend(lfp_frontend_graph(frontend, {}), features[WARM_UP:], {})
    graph = decoder_graph(student, 1000 / settings.bin_ms, ("vx", "vy"), "cm/s", {})
    decoder = quantize_decoder(graph, observe(graph, features, WARM_UP), metadata(integers)["io"]["features"]["scale"], {})
    save_model(integers, folder / "frontend.onnx")
    save_model(decoder, folder / "decoder.onnx")
    return settings.lfp_samples_per_bin


def _noise(rng: np.random.Generator, ticks: int) -> np.ndarray:
    """(ticks, CHANNELS) int16 counts."""
    return rng.normal(0, 300, (ticks, CHANNELS)).astype(np.int16)


def main(name: str, seconds: int) -> None:
    rng, target = np.random.default_rng(2), get_target(name)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        ticks = write_graphs(folder, rng)
        write_bundle(folder / "bundle", "lfp", target.build, folder / "frontend.onnx", folder / "decoder.onnx")
        bundle = load_bundle(folder / "bundle")
        elf = build_firmware(bundle, target, folder / "build")
        samples = _noise(rng, seconds * 1000 // ticks * ticks)
        start = time.perf_counter()
        run = run_firmware(elf, target, samples, folder / "run", timeout_s=3600)
        wall = time.perf_counter() - start
        start, visits = time.perf_counter(), (folder / "run" / VISITS).stat().st_size
        core = load_core(target.core)
        constants = constants_of(bundle)
        symbols = SymbolMap(read_symbols(elf))
        costs = count_cycles(read_profile(run.profile), core, symbols, memory_of(target.flash, core), constants)
        pricing = time.perf_counter() - start
    counted = sum(costs[region].region.instructions for region in ("frontend", "decoder"))
    print(f"{name}: {seconds} s of {CHANNELS} channels, {counted:,} instructions in front end and decoder")
    speed = f"{counted / wall / 1e6:.0f} million instructions per second"
    print(f"QEMU {wall:.1f} s ({speed}), pricing {pricing:.1f} s; {visits / 1e6:.1f} MB of visits")
    for region in ("frontend", "decoder"):
        visit, half, most, longest = costs[region].visits, *(costs[region].visits.at(q) for q in (0.5, 0.99, 1.0))
        cycles = ", ".join(f"{value.cycles:,.0f}" for value in (half, most, longest))
        print(f"{region}: {len(visit.instructions):,} visits, cycles at 50 %, 99 %, 100 %: {cycles}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cortex-m4", int(sys.argv[2]) if len(sys.argv) > 2 else 60)
