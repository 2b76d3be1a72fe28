"""Kernels of each family of instruction sets, as the emulated cores run them, against the reference: every bit, over the whole range."""

import numpy as np
import pytest

from firmware_sim.cores import load_core
from firmware_sim.kernel_run import run_kernels
from firmware_sim.targets import get_target
from quantization.operators import OPERATORS
from tests.firmware_sim.test_compiler_kernels import CASES, Case, Input, build, symbol
from tests.small_run import needs_emulator

DRAWS = 12  # of inputs a case


def drawn(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    return [operand.draw(rng) if isinstance(operand, Input) else operand for operand in case.operands]


@pytest.mark.parametrize("name", ["cortex-m4", "rv32imc"])
def test_kernels_equal_the_reference_on_the_core(name, tmp_path):
    needs_emulator()
    target, rng = get_target(name), np.random.default_rng(11)
    kernels = {symbol(each): build(case) for each, case in CASES.items()}
    drawings = {each: [drawn(case, rng) for _ in range(DRAWS)] for each, case in CASES.items()}
    inputs = {
        symbol(each): [
            {f"in{i}": array for i, (array, operand) in enumerate(zip(arrays, case.operands, strict=True)) if isinstance(operand, Input)}
            for arrays in drawings[each]
        ]
        for each, case in CASES.items()
    }
    runs = run_kernels(kernels, inputs, target, load_core(target.core), tmp_path)
    for each, case in CASES.items():
        kernel, run = kernels[symbol(each)], runs[symbol(each)]
        for call, arrays in enumerate(drawings[each]):
            expected = OPERATORS[case.op].arithmetic(*arrays, **case.attributes)
            for value, want in zip(kernel.outputs, expected, strict=True):
                got = run.outputs[kernel.in_place.get(value.name, value.name)][call]
                np.testing.assert_array_equal(got, want, err_msg=f"{each}: {value.name}")
        assert run.cycles > run.instructions > 3 and run.code_bytes > 3, each
