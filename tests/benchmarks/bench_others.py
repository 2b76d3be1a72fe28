"""Matrix products beside those of others: python tests/benchmarks/bench_others.py [TARGET]...

Cycles a multiply-accumulate, by the core's table, from memory without wait states, of the products of an untrained 96-channel LFP implant
(preset implant-m, int8 inputs) and of two larger ones, computed to the same bits:

- this project's kernel;
- TVM's: the product and its requantisation as tensor expressions, lowered without a schedule, by the same LLVM;
- plain C: a row at a time, sums in 32 bits and a product of 64 for each output, compiled by zig cc -O3 for the core.

Every output is compared with the reference. CMSIS-NN's column is not measured here: its functions, arm_fully_connected_s8 of commit 99f736a
compiled by gcc 12 -O3 for the Cortex-M4, were counted and priced by the same table once; they round otherwise and give int8.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from firmware_sim.compiler.kernels.interface import Kernel, Value
from firmware_sim.compiler.lower import Machine, build_object, machine_of
from firmware_sim.cores import load_core
from firmware_sim.kernel_run import run_kernels
from firmware_sim.targets import Target, get_target
from firmware_sim.toolchain import zig_cc
from quantization.operators import OPERATORS
from tests.benchmarks.bench_kernels import LARGER, Work, product, shapes

TARGETS = ("cortex-m4", "rv32imc")
CMSIS_NN = {("cortex-m4", 128, 256): 2.82, ("cortex-m4", 256, 128): 2.57, ("cortex-m4", 64, 292): 3.32}  # see above

_C = """#include <stdint.h>
void {symbol}(const int8_t *restrict x, const int8_t *restrict weight, const int32_t *bias, const int32_t *mult, int16_t *restrict y) {{
    for (int o = 0; o < {n_out}; o++) {{
        int32_t sum = bias[o];
        for (int i = 0; i < {n_in}; i++) sum += x[i] * weight[o * {n_in} + i];
        int64_t value = ((int64_t)sum * mult[o] + {half}) >> {k};
        y[o] = (int16_t)(value > 32767 ? 32767 : value < -32767 ? -32767 : value);
    }}
}}
"""


def expressions(n_in: int, n_out: int, k: int) -> tirx.PrimFunc:
    """sat16(round_shift((x W + b) * mult, k)), with no schedule; the sums are the caller's, as there is no heap."""
    x, weight = te.placeholder((n_in,), "int8", "x"), te.placeholder((n_out, n_in), "int8", "weight")
    bias, mult = (te.placeholder((n_out,), "int32", name) for name in ("bias", "mult"))
    i = te.reduce_axis((0, n_in), "i")
    sums = te.compute((n_out,), lambda o: te.sum(x[i].astype("int32") * weight[o, i].astype("int32"), axis=i), "sums")

    def requantised(o: tirx.Var) -> Any:
        value = ((sums[o] + bias[o]).astype("int64") * mult[o].astype("int64") + tirx.const(2**k // 2, "int64")) >> tirx.const(k, "int64")
        return te.max(te.min(value, tirx.const(32767, "int64")), tirx.const(-32767, "int64")).astype("int16")

    return te.create_prim_func([x, weight, bias, mult, sums, te.compute((n_out,), requantised, "y")])


def by_rows(work: Work, with_sums: bool) -> Kernel:
    """The product with its weights row by row, as TVM's and C's code read them; C keeps the sums in a register."""
    _, weight, bias, mult, two_k = work.operands
    n_in, n_out = weight.shape
    function = expressions(n_in, n_out, int(two_k).bit_length() - 1)
    own = (Value("sums", "int32", (n_out,), 2**31),) if with_sums else ()
    pointers = ("in0", np.ascontiguousarray(weight.T), bias, mult, *(value.name for value in own), "y")
    return Kernel(function, pointers, (Value("y", "int16", (n_out,), 32767),), macs=n_in * n_out, scratch=own)


def build_c(target: Target, shifts: dict[str, int], kernel: Kernel, symbol: str, machine: Machine, path: Path) -> None:
    """In place of TVM's object, the same function in C."""
    weight, k = kernel.pointers[1], shifts[symbol]
    assert isinstance(weight, np.ndarray)
    (path.parent / f"{symbol}.c").write_text(_C.format(symbol=symbol, n_out=weight.shape[0], n_in=weight.shape[1], k=k, half=2**k // 2))
    flags = ["-target", target.compiler.triple, f"-mcpu={target.compiler.cpu}", "-ffreestanding", "-fno-sanitize=all", "-O3", "-g0"]
    zig_cc([*flags, "-c", f"{symbol}.c", "-o", path.name], cwd=path.parent)


def measured(name: str, work: list[Work], folder: Path) -> dict[str, list[float]]:
    """By maker, cycles a MAC of each product."""
    target, family = get_target(name), machine_of(get_target(name).build).kernels
    symbols = [f"product_{i}" for i in range(len(work))]
    inputs: dict[str, list[dict[str, NDArray]]] = {symbol: [{"in0": one.operands[0]}] for symbol, one in zip(symbols, work, strict=True)}
    shifts = {symbol: int(one.operands[4]).bit_length() - 1 for symbol, one in zip(symbols, work, strict=True)}
    makers = {
        "this project": ([one.kernel(family, None) for one in work], build_object),
        "TVM, no schedule": ([by_rows(one, True) for one in work], build_object),
        "C, zig cc -O3": ([by_rows(one, False) for one in work], partial(build_c, target, shifts)),
    }
    found = {}
    for maker, (kernels, build) in makers.items():
        by_symbol = dict(zip(symbols, kernels, strict=True))
        runs = run_kernels(by_symbol, inputs, target, load_core(target.core), folder / f"{name}-{len(found)}", build=build)
        for symbol, one in zip(symbols, work, strict=True):
            (want,) = OPERATORS[one.op].arithmetic(*one.operands)
            np.testing.assert_array_equal(runs[symbol].outputs["y"][0], want, err_msg=f"{maker}: {one.label}")
        found[maker] = [runs[symbol].cycles / kernel.macs for symbol, kernel in by_symbol.items()]
    return found


def main(names: list[str]) -> None:
    rng = np.random.default_rng(2)
    sizes = list(dict.fromkeys((*shapes(), *LARGER)))
    work = [product(rng, *size, "int8") for size in sizes]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            found = measured(name, work, Path(folder))
            cells = {maker: [f"{each:.2f}" for each in cycles] for maker, cycles in found.items()}
            if name in {target for target, _, _ in CMSIS_NN}:
                known = (CMSIS_NN.get((name, *size)) for size in sizes)
                cells["CMSIS-NN, not measured here"] = [f"{each:.2f}" if each else "–" for each in known]
            print(f"| {load_core(get_target(name).core).name} | {' | '.join(cells)} |")
            print(f"|---|{'---:|' * len(cells)}")
            for (n_in, n_out), row in zip(sizes, zip(*cells.values(), strict=True), strict=True):
                print(f"| {n_in} x {n_out} | {' | '.join(row)} |")
            print(flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(TARGETS))
