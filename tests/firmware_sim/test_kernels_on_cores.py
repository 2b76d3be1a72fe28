"""Kernels of each family of instruction sets, as the emulated cores run them, against the reference: every bit, over the whole range."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from export.functions import INT8, INT16
from firmware_sim.compiler.kernels import FAMILIES, SCALAR, builder
from firmware_sim.compiler.kernels.interface import Kernel
from firmware_sim.compiler.lower import build_object, machine_of
from firmware_sim.cores import load_core
from firmware_sim.elf import read_symbols
from firmware_sim.kernel_run import run_kernels
from firmware_sim.targets import get_target
from quantization.operators import OPERATORS
from tests.firmware_sim.test_compiler_kernels import (
    CASES,
    Case,
    Input,
    add,
    build,
    conv,
    gated_norm,
    int16,
    layer_norm,
    linear,
    normalise,
    scalars,
    selective,
    symbol,
    table,
)
from tests.small_run import needs_emulator

DRAWS = 12  # of inputs a case
SHAPES = 36  # that hypothesis makes
# One a build; parts with the DSP extension run only what a family of their own computes, but for the first.
TARGETS = ("cortex-m4", "rv32imc", "stm32g0b1", "stm32u575", "stm32h7a3", "cortex-m55")
EVERY_OPERATOR = TARGETS[:3]
QUICK = TARGETS[:2]  # of these all cases are run by default


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


def read_out(y_mult: list[int], d_mult: list[int], k_y: int) -> Case:
    """Selective steps of 16 states whose multipliers are these."""
    case = selective(len(y_mult), 2, 16, 12, 1, k_y)
    mults = (np.array(y_mult, np.int32), np.array(d_mult, np.int32))
    return Case(case.op, (*case.operands[:7], *mults, case.operands[9]))


MORE = {
    "one-row": Aligned(linear(31, 1, 2**30 - 1, 40, bias=4000)),
    "one-column": Aligned(linear(1, 9, 2**20, 20, bias=4000)),
    "one-column-of-four": Aligned(linear(1, 4, 2**20, 20, bias=4000)),
    "two-columns": Aligned(linear(2, 4, 2**20, 20, bias=4000)),
    "seven-rows": Aligned(linear(6, 7, 2**29, 38, bias=4000)),
    "seventeen-rows": Aligned(linear(62, 17, 2**29, 40, bias=4000)),
    "seventeen-rows-int16": Aligned(linear(62, 17, 2**29, 46, wide=True)),
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
    "state-odd": Aligned(selective(2, 2, 7, 12, 2**19, 36)),
    "state-odd-rows": Aligned(selective(2, 5, 8, 12, 2**19, 36)),
    "state-beyond-32-bits": Aligned(selective(2, 2, 4, 33, 2**19, 36)),
    "state-by-halves": Aligned(read_out([34072, 0, 65535, 1], [2**29, -(2**29), 0, 2**31 - 1], 29)),
    "state-by-halves-largest": Aligned(read_out([65535, 65534], [-(2**12), 2**12 - 1], 31)),
    "state-beyond-halves": Aligned(read_out([65536, 65535], [2**29, -(2**31)], 31)),
    "shift-of-60": Aligned(extreme(16, 4, 3, 5, 2**30, 60)),
    "conv-pairs": Aligned(conv(4, 2**29, 36, bias=2**22, channels=10)),
    "conv-three-taps": Aligned(conv(3, 2**31 - 1, 40, channels=6)),
    "conv-two-taps-one-pair": Aligned(conv(2, 2**20, 20, bias=100, channels=2)),
    "conv-six-taps": Aligned(conv(6, 2**31 - 1, 62, bias=4000, channels=4)),
    "conv-no-shift": Aligned(conv(4, 3, 0, bias=5, channels=2)),
    "conv-odd": Aligned(conv(4, 2**29, 36, channels=7)),
    "conv-beyond-32-bits": Aligned(conv(4, 2**29, 46, bias=2**31 - 1, channels=4)),
    "conv-of-parts": Aligned(conv(4, 2**29, 36, channels=6), 2),
    "add-words": Aligned(add(12)),
    "add-one-word": Aligned(add(2)),
    "add-of-parts": Aligned(add(8), 2),
    "table-words": Aligned(table(14, 2**14 - 1, 2, 1)),
    "table-one-word": Aligned(table(2, 300)),
    "table-end-to-end": Aligned(Case("QTable", (int16(8), np.linspace(-32767, 32767, 257).astype(np.int16), *scalars(0)))),
    "table-flat": Aligned(Case("QTable", (int16(8), np.full(257, -32767, np.int16), *scalars(0)))),
    "table-steepest": Aligned(Case("QTable", (int16(8), np.where(np.arange(257) % 2, 32767, 0).astype(np.int16), *scalars(0)))),
    "table-too-steep": Aligned(Case("QTable", (int16(8), np.where(np.arange(257) % 2, 32767, -1).astype(np.int16), *scalars(0)))),
    "table-odd": Aligned(table(7, 2**14 - 1)),
    "table-of-parts": Aligned(table(8, 2**14 - 1), 2),
    "normalise-pairs": Aligned(normalise(10, 2**29, 2**42, 24, INT16), 2),
    "normalise-pair-of-bytes": Aligned(normalise(2, 2**29, 2**44, 47)),
    "normalise-least-shift": Aligned(normalise(4, 9, 2**20, 16, INT16)),
    "normalise-shift-of-15": Aligned(normalise(4, 9, 2**20, 15, INT16)),
    "normalise-shift-of-48": Aligned(normalise(4, 2**30, 2**44, 48, INT16)),
    "normalise-beyond-2-46": Aligned(normalise(4, 2**31 - 1, 2**46, 40, INT16)),
    "normalise-odd": Aligned(normalise(7, 2**29, 2**42, 24, INT16)),
    "layer-norm-pairs": Aligned(layer_norm(10, 2**14, 2**28, 1000, 15, INT16)),
    "layer-norm-one-pair": Aligned(layer_norm(2, 2**14, 2**20, 1, 20, INT8)),
    "layer-norm-one-element": Aligned(layer_norm(1, 2**14, 2**20, 1, 20, INT8)),
    "layer-norm-no-shift": Aligned(layer_norm(6, 100, 5, 1, 0, INT8)),
    "layer-norm-long": Aligned(layer_norm(300, 2**14, 2**28, 2739, 20, INT8)),
    "layer-norm-odd": Aligned(layer_norm(9, 2**14, 2**28, 1000, 15, INT16)),
    "layer-norm-of-parts": Aligned(layer_norm(8, 2**14, 2**28, 1000, 15, INT16), 2),
    "layer-norm-beyond-32-bits": Aligned(layer_norm(8, 2**14, 2**31 - 1, 1000, 20, INT16)),
    "gated-norm-pairs": Aligned(gated_norm(10, 13, 2**14, 100, 21)),
    "gated-norm-one-pair": Aligned(gated_norm(2, 0, 2**15 - 1, 1, 16, INT16)),
    "gated-norm-largest-shifts": Aligned(gated_norm(4, 30, 2**14, 1, 31, INT16)),
    "gated-norm-shift-of-31": Aligned(gated_norm(4, 31, 2**14, 1, 20)),
    "gated-norm-no-shift": Aligned(gated_norm(6, 15, 3, 2**40, 0)),
    "gated-norm-odd": Aligned(gated_norm(9, 13, 2**14, 100, 21)),
    "gated-norm-of-parts": Aligned(gated_norm(8, 13, 2**14, 100, 21), 2),
    "state-of-parts": Aligned(selective(2, 4, 8, 12, 2**19, 36), 2),
}


def made_up() -> dict[str, Aligned]:
    """Nodes of any small shape, shift and size of the constants, the same ones each time."""
    found: list[Aligned] = []
    power = st.integers(0, 30).map(lambda n: 2**n)
    alignments = st.sampled_from((1, 8, 8))
    products = st.builds(linear, st.integers(1, 70), st.integers(1, 13), power, st.integers(0, 46), power, st.booleans())
    evens = st.one_of(st.integers(1, 20), st.integers(1, 24).map(lambda n: 2 * n))
    steps = st.builds(selective, st.integers(1, 3), evens, evens, st.integers(0, 32), power, st.integers(0, 46))
    sizes = st.one_of(st.integers(1, 40), st.integers(1, 20).map(lambda n: 2 * n))
    kinds, shifts = st.sampled_from((INT8, INT16)), st.integers(0, 30)
    weights, epsilons = st.integers(0, 15).map(lambda n: 2**n), st.integers(0, 40).map(lambda n: 2**n)
    rest = (
        st.builds(conv, st.integers(2, 7), power, st.integers(0, 46), power, sizes),
        st.builds(add, sizes),
        st.builds(table, sizes, st.integers(1, 32767), st.just(2), st.integers(0, 1)),
        st.builds(normalise, sizes, power, power, st.integers(10, 46), kinds),
        st.builds(layer_norm, sizes, weights, power, epsilons, shifts, kinds),
        st.builds(gated_norm, sizes, shifts, weights, epsilons, shifts, kinds),
    )

    @seed(29)
    @settings(max_examples=SHAPES, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.builds(Aligned, st.one_of(products, products, steps, *rest), alignments))
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


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TARGETS])
def test_kernels_equal_the_reference_on_the_core(name, tmp_path):
    family = machine_of(get_target(name).build).kernels
    hold_to_the_reference(name, cases_of(family, name in EVERY_OPERATOR), tmp_path)


def test_a_kernel_of_each_operator_equals_the_reference_on_a_cortex_m0plus(tmp_path):
    hold_to_the_reference("stm32g0b1", {name: Aligned(case) for name, case in CASES.items()}, tmp_path)


def hold_to_the_reference(name: str, cases: dict[str, Aligned], folder: Path) -> None:
    """Run the kernels of a target's family in the emulator on inputs of their whole range."""
    needs_emulator()
    target, rng = get_target(name), np.random.default_rng(11)
    family = machine_of(target.build).kernels
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
    runs = run_kernels(kernels, inputs, target, load_core(target.core), folder)
    for each, one in cases.items():
        kernel, run = kernels[symbol(each)], runs[symbol(each)]
        for call, arrays in enumerate(drawings[each]):
            expected = OPERATORS[one.case.op].arithmetic(*arrays, **one.case.attributes)
            for value, want in zip(kernel.outputs, expected, strict=True):
                got = run.outputs[kernel.in_place.get(value.name, value.name)][call]
                np.testing.assert_array_equal(got, want, err_msg=f"{each}: {value.name}")
        assert run.cycles > 1 and run.instructions > 1 and run.code_bytes > 3, each  # a copy may be a jump to memcpy


