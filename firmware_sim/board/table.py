"""What the core's table says of a bundle's self-test: the very program that runs on the board, executed in QEMU and priced for a part."""

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.attribution import priced
from firmware_sim.board.program import build_selftest
from firmware_sim.bundle import Bundle
from firmware_sim.cores import load_core
from firmware_sim.cycles.pricing import cycles_by_path
from firmware_sim.cycles.program import read_program
from firmware_sim.cycles.run import Span, count
from firmware_sim.simulate import constants_of
from firmware_sim.targets import Target
from firmware_sim.timing import ZERO, Cycles
from firmware_sim.wait_states import memory_of

SECONDS = 300.0  # of real time, after which the self-test is given up


@dataclass(frozen=True)
class Priced:
    """Cycles over the whole self-test, of all that a function calls, too: of stages in the run by stages, of kernels in that by kernels."""

    stages: dict[str, Cycles]
    kernels: dict[str, Cycles]  # by symbol


def price(bundle: Bundle, target: Target) -> Priced:
    """Run the self-test of a bundle that is known to be what its graphs compile to (the program may do what its user may do).

    Raises:
        UserError: QEMU is missing, the part is of another build, or the self-test does not agree there.
    """
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as folder:
        program = read_program(build_selftest(bundle, target, Path(folder)), target)
        table, entry = load_core(target.core), program.functions.function_at(program.start)
        counted = count(program, Span(program.start, entry), target, table, SECONDS)
    # As simulate prices firmware: the error is that of the report's figures.
    prices = priced(counted.joined, table, program.functions, memory_of(target.flash, table), constants_of(bundle))
    return summed(bundle, cycles_by_path(prices, program.functions, entry))


def summed(bundle: Bundle, by_path: dict[tuple[str, ...], Cycles]) -> Priced:
    """Sum up call stacks: below a stage's function, unless the whole model called it; below a kernel, unless a stage's function did."""
    entries = {f"{stage.prefix}_{'block' if name == 'frontend' else 'step'}": name for name, stage in bundle.named_stages.items()}
    symbols = {kernel.symbol for stage in bundle.stages for kernel in stage.kernels}
    stages: defaultdict[str, Cycles] = defaultdict(lambda: ZERO)
    kernels: defaultdict[str, Cycles] = defaultdict(lambda: ZERO)
    for path, cycles in by_path.items():
        if f"{bundle.prefix}_step_block" in path:
            continue
        entry = next((name for name in path if name in entries), None)
        kernel = next((name for name in path if name in symbols), None)
        if entry is not None:
            stages[entries[entry]] = stages[entries[entry]].plus(cycles)
        elif kernel is not None:
            kernels[kernel] = kernels[kernel].plus(cycles)
    return Priced(dict(stages), dict(kernels))
