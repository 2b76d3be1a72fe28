"""Kernels of Helium on the emulated Cortex-M55 against the reference, every bit: bounds, shapes that fill no vector, and made-up ones."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from export.functions import INT8, INT16
from firmware_sim.compiler.kernels.interface import Kernel
from tests.firmware_sim.test_compiler_kernels import Case, build, conv, linear, normalise, selective
from tests.firmware_sim.test_kernels_on_cores import Aligned, extreme, hold_to_the_reference

SHAPES = 16  # that hypothesis makes


def low_weights(n_in: int, n_out: int, wide: bool = False) -> Case:
    """Every weight -128, of which a product with the least input is the largest there is."""
    case = linear(n_in, n_out, 2**24, 34, bias=4000, wide=wide)
    return Case(case.op, (case.operands[0], np.full((n_in, n_out), -128, np.int8), *case.operands[2:]))


def gains(y_mult: list[int], d_mult: list[int], k_y: int) -> Case:
    """Selective steps of 16 states whose multipliers are these."""
    case = selective(len(y_mult), 8, 16, 12, 1, k_y)
    return Case(case.op, (*case.operands[:7], np.array(y_mult, np.int32), np.array(d_mult, np.int32), case.operands[9]))


OWN = {
    "one-vector": Aligned(linear(16, 4, 2**29, 38, bias=4000)),
    "one-vector-and-one": Aligned(linear(17, 4, 2**29, 38, bias=4000), 1),
    "two-vectors-but-one": Aligned(linear(31, 5, 2**29, 38, bias=4000)),
    "eight-vectors": Aligned(linear(128, 6, 2**29, 40, bias=4000)),
    "eight-vectors-and-one": Aligned(linear(129, 7, 2**29, 40, bias=4000), 1),
    "many-vectors": Aligned(linear(272, 4, 2**29, 40, bias=4000)),
    "one-row-of-vectors": Aligned(linear(40, 1, 2**29, 38, bias=4000)),
    "three-rows-of-vectors": Aligned(linear(300, 3, 2**29, 40, bias=4000)),
    "one-vector-int16": Aligned(linear(8, 4, 2**29, 46, bias=4000, wide=True)),
    "vectors-and-seven-int16": Aligned(linear(79, 9, 2**29, 46, bias=4000, wide=True), 2),
    "low-weights": Aligned(low_weights(33, 5)),
    "low-weights-int16": Aligned(low_weights(19, 5, wide=True)),
    "sums-of-31-bits": Aligned(extreme(16, 4, 127, 2**31 - 1 - 128 * 127 * 16, -(2**31), 46)),
    "sums-of-31-bits-int16": Aligned(extreme(12, 4, -127, -(2**31) + 1 + 32768 * 127 * 12, 2**31 - 1, 62, wide=True)),
    "sums-that-are-raised": Aligned(extreme(16, 5, 127, 2**20, 2**30, 31)),
    "narrowed-by-one": Aligned(extreme(16, 4, 3, -5, 2**30, 33)),
    "narrowed-by-17": Aligned(linear(24, 8, 2**31 - 1, 49)),
    "steps-of-eight-rows": Aligned(selective(2, 8, 8, 12, 2**19, 36)),
    "steps-of-nine-rows": Aligned(selective(2, 9, 16, 12, 2**19, 36)),
    "steps-of-24-states": Aligned(selective(1, 12, 24, 1, 2**29, 34), 2),
    "steps-of-64-states": Aligned(selective(1, 8, 64, 32, 2**20, 40)),
    "steps-with-raised-products": Aligned(gains([65535, 0, 1, 40000], [2**29, -(2**31), 2**31 - 1, 0], 29)),
    "steps-with-the-largest-gains": Aligned(gains([2**30 - 1, -(2**30)], [2**31 - 1, -(2**31)], 33)),
    "channels-of-a-vector": Aligned(conv(4, 2**29, 36, bias=2**22, channels=8)),
    "channels-of-three-vectors": Aligned(conv(3, 2**31 - 1, 62, channels=24), 2),
    "channels-two-taps": Aligned(conv(2, 2**20, 20, bias=100, channels=16)),
    "four-z-scores": Aligned(normalise(4, 2**29, 2**42, 24, INT16)),
    "five-z-scores": Aligned(normalise(5, 2**29, 2**42, 32), 2),
    "z-scores-least-shift": Aligned(normalise(6, 9, 2**20, 17, INT16)),
    "z-scores-largest-shift": Aligned(normalise(8, 2**30, 2**44, 47, INT16)),
    "z-scores-high-multiplier": Aligned(normalise(8, 2**31 - 2**15 - 1, 2**40, 40)),
}
# For each a bound that does not hold, so that the DSP extension's kernel stands in.
OTHERS = {
    "columns-of-no-vector": Aligned(linear(15, 4, 2**29, 38, bias=4000)),
    "columns-of-no-vector-int16": Aligned(linear(7, 4, 2**29, 46, bias=4000, wide=True)),
    "sums-without-room-to-be-raised": Aligned(extreme(16, 4, 127, 2**28, 2**30, 25)),
    "steps-of-seven-rows": Aligned(selective(2, 7, 8, 12, 2**19, 36)),
    "steps-of-20-states": Aligned(selective(2, 8, 20, 12, 2**19, 36)),
    "steps-without-a-shift": Aligned(selective(2, 8, 8, 0, 2**19, 36)),
    "steps-of-a-large-shift": Aligned(selective(2, 8, 8, 33, 2**19, 36)),
    "step-gains-without-room": Aligned(selective(2, 8, 8, 12, 2**30, 20)),
    "channels-of-no-vector": Aligned(conv(4, 2**29, 36, channels=12)),
    "channels-beyond-32-bits": Aligned(conv(4, 2**29, 46, bias=2**31 - 1, channels=8)),
    "three-z-scores": Aligned(normalise(3, 2**29, 2**42, 24, INT16)),
    "z-scores-shift-of-16": Aligned(normalise(8, 9, 2**20, 16, INT16)),
    "z-scores-shift-of-48": Aligned(normalise(8, 2**30, 2**44, 48, INT16)),
    "z-scores-highest-multiplier": Aligned(normalise(8, 2**31 - 1, 2**40, 40)),
}


def made_up() -> dict[str, Aligned]:
    """Nodes of any shape that has room for a vector, the same ones each time."""
    found: list[Aligned] = []
    power = st.integers(0, 30).map(lambda n: 2**n)
    products = st.builds(linear, st.integers(8, 200), st.integers(1, 13), power, st.integers(10, 62), power, st.booleans())
    vectors = st.integers(1, 5).map(lambda n: 8 * n)
    steps = st.builds(selective, st.integers(1, 3), st.integers(8, 20), vectors, st.integers(1, 32), power, st.integers(10, 46))
    convolutions = st.builds(conv, st.integers(2, 7), power, st.integers(10, 62), power, vectors)
    scores = st.builds(normalise, st.integers(4, 40), power, power, st.integers(17, 47), st.sampled_from((INT8, INT16)))

    @seed(31)
    @settings(max_examples=SHAPES, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.builds(Aligned, st.one_of(products, products, steps, convolutions, scores), st.sampled_from((1, 8))))
    def collect(one: Aligned) -> None:
        found.append(one)

    collect()
    return {f"made-up-{i}": one for i, one in enumerate(found)}


def test_kernels_equal_the_reference_on_the_core(tmp_path):
    hold_to_the_reference("cortex-m55", OWN, tmp_path)


@pytest.mark.slow
def test_what_vectors_do_not_fit_and_made_up_kernels_equal_the_reference(tmp_path):
    hold_to_the_reference("cortex-m55", OTHERS | made_up(), tmp_path)


def of_vectors(kernel: Kernel) -> bool:
    return "llvm.arm.mve." in kernel.function.script()


@pytest.mark.parametrize("name", OWN)
def test_what_fits_is_computed_by_vectors(name):
    assert of_vectors(build(OWN[name].case, "helium", OWN[name].alignment))


@pytest.mark.parametrize("name", OTHERS)
def test_what_does_not_is_left_to_the_dsp_extension(name):
    assert not of_vectors(build(OTHERS[name].case, "helium", OTHERS[name].alignment))