def family_function(kernel: Kernel) -> bool:
    """Whether it is made of the instructions of the DSP extension."""
    return "llvm.arm." in kernel.function.script()


def test_a_family_takes_what_a_simpler_one_has():
    assert builder("QRelu", "dual") is builder("QRelu", "dsp") is builder("QRelu", SCALAR)
    assert builder("QAdd", "dual") is builder("QAdd", "dsp") is not builder("QAdd", SCALAR)
    assert len({builder("QLinear", family) for family in FAMILIES}) == len(FAMILIES)


HAS_ROOM = (
    *("linear", "linear-many-rows", "linear-two-rows", "linear-no-shift", "linear-int16", "selective-long", "shift-of-60"),
    *("conv-pairs", "conv-three-taps", "conv-two-taps-one-pair", "conv-six-taps", "conv-no-shift", "add-words", "add-one-word"),
    *("table-words", "table-one-word", "table-end-to-end", "table-flat", "table-steepest"),
    *("normalise-pairs", "normalise-pair-of-bytes", "normalise-least-shift"),
    *("layer-norm-16", "layer-norm-pairs", "layer-norm-one-pair", "layer-norm-no-shift", "layer-norm-long"),
    *("gated-norm", "gated-norm-int16", "gated-norm-pairs", "gated-norm-one-pair", "gated-norm-largest-shifts", "gated-norm-no-shift"),
)
HAS_NONE = (
    *("linear-int16-64-bit", "layer-norm-8", "layer-norm-wide-weight"),  # a sum leaves int32
    "weights-of-minus-128",  # a pair of weights leaves int16
    *(f"state-{name}" for name in ("odd", "odd-rows", "beyond-32-bits", "of-parts")),
    *(f"conv-{name}" for name in ("odd", "beyond-32-bits", "of-parts")),
    *("add", "add-of-parts", "table-too-steep", "table-odd", "table-of-parts", "table-rows"),
    *(f"normalise-{name}" for name in ("shift-of-15", "shift-of-48", "beyond-2-46", "odd")),
    *(f"layer-norm-{name}" for name in ("one-element", "odd", "of-parts", "beyond-32-bits")),
    *(f"gated-norm-{name}" for name in ("shift-of-31", "odd", "of-parts")),
)


