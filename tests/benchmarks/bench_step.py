"""Cycles of a whole bin on every core: python tests/benchmarks/bench_step.py [--stream lfp|spike] [--bins N] [TARGET[:CORE]]...

An untrained student of preset implant-m with 96 channels and bins of 20 ms, its front end before it, is compiled for each target, run in
QEMU on noise and held against onnxruntime, every bit. The LFP front end is the largest that is common, six bands of samples at 1 kHz;
bench_features.py has cheaper ones. Printed as Markdown, by the core's table: cycles per channel and sample of the front
end; cycles per multiply-accumulate of the matrix products, of the selective step and of the whole decoder, from memory without wait
states; the bin in thousands of cycles, without wait states and with the part's; bytes of code; the most stack that was used. A target
whose bits differ gets no figures and the status is 1.
"""

import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.stepgraph import save_model
from firmware_sim.compare import Expected
from firmware_sim.compiler.bundle import write_bundle
from firmware_sim.simulate import StreamResult, simulate_stream
from firmware_sim.targets import Target, get_target
from firmware_sim.verdict.counts import Signal
from quantization.golden import run_decoder, run_frontend
from realm_edge.app.verdict.untrained import noise, untrained
from realm_edge.settings import SIX_BANDS, Settings, preset

PRESET, CHANNELS, OUTPUTS = "implant-m", 96, 2
TARGETS = ("cortex-m4", "nrf5340", "stm32h7a3", "cortex-m55", "stm32g0b1", "rv32imc", "rv32imc:ibex-maxperf")
PRODUCTS = ("QLinear", "QLinear16")
SETTINGS = preset(PRESET).model_copy(update={"bin_ms": 20, "lfp": SIX_BANDS})


def prepared(stream: Signal, bins: int, folder: Path, settings: Settings = SETTINGS) -> tuple[NDArray[np.int16], Expected, int]:
    """Writes ``frontend.onnx`` and ``decoder.onnx``; returns noise of so many bins, what onnxruntime makes of it, and samples of a bin."""
    made = untrained(stream, CHANNELS, settings, OUTPUTS)
    samples = noise(stream, bins * made.ticks, CHANNELS)
    features, states = run_frontend(made.frontend, samples)
    outputs, decoder_states = run_decoder(made.decoder, features)
    for name, model in (("frontend", made.frontend), ("decoder", made.decoder)):
        save_model(model, folder / f"{name}.onnx")
    return samples, Expected(outputs, states | decoder_states, features), made.ticks


@dataclass(frozen=True)
class Measured:
    """A target's results without wait states and with the part's, and how many samples of a channel they took."""

    bare: StreamResult
    waited: StreamResult
    channel_samples: int


def measured(stream: Signal, bins: int, targets: Sequence[str], folder: Path, settings: Settings = SETTINGS) -> Iterator[Measured | None]:
    """Of each target; None where a bit differs."""
    samples, expected, ticks = prepared(stream, bins, folder, settings)
    for name in targets:
        target, _, core = name.partition(":")
        part = replace(get_target(target), core=core or get_target(target).core)
        write_bundle(folder / "bundle", stream, part.build, folder / "frontend.onnx", folder / "decoder.onnx")

        def run(target: Target) -> StreamResult:
            return simulate_stream(folder / "bundle", target, samples, expected, folder / "run")

        bare = run(replace(part, flash=replace(part.flash, wait_states=0)))
        waited = run(part) if part.flash.wait_states else bare
        yield Measured(bare, waited, CHANNELS * ticks) if bare.bit_exact and waited.bit_exact else None


def figures(found: Measured) -> list[str]:
    bare = found.bare

    def per_mac(*ops: str) -> float:
        found = [row for row in bare.kernels if row.op in ops]
        return sum(row.cycles for row in found) / sum(row.macs for row in found)

    code = [sum({kernel.symbol: kernel.code_bytes for kernel in stage.kernels}.values()) for stage in bare.bundle.stages]
    decoder = bare.regions["decoder"].cycles.cycles / bare.macs_per_step
    return [
        f"{bare.regions['frontend'].cycles.cycles / found.channel_samples:.1f}",
        *(f"{value:.2f}" for value in (per_mac(*PRODUCTS), per_mac("QSelectiveStep"), decoder)),
        *(f"{result.cycles_per_step.cycles / 1e3:.0f}" for result in (bare, found.waited)),
        *(f"{size:,}" for size in code),
        f"{bare.stack_used:,}",
    ]


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", default=TARGETS)
    parser.add_argument("--stream", choices=("lfp", "spike"), default="lfp")
    parser.add_argument("--bins", type=int, default=20)
    asked = parser.parse_args()
    heads = (
        "front end | products | selective step | decoder | bin, k | with wait states, k | front end, bytes | decoder, bytes | stack, bytes"
    )
    print(f"| target | {heads} |\n|---|{'---:|' * 9}")
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        results = measured(asked.stream, asked.bins, asked.targets, Path(folder))
        for name, found in zip(asked.targets, results, strict=True):
            print(f"| {name} | {' | '.join(figures(found) if found else ['bits differ'])} |", flush=True)
            wrong += [] if found else [name]
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
