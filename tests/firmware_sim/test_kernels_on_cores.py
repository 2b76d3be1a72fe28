"""Kernels of each family of instruction sets, as the emulated cores run them, against the reference: every bit, over the whole range."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from firmware_sim.compiler.kernels import FAMILIES, SCALAR, builder
from firmware_sim.compiler.kernels.interface import Kernel
from firmware_sim.compiler.lower import machine_of
from firmware_sim.cores import load_core
from firmware_sim.kernel_run import run_kernels
from firmware_sim.targets import get_target
from quantization.operators import OPERATORS
from tests.firmware_sim.test_compiler_kernels import CASES, Case, Input, build, linear, scalars, selective, symbol
from tests.small_run import needs_emulator

DRAWS = 12  # of inputs a case
SHAPES = 18  # that hypothesis makes
TARGETS = ("cortex-m4", "rv32imc", "stm32u575", "stm32h7a3")  # one a build; the last two run only what a family of their own computes


@dataclass(frozen=True)
class Aligned:
    """A case, and what divides the addresses of its tensors."""

    case: Case
    alignment: int = 8


def extreme(n_in: int, n_out: int, weight: int, bias: int, mult: int, k: int, wide: bool = False) -> Case:
    """Every weight and bias alike."""
    case = linear(n_in, n_out, 1, k, wide=wide)
    constants = (np.full((n_in, n_out), weight, np.int8), np.full(n_out, bias, np.int32), np.full(n_out, mult, np.int32))
    return Case(case.op, (case.operands[0], *constants, *scalars(2**k)))


def unlike_gains() -> Case:
    """As quantised students have them: the gain of the state far below that of x, and a shift below 33."""
    case = selective(2, 4, 16, 12, 2**29 - 1, 29)
    return Case(case.op, (*case.operands[:7], case.operands[7] >> 13, *case.operands[8:]))


MORE = {
    "one-row": Aligned(linear(31, 1, 2**30 - 1, 40, bias=4000)),
    "one-column": Aligned(linear(1, 9, 2**20, 20, bias=4000)),
    "one-by-one-int16": Aligned(linear(1, 1, 5, 3, bias=4, wide=True)),
    "three-rows": Aligned(linear(17, 3, 2**29, 38, bias=4000)),
    "five-rows-int16": Aligned(linear(20, 5, 2**29, 46, wide=True)),
    "a-part-of-a-tensor": Aligned(linear(16, 6, 2**29, 38, bias=4000), 1),
    "a-part-of-a-tensor-int16": Aligned(linear(16, 6, 2**29, 46, wide=True), 2),
    "several-loops": Aligned(linear(292, 4, 2**29, 40, bias=4000)),  # 73 batches of 4 columns: filled up to 75
    "several-loops-int16": Aligned(linear(292, 4, 2**29, 46, wide=True)),
    "whole-loops-int16": Aligned(linear(272, 4, 2**29, 46, wide=True)),
    "weights-of-minus-128": Aligned(extreme(16, 4, -128, 7, 2**24, 30)),
    "all-weights-high": Aligned(extreme(16, 4, 127, 2**31 - 1 - 128 * 127 * 16, 2**30 - 1, 46)),
    "all-weights-low-int16": Aligned(extreme(12, 4, -127, -(2**31) + 1 + 32768 * 127 * 12, -(2**30), 46, wide=True)),
    "sum-of-24-bits": Aligned(extreme(16, 4, 127, 2**23 - 1 - 128 * 127 * 16, 2**31 - 1, 38)),
    "sum-of-25-bits": Aligned(extreme(16, 4, 127, 2**23 - 128 * 127 * 16, 2**31 - 1, 38)),
    "sums-beyond-24-bits": Aligned(extreme(16, 4, 127, -(2**23) - 1000, 2**29, 38)),
    "lowest-multiplier": Aligned(extreme(8, 4, 3, -5, -(2**31), 44)),
    "multiplier-of-zero": Aligned(extreme(8, 4, 3, -5, 0, 0)),
    "no-shift-wide-sums": Aligned(extreme(8, 4, 127, 2**30, 2**30, 0)),
    "half-a-unit": Aligned(extreme(8, 2, 1, 0, 1, 1)),
    "shift-of-46": Aligned(linear(24, 8, 2**31 - 1, 46)),
    "shift-of-62": Aligned(linear(24, 8, 2**31 - 1, 62, wide=True)),
    "state-16": Aligned(selective(2, 4, 16, 12, 2**19, 36)),
    "state-loops": Aligned(selective(1, 2, 68, 15, 2**30 - 1, 40)),
    "state-of-two": Aligned(selective(3, 2, 2, 0, 2**31 - 1, 46)),
    "state-largest-shift": Aligned(selective(2, 2, 4, 30, 2**19, 62)),
    "state-no-shift": Aligned(selective(2, 2, 4, 20, 3, 0)),
    "state-wide-no-shift": Aligned(selective(2, 2, 4, 20, 2**31 - 1, 1)),
    "state-unlike-gains": Aligned(unlike_gains()),
    "state-odd": Aligned(selective(2, 2, 7, 12, 2**19, 36)),
    "state-odd-rows": Aligned(selective(2, 5, 8, 12, 2**19, 36)),
    "state-beyond-32-bits": Aligned(selective(2, 2, 4, 33, 2**19, 36)),
    "state-of-parts": Aligned(selective(2, 4, 8, 12, 2**19, 36), 2),
}


def made_up() -> dict[str, Aligned]:
    """Matrix products and selective steps of any small shape, shift and size of the constants, the same ones each time."""
    found: list[Aligned] = []
    power = st.integers(0, 30).map(lambda n: 2**n)
    alignments = st.sampled_from((1, 8, 8))
    products = st.builds(linear, st.integers(1, 70), st.integers(1, 13), power, st.integers(0, 46), power, st.booleans())
    even = st.integers(1, 24).map(lambda n: 2 * n)  # what is odd is plain code: MORE
    steps = st.builds(selective, st.integers(1, 3), even, even, st.integers(0, 30), power, st.integers(0, 46))

    @seed(29)
    @settings(max_examples=SHAPES, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.builds(Aligned, st.one_of(products, products, steps), alignments))
    def collect(one: Aligned) -> None:
        found.append(one)

    collect()
    return {f"made-up-{i}": one for i, one in enumerate(found)}


MADE_UP = made_up()


def cases_of(family: str, every_operator: bool) -> dict[str, Aligned]:
    """What is run of a family: kernels that it has, and on one target of it those of all operators."""
    all_of_them = {name: Aligned(case) for name, case in CASES.items()} | (MORE | MADE_UP if family != SCALAR else {})
    return {
        name: one for name, one in all_of_them.items() if every_operator or builder(one.case.op, family) is not builder(one.case.op, SCALAR)
    }


def drawn(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    return [operand.draw(rng) if isinstance(operand, Input) else operand for operand in case.operands]


@pytest.mark.parametrize("name", TARGETS)
def test_kernels_equal_the_reference_on_the_core(name, tmp_path):
    needs_emulator()
    target, rng = get_target(name), np.random.default_rng(11)
    family = machine_of(target.build).kernels
    cases = cases_of(family, name in TARGETS[:2])
    kernels = {symbol(each): build(one.case, family, one.alignment) for each, one in cases.items()}
    drawings = {each: [drawn(one.case, rng) for _ in range(DRAWS)] for each, one in cases.items()}
    inputs = {
        symbol(each): [
            {
                f"in{i}": array
                for i, (array, operand) in enumerate(zip(arrays, one.case.operands, strict=True))
                if isinstance(operand, Input)
            }
            for arrays in drawings[each]
        ]
        for each, one in cases.items()
    }
    runs = run_kernels(kernels, inputs, target, load_core(target.core), tmp_path)
    for each, one in cases.items():
        kernel, run = kernels[symbol(each)], runs[symbol(each)]
        for call, arrays in enumerate(drawings[each]):
            expected = OPERATORS[one.case.op].arithmetic(*arrays, **one.case.attributes)
            for value, want in zip(kernel.outputs, expected, strict=True):
                got = run.outputs[kernel.in_place.get(value.name, value.name)][call]
                np.testing.assert_array_equal(got, want, err_msg=f"{each}: {value.name}")
        assert run.cycles > 3 and run.instructions > 3 and run.code_bytes > 3, each


def family_function(kernel: Kernel) -> bool:
    """Whether it is made of the instructions of the DSP extension."""
    return "llvm.arm." in kernel.function.script()


def test_a_family_takes_what_a_simpler_one_has():
    assert builder("QTable", "dual") is builder("QTable", "dsp") is builder("QTable", SCALAR)
    assert len({builder("QLinear", family) for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("family", ["dsp", "dual"])
@pytest.mark.parametrize("name", ["linear", "linear-many-rows", "linear-two-rows", "linear-no-shift", "linear-int16", "selective-long"])
def test_what_a_family_has_room_for_is_its_own(name, family):
    assert family_function(build(CASES[name], family, 8))


@pytest.mark.parametrize(
    "one",
    [
        Aligned(CASES["linear-int16-64-bit"]),  # a sum leaves int32
        MORE["weights-of-minus-128"],  # a pair of weights leaves int16
        *(MORE[f"state-{name}"] for name in ("odd", "odd-rows", "beyond-32-bits", "of-parts")),
    ],
)
def test_where_it_has_none_the_plain_kernel_stands_in(one):
    assert not family_function(build(one.case, "dsp", one.alignment))
