"""The kernels of front ends, as the emulated cores run them, against the reference: every bit, over the whole range."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from export.stepgraph import save_model
from firmware_sim.compiler.frontend import CHUNK, COUNT, block_kernels, read_chain
from firmware_sim.compiler.graph import read_graph
from firmware_sim.compiler.lower import machine_of
from firmware_sim.cores import load_core
from firmware_sim.kernel_run import run_kernels
from firmware_sim.targets import get_target
from quantization.reference import ReferenceStepper
from tests.firmware_sim.frontends import REFERENCE_BITS, FrontEnd
from tests.firmware_sim.test_frontend_blocks import CASES, samples_of
from tests.small_run import needs_emulator

ROWS = "means of samples, and a channel between two filters"
TARGETS = ("cortex-m4", "stm32u575", "stm32h7a3", "cortex-m55", "rv32imc", "stm32g0b1")  # one a build
QUICK = ("cortex-m4", "rv32imc")
COUNTS = (1, 2, 5, 8, 64, 63)  # samples of a call
Tensors = dict[str, NDArray]


def means(front: FrontEnd, samples: NDArray[np.int16]) -> NDArray[np.int64]:
    total = samples[:, np.array(front.good) == 1].astype(np.int64).sum(axis=1)
    reciprocal = round(2**front.guard * 2**REFERENCE_BITS / max(1, sum(front.good)))
    return 4 * (total * reciprocal + 2 ** (REFERENCE_BITS - 1) >> REFERENCE_BITS)


def block(front: FrontEnd, rng: np.random.Generator, count: int) -> tuple[Tensors, Tensors]:
    """What a call for ``count`` samples within a bin gets, and what it leaves behind."""
    count = min(count, front.ticks)
    endless = ReferenceStepper(replace(front, ticks=10**6).model())
    endless.state |= front.states(rng, int(rng.integers(0, front.ticks - count, endpoint=True)))
    samples, rows = samples_of(front, rng, CHUNK), np.zeros((2, CHUNK), np.int32)
    given = {**endless.state, "sample": samples, COUNT.name: np.array([count], np.int32)}
    for x in samples[:count]:
        endless.step({"sample": x})
    rows[0, :count] = means(front, samples[:count])
    return given | {ROWS: rows}, endless.state | {ROWS: rows[:1, :count]}


def edge(front: FrontEnd, rng: np.random.Generator) -> tuple[Tensors, Tensors]:
    """What the calls at a bin's edge get, and what they leave behind."""
    later, now = ReferenceStepper(replace(front, ticks=front.ticks + 1).model()), ReferenceStepper(front.model())
    state, (x,) = front.states(rng, front.ticks - 1), samples_of(front, rng, 1)
    for stepper in (later, now):
        stepper.state |= state
        stepper.step({"sample": x})
    return dict(later.state), now.state


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TARGETS])
def test_kernels_of_front_ends_equal_the_reference_on_the_core(name, tmp_path):
    needs_emulator()
    target, rng = get_target(name), np.random.default_rng(11)
    kernels, calls = {}, {}
    for case, front in CASES.items():
        save_model(front.model(), tmp_path / "f.onnx")
        for made in block_kernels(read_chain(read_graph(tmp_path / "f.onnx")), machine_of(target.build).kernels):
            symbol = f"{case}-{made.node.op}".replace("-", "_")
            kernels[symbol] = made.kernel
            calls[symbol] = [edge(front, rng) for _ in range(3)] if made.at_edge else [block(front, rng, n) for n in COUNTS]
    pointers = {symbol: {p for p in kernel.pointers if isinstance(p, str)} for symbol, kernel in kernels.items()}
    inputs = {
        symbol: [{tensor: array for tensor, array in given.items() if tensor in pointers[symbol]} for given, _ in of]
        for symbol, of in calls.items()
    }
    runs = run_kernels(kernels, inputs, target, load_core(target.core), tmp_path)
    for symbol, kernel in kernels.items():
        written = {*kernel.in_place.values(), *(ROWS for _ in range(not kernel.in_place))} & pointers[symbol]
        assert written
        for i, (_, expected) in enumerate(calls[symbol]):
            for tensor in written:
                got, want = runs[symbol].outputs[tensor][i], expected[tensor]
                got = got[tuple(slice(n) for n in want.shape)]
                np.testing.assert_array_equal(got, want, err_msg=f"{symbol}: {tensor}, call {i}")
