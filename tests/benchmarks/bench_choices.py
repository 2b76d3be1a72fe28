"""What other choices in the kernels would give: python tests/benchmarks/bench_choices.py [TARGET]...

The LFP bin of bench_step.py, compiled again with one choice changed at a time: how many columns the body of a product's loop takes, how
many it loads at once, and what LLVM is told. Printed as Markdown: the bin in thousands of cycles with the part's memory, by how much that
differs from the kernels as they are, and the bytes of the decoder's kernels. Status 1 where bits differ.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from firmware_sim.compiler import bundle
from firmware_sim.compiler.kernels import linear, linear16, row_pairs, twin, unsigned_product, winograd
from firmware_sim.compiler.kernels.dsp import FLAGS
from firmware_sim.compiler.kernels.row_pairs import SINGLE, Style, row_pair_product
from firmware_sim.compiler.lower import machine_of
from firmware_sim.simulate import simulate_stream
from firmware_sim.targets import get_target
from tests.benchmarks.bench_step import prepared

TARGETS = ("cortex-m4", "nrf52840", "stm32u385", "stm32h7a3", "stm32g0b1", "rv32imc")
BINS = 4
Change = tuple[ModuleType, str, Any]  # of a module's name, to a value


def products(**arguments: Any) -> tuple[Change, ...]:
    return tuple((module, "row_pair_product", partial(row_pair_product, **arguments)) for module in (linear, linear16))


def styled(style: Style) -> tuple[Change, ...]:
    return tuple((module, "DUAL", style) for module in (linear, linear16))


BODIES = {f"{body} batches of 4 columns in a body": products(body=body) for body in (8, 16, 64)}
LSR = "-disable-lsr:bool=true"
CHOICES: dict[str, dict[str, tuple[Change, ...]]] = {
    "dsp": {
        **BODIES,
        "batches of 2 columns": ((row_pairs, "_BATCH", 1),),
        "loads in pairs": products(style=Style(True, {**SINGLE.flags, "cl-opt": (LSR,)})),
        "reduced induction variables": products(style=Style(True, {**SINGLE.flags, **FLAGS})),
        "scheduled twice": products(style=Style(True, {"cl-opt": (LSR, *FLAGS["cl-opt"])})),
        "LLVM's own order": products(style=Style(False, FLAGS)),
    },
    "dual": {
        **BODIES,
        "batches of 2 columns": ((row_pairs, "_BATCH", 1),),
        "loads in pairs": styled(Style(False, {})),
        "induction variables as written": styled(Style(False, {"cl-opt": (LSR, *FLAGS["cl-opt"])})),
        "loads in runs": styled(Style(True, FLAGS)),
    },
    "rv32": {
        **{f"{body} pairs of columns in a body, int8": ((twin, "_BODY", body),) for body in (2, 8)},
        **{f"{body} pairs of columns in a body, int16": ((winograd, "_BODY", body),) for body in (2, 8)},
        "8 pairs of columns in every body": ((twin, "_BODY", 8), (winograd, "_BODY", 8)),
    },
    "thumb1": {"4 columns in a body": ((unsigned_product, "_BODY", 4),)},
}


def measured(targets: list[str], folder: Path) -> Iterator[tuple[str, str, float, float, int]]:
    """Target, choice, thousands of cycles, those of the kernels as they are, bytes."""
    samples, expected, _ = prepared("lfp", BINS, folder)
    for name in targets:
        target, usual = get_target(name), 0.0
        for choice, changes in {"as they are": (), **CHOICES[machine_of(target.build).kernels]}.items():
            bundle._plan.cache_clear()  # as nothing of a plan says with what it was made
            with ExitStack() as stack:
                for module, attribute, value in changes:
                    stack.enter_context(patch.object(module, attribute, value))
                bundle.write_bundle(folder / "bundle", "lfp", target.build, folder / "frontend.onnx", folder / "decoder.onnx")
            bundle._compiled.cache_clear()
            result = simulate_stream(folder / "bundle", target, samples, expected, folder / "run")
            if not result.bit_exact:
                raise SystemExit(f"{name}, {choice}: bits differ")
            cycles = result.cycles_per_step.cycles / 1e3
            usual = usual or cycles
            yield name, choice, cycles, usual, sum({k.symbol: k.code_bytes for k in result.bundle.decoder.kernels}.values())


def main(targets: list[str]) -> None:
    print("| part | kernels | bin, k | change | decoder, bytes |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, choice, cycles, usual, size in measured(targets, Path(folder)):
            print(f"| {get_target(name).part} | {choice} | {cycles:.1f} | {100 * (cycles / usual - 1):+.1f} % | {size:,} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(TARGETS))
