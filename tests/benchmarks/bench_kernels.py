"""Cycles a multiply-accumulate, kernel by kernel: python tests/benchmarks/bench_kernels.py [TARGET]...

The matrix products of an untrained 96-channel LFP implant, preset implant-m, and two larger ones, of int8 and of int16 inputs, and its
selective step, with twice the state as well; random constants and inputs. Each runs in QEMU alone, once as plain code and once as the
family of the target's build has it, and is priced by the core's table from memory without wait states: plain -> own. Every output is
compared with the reference, so a figure of a wrong kernel is not printed.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_sim.compiler.kernels import SCALAR, builder
from firmware_sim.compiler.kernels.interface import Kernel, Node, Value
from firmware_sim.compiler.lower import machine_of
from firmware_sim.compiler.memory import ALIGNMENT
from firmware_sim.cores import load_core
from firmware_sim.kernel_run import run_kernels
from firmware_sim.targets import get_target
from quantization.operators import OPERATORS
from realm_edge.app.preset_sizes import preset_size
from realm_edge.settings import preset

TARGETS = ("cortex-m4", "stm32u575", "stm32h7a3")  # Cortex-M4, M33 and M7
PRESET = "implant-m"
LARGER = ((128, 256), (256, 128))  # a student of twice that width: in and out of a block


@dataclass(frozen=True)
class Work:
    """A node: what it computes and on what."""

    label: str
    op: str
    operands: tuple[NDArray, ...]
    variable: frozenset[int]  # operands that are tensors, not constants

    def kernel(self, family: str) -> Kernel:
        bounds = [int(np.max(np.abs(operand.astype(np.int64)))) for operand in self.operands]
        inputs = tuple(
            Value(f"in{i}", operand.dtype.name, operand.shape, bounds[i], ALIGNMENT) if i in self.variable else operand
            for i, operand in enumerate(self.operands)
        )
        outputs = ("y", "next") if self.op == "QSelectiveStep" else ("y",)
        return builder(self.op, family)(Node(self.label, inputs, outputs, {}))


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


def all_work(rng: np.random.Generator) -> list[Work]:
    settings = preset(PRESET)
    student = settings.student
    shapes = [
        (preset_size(settings).features, student.d_model),
        (student.d_model, 2 * student.d_inner + 2 * student.d_state + student.nheads),
        (student.d_inner, student.d_model),
        *LARGER,
    ]
    products = [product(rng, *shape, dtype) for shape in shapes for dtype in ("int8", "int16")]
    return products + [step(rng, student.nheads, student.headdim, states) for states in (student.d_state, 2 * student.d_state)]


def cycles_per_mac(work: list[Work], name: str, family: str, folder: Path) -> list[float]:
    target = get_target(name)
    kernels = {f"bench_{i}": one.kernel(family) for i, one in enumerate(work)}
    inputs = {f"bench_{i}": [{f"in{j}": one.operands[j] for j in sorted(one.variable)}] for i, one in enumerate(work)}
    runs = run_kernels(kernels, inputs, target, load_core(target.core), folder)
    for one, (symbol, kernel) in zip(work, kernels.items(), strict=True):
        for value, want in zip(kernel.outputs, OPERATORS[one.op].arithmetic(*one.operands), strict=True):
            np.testing.assert_array_equal(runs[symbol].outputs[kernel.in_place.get(value.name, value.name)][0], want, err_msg=one.label)
    return [runs[symbol].cycles / kernel.macs for symbol, kernel in kernels.items()]


def main(names: list[str]) -> None:
    work = all_work(np.random.default_rng(2))
    columns = []
    with tempfile.TemporaryDirectory() as path:
        for name in names:
            family = machine_of(get_target(name).build).kernels
            both = [cycles_per_mac(work, name, each, Path(path, f"{name}-{each}")) for each in (SCALAR, family)]
            columns.append([f"{plain:.2f} -> {own:.2f}" for plain, own in zip(*both, strict=True)])
    print(f"| kernel | {' | '.join(f'{name} ({get_target(name).core})' for name in names)} |")
    print("|---" * (len(names) + 1) + "|")
    for one, *cells in zip(work, *columns, strict=True):
        print(f"| {one.label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:] or list(TARGETS))
