"""Cycles a multiply-accumulate, kernel by kernel: python tests/benchmarks/bench_kernels.py [--body N] [TARGET[:CORE]]...

The matrix products of an untrained 96-channel LFP implant, preset implant-m, and three larger ones, of int8 and of int16 inputs, and its
selective step, with twice the state as well; random constants and inputs. Each runs in QEMU alone, once as plain code and once as the
family of the target's build has it, and is priced by the core's table, from memory without wait states and with the part's flash: plain ->
own (plain -> own). Weights are not taken to miss a cache. Every output is compared with the reference, so a figure of a wrong kernel is not
printed. A core in place of the target's, such as ``rv32imc:ibex-maxperf``, stands behind a colon. With ``--body N`` the loops of the own
kernels of the DSP extension hold up to N batches of four columns, or N words of the state, in place of the constants of their modules.
"""

import tempfile
from argparse import ArgumentParser
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_sim.compiler.kernels import SCALAR, builder
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from firmware_sim.compiler.kernels.row_pairs import DUAL, SINGLE, row_pair_product
from firmware_sim.compiler.kernels.selective_step import step_by_words
from firmware_sim.compiler.lower import machine_of
from firmware_sim.compiler.memory import ALIGNMENT
from firmware_sim.cores import load_core
from firmware_sim.kernel_run import run_kernels
from firmware_sim.memory import no_stalls
from firmware_sim.targets import Target, get_target
from firmware_sim.wait_states import memory_of
from quantization.operators import OPERATORS
from realm_edge.app.preset_sizes import preset_size
from realm_edge.settings import preset

TARGETS = (
    "cortex-m4",
    "stm32u575",
    "stm32h7a3",
    "cortex-m55",
    "rv32imc",
    "rv32imc:ibex-maxperf",
    "stm32g0b1",
)  # M4, M33, M7, M55, Ibex, M0+
PRESET = "implant-m"
LARGER = ((672, 64), (128, 256), (256, 128))  # more features; in and out of a block of a student of twice the width


@dataclass(frozen=True)
class Work:
    """A node: what it computes and on what."""

    label: str
    op: str
    operands: tuple[NDArray, ...]
    variable: frozenset[int]  # operands that are tensors, not constants

    def kernel(self, family: str, body: int | None) -> Kernel:
        bounds = [int(np.max(np.abs(operand.astype(np.int64)))) for operand in self.operands]
        inputs = tuple(
            Value(f"in{i}", operand.dtype.name, operand.shape, bounds[i], ALIGNMENT) if i in self.variable else operand
            for i, operand in enumerate(self.operands)
        )
        outputs = ("y", "next") if self.op == "QSelectiveStep" else ("y",)
        node = Node(self.label, inputs, outputs, {})
        if body is None or family not in ("dsp", "dual"):
            return builder(self.op, family)(node)
        if self.op == "QSelectiveStep":
            return step_by_words(node, runs=family != "dual", body=body)
        found = row_pair_product(node, self.operands[0].dtype.name, DUAL if family == "dual" else SINGLE, body)
        assert found is not None
        return found


def product(rng: np.random.Generator, n_in: int, n_out: int, dtype: str) -> Work:
    limit, k = (127, 38) if dtype == "int8" else (32767, 46)
    x = rng.integers(-limit, limit, n_in, endpoint=True).astype(dtype)
    weight = np.clip(np.rint(rng.normal(0, 40, (n_in, n_out))), -127, 127).astype(np.int8)
    bias, mult = rng.integers(-9999, 9999, n_out).astype(np.int32), rng.integers(2**28, 2**30, n_out).astype(np.int32)
    op = "QLinear" if dtype == "int8" else "QLinear16"
    return Work(f"{op} {n_in} x {n_out}", op, (x, weight, bias, mult, np.array(2**k)), frozenset({0}))


def step(rng: np.random.Generator, heads: int, headdim: int, d_state: int) -> Work:
    def int16(limit: int, *shape: int) -> NDArray:
        return rng.integers(-limit, limit, shape, endpoint=True).astype(np.int16)

    vectors = (int16(32767, heads * headdim), int16(32767, d_state), int16(65535 // d_state, d_state))
    gains = (np.abs(int16(32767, heads)), np.abs(int16(20000, heads)))
    mults = tuple(rng.integers(-(2**19), 2**19, heads).astype(np.int32) for _ in range(2))
    operands = (*vectors, *gains, int16(32767, heads, headdim, d_state), np.array(2**12), *mults, np.array(2**36))
    return Work(f"QSelectiveStep, {heads} x {headdim}, {d_state} states", "QSelectiveStep", operands, frozenset(range(6)))


def shapes() -> list[tuple[int, int]]:
    """Inputs and outputs of the student's products."""
    settings = preset(PRESET)
    student = settings.student
    return [
        (preset_size(settings).features, student.d_model),
        (student.d_model, 2 * student.d_inner + 2 * student.d_state + student.nheads),
        (student.d_inner, student.d_model),
    ]


def all_work(rng: np.random.Generator) -> list[Work]:
    student = preset(PRESET).student
    products = [product(rng, *shape, dtype) for shape in (*shapes(), *LARGER) for dtype in ("int8", "int16")]
    return products + [step(rng, student.nheads, student.headdim, states) for states in (student.d_state, 2 * student.d_state)]


def part(name: str) -> Target:
    """A target, or a target on another core."""
    target, _, core = name.partition(":")
    return replace(get_target(target), core=core) if core else get_target(target)


def cycles_per_mac(work: list[Work], name: str, family: str, body: int | None, folder: Path) -> list[tuple[float, float]]:
    """From memory without wait states, and with the part's flash."""
    target = part(name)
    core = load_core(target.core)
    kernels = {f"bench_{i}": one.kernel(family, body) for i, one in enumerate(work)}
    inputs = {f"bench_{i}": [{f"in{j}": one.operands[j] for j in sorted(one.variable)}] for i, one in enumerate(work)}
    ideal, waiting = (run_kernels(kernels, inputs, target, core, folder, memory) for memory in (no_stalls, memory_of(target.flash, core)))
    for one, (symbol, kernel) in zip(work, kernels.items(), strict=True):
        for value, want in zip(kernel.outputs, OPERATORS[one.op].arithmetic(*one.operands), strict=True):
            np.testing.assert_array_equal(ideal[symbol].outputs[kernel.in_place.get(value.name, value.name)][0], want, err_msg=one.label)
    return [(ideal[symbol].cycles / kernel.macs, waiting[symbol].cycles / kernel.macs) for symbol, kernel in kernels.items()]


def main(names: list[str], body: int | None) -> None:
    work = all_work(np.random.default_rng(2))
    columns = []
    with tempfile.TemporaryDirectory() as path:
        for name in names:
            family = machine_of(part(name).build).kernels
            plain, own = (
                cycles_per_mac(work, name, each, body, Path(path, f"{name}-{each}".replace(":", "-"))) for each in (SCALAR, family)
            )
            columns.append([f"{a:.2f} -> {b:.2f} ({c:.2f} -> {d:.2f})" for (a, c), (b, d) in zip(plain, own, strict=True)])
    print(f"| kernel | {' | '.join(f'{name} ({part(name).core})' for name in names)} |")
    print("|---" * (len(names) + 1) + "|")
    for one, *cells in zip(work, *columns, strict=True):
        print(f"| {one.label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--body", type=int, metavar="N")
    given = parser.parse_args()
    main(given.targets or list(TARGETS), given.body)
