"""MLPerf Tiny's 'ad' network through this project's kernels and core models: python tests/benchmarks/bench_mlperf_ad.py [TARGET ...]

The int8 fully connected autoencoder 640-128-128-128-128-8-128-128-128-128-640 (264,192 MAC) with random weights, compiled by this
project, run in QEMU, held against onnxruntime to the bit, and priced by the core's table. A ReLU is the saturation of QNormalise: zero
is stored as -127, and the offset that brings is part of the next layer's bias. Printed: cycles per MAC without wait states and with the
part's, each with its range, beside what MLPerf Tiny's submitters measured on boards. That is a check of plausibility, not a validation:
their kernels are others.
"""

import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import INT8
from export.stepgraph import GraphBuilder, save_model
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.simulate import StreamResult, simulate_stream
from firmware_sim.targets import get_target
from quantization.functions import functions
from quantization.golden import run_decoder

WIDTHS = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
MACS = 264_192
STEPS = 5
TARGETS = ("cortex-m4", "stm32u575", "nrf5340", "stm32h7a3", "stm32g0b1")
# Cycles per MAC on boards, MLPerf Tiny's published results, over the network's MAC
BOARDS = {"cortex-m4": "1.84 to 5.32", "stm32u575": "2.22 to 2.94", "nrf5340": "3.05", "stm32h7a3": "1.43 to 1.93", "stm32g0b1": "11.28"}
SHIFT = 30


def autoencoder(seed: int = 0) -> onnx.ModelProto:
    """The network as an int8 decoder step graph: features (640,) int16 to decoded (640,) int16."""
    rng = np.random.default_rng(seed)
    graph = GraphBuilder("decoder", functions())
    graph.input("features", np.int16, (WIDTHS[0],), unit="spectrogram", scale=[1.0] * WIDTHS[0], offset=0.0)
    x = _narrow(graph, "input", "features", WIDTHS[0], 0)
    zero_point = 0
    for k, (n_in, n_out) in enumerate(pairwise(WIDTHS)):
        last = k == len(WIDTHS) - 2
        weight = rng.integers(-127, 128, (n_in, n_out)).astype(np.int8)
        bias = (rng.integers(-2000, 2001, n_out) - zero_point * weight.astype(np.int64).sum(axis=0)).astype(np.int32)
        mult = np.full(n_out, int(2**SHIFT * 40 / np.sqrt(n_in) / 127), np.int32)  # sums of this spread fill an int16
        y = "decoded" if last else f"layer{k}.sum"
        names = [graph.constant(f"layer{k}.{what}", value, value.dtype.type) for what, value in _named(weight, bias, mult)]
        graph.node("QLinear", [x, *names, graph.constant(f"layer{k}.two_k", 2**SHIFT, np.int64)], [y], f"layer{k}")
        if not last:
            x, zero_point = _narrow(graph, f"layer{k}.relu", y, n_out, -127), -127
    graph.output("decoded", np.int16, (WIDTHS[-1],), unit="spectrogram", scale=1.0, offset=0.0)
    return graph.build(rate_hz=1.0, kind="decoder")


def _named(weight: NDArray, bias: NDArray, mult: NDArray) -> list[tuple[str, NDArray]]:
    return [("weight", weight), ("bias", bias), ("mult", mult)]


def _narrow(graph: GraphBuilder, name: str, x: str, n: int, zero_point: int) -> str:
    """int16 to int8: x / 64 + zero_point, saturated to [-127, 127]; with the zero point -127 that is a ReLU."""
    mult, bias = np.full(n, 2**14, np.int32), np.full(n, zero_point * 2**20, np.int64)
    constants = [graph.constant(f"{name}.mult", mult, np.int32), graph.constant(f"{name}.bias", bias, np.int64)]
    graph.node("QNormalise", [x, *constants, graph.constant(f"{name}.two_k", 2**20, np.int64)], [f"{name}.q"], name, to=INT8)
    return f"{name}.q"


def simulate(target_name: str, model: onnx.ModelProto, folder: Path) -> StreamResult:
    """The network's firmware on a target, held against onnxruntime."""
    features = np.random.default_rng(1).integers(-8000, 8001, (STEPS, WIDTHS[0])).astype(np.int16)
    outputs, states = run_decoder(model, features)
    save_model(model, folder / "decoder.onnx")
    target = get_target(target_name)
    write_bundle(folder / "bundle", "ad", target.build, None, folder / "decoder.onnx")
    return simulate_stream(folder / "bundle", target, features, Expected(outputs, states), folder / "work")


def main(names: list[str]) -> None:
    model = autoencoder()
    print("| part | core, table | no wait states | with the part's | instructions | bytes loaded | boards |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            result = simulate(name, model, Path(folder))
        assert result.bit_exact and result.macs_per_step == MACS, (result.mismatch, result.macs_per_step)
        step = result.regions["decoder"]
        plain = step.cycles.plus(step.stalls.times(-1)).times(1 / MACS)
        full = step.cycles.times(1 / MACS)
        cells = [f"{c.cycles:.2f} ({c.low:.2f} to {c.high:.2f})" for c in (plain, full)]
        rest = f"{step.instructions / MACS:.2f} | {step.loaded_bytes / MACS:.2f} | {BOARDS.get(name, '-')}"
        print(f"| {result.target.part} | {result.core.name}, {result.core.label} | {' | '.join(cells)} | {rest} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(TARGETS))