def found(name: str) -> Aligned:
    return MORE[name] if name in MORE else Aligned(CASES[name])


@pytest.mark.parametrize("family", ["dsp", "dual"])
@pytest.mark.parametrize("name", HAS_ROOM)
def test_what_a_family_has_room_for_is_its_own(name, family):
    one = found(name)
    assert family_function(build(one.case, family, one.alignment))


@pytest.mark.parametrize("one", [table(64, 100), layer_norm(64, 2**14, 2**28, 1000, 15, INT16), gated_norm(64, 13, 2**14, 100, 21)])
def test_llvm_unrolls_no_loop_of_a_dual_issue_core(one, tmp_path):
    sizes = {}
    for build_name in ("cortex-m4", "cortex-m7"):
        machine, path = machine_of(build_name), tmp_path / f"{build_name}.o"
        build_object(build(one, machine.kernels, 8), "kernel", machine, path)
        sizes[build_name] = read_symbols(path)["kernel"].size
    assert sizes["cortex-m7"] < 1.25 * sizes["cortex-m4"]


def weight_axes(one: Case, family: str) -> int:
    """Of a matrix product: 2 where they lie as plain code has them."""
    weight = build(one, family, 8).pointers[1]
    assert isinstance(weight, np.ndarray)
    return weight.ndim


@pytest.mark.parametrize("family", ["rv32", "thumb1"])
@pytest.mark.parametrize("name", ["linear", "linear-two-rows", "linear-32-bit", "linear-int16"])
def test_cores_without_the_extension_have_products_of_their_own(name, family):
    assert weight_axes(CASES[name], family) != 2


def test_where_a_pair_of_products_leaves_16_bits_each_has_its_own_multiplication():
    full = extreme(16, 4, -128, 7, 2**24, 30)
    assert weight_axes(full, "rv32") == weight_axes(CASES["linear-int16"], "rv32") != weight_axes(CASES["linear"], "rv32")


@pytest.mark.parametrize(
    ("name", "family"), [("linear-int16-64-bit", "rv32"), ("linear-int16-64-bit", "thumb1"), ("linear-many-rows", "rv32")]
)
def test_where_a_sum_leaves_32_bits_or_columns_make_no_pairs_they_have_not(name, family):
    assert weight_axes(CASES[name], family) == 2


@pytest.mark.parametrize("name", HAS_NONE)
def test_where_it_has_none_the_plain_kernel_stands_in(name):
    one = found(name)
    assert not family_function(build(one.case, "dsp", one.alignment))
