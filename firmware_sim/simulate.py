"""Runs one stream's firmware on one target: equal to the reference or not, and what it costs."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_sim.attribution import FunctionCost, RegionCost, VisitCosts, count_cycles
from firmware_sim.build import build_firmware, check_fit
from firmware_sim.bundle import Bundle, load_bundle
from firmware_sim.compare import Expected, Mismatch, first_mismatch, split_dump
from firmware_sim.cores import CoreTable, load_core
from firmware_sim.elf import MemoryUse, SymbolMap, memory_use, read_symbols
from firmware_sim.profile import read_profile
from firmware_sim.qemu import run_firmware
from firmware_sim.targets import Target
from firmware_sim.timing import ZERO, Cycles
from firmware_sim.wait_states import memory_of
from realm_edge.documents import Number
from realm_edge.errors import UserError
from realm_edge.segments import Starts

MAIN_LOOP = frozenset({"main", "start_anew", "take", "decode"})  # functions of firmware/main.c


@dataclass(frozen=True)
class KernelRow:
    """What a function costs in one decoder step (a front end's: in the blocks of one bin), divided evenly where nodes share it."""

    stage: str  # "frontend" or "decoder"
    symbol: str
    node: str  # of the step graph; empty for driver and helpers
    op: str  # "driver", "helper", or the kernel's operator
    macs: int
    instructions: Number
    cycles: Number
    cycles_low: Number
    cycles_high: Number
    stall_cycles: Number  # of ``cycles``: flash wait states
    loaded_bytes: Number


@dataclass(frozen=True)
class Visits:
    """The visits to a region over the whole run: the one that half of them do not exceed by cycles, that 99 % do not, and the longest."""

    count: int
    least_instructions: int
    most_instructions: int
    p50: Cycles
    p99: Cycles
    longest: Cycles


@dataclass(frozen=True)
class RegionStep:
    """A region's cost in one step, and its visits; ``cycles`` include ``stalls`` by flash wait states."""

    cycles: Cycles
    instructions: float
    visits: Visits | None  # None for the loop, which has no marker of its own, and where there is no front end
    stalls: Cycles = ZERO
    loaded_bytes: float = 0.0


@dataclass(frozen=True)
class StreamResult:
    """One stream on one target. 'Step' is one bin: the front end's blocks and one decoder step."""

    bundle: Bundle
    target: Target
    core: CoreTable
    emulator: str
    steps: int
    mismatch: Mismatch | None
    regions: dict[str, RegionStep]  # frontend, decoder, send, reset, loop
    kernels: tuple[KernelRow, ...]
    memory: MemoryUse
    stack_used: int  # bytes
    tick_values: int
    output_values: int

    @property
    def bit_exact(self) -> bool:
        return self.mismatch is None

    @property
    def cycles_per_step(self) -> Cycles:
        return self.regions["frontend"].cycles.plus(self.regions["decoder"].cycles)

    @property
    def macs_per_step(self) -> int:
        return sum(row.macs for row in self.kernels)

    @property
    def state_bytes(self) -> int:
        return sum(stage.state_bytes for stage in self.bundle.stages)


def simulate_stream(
    bundle_dir: Path,
    target: Target,
    samples: NDArray[np.int16],
    expected: Expected,
    folder: Path,
    timeout_s: float = 900.0,
    starts: Starts = (0,),
) -> StreamResult:
    """Build the firmware, run it on ``samples`` and hold it against ``expected``.

    Args:
        samples: (ticks, values per tick): ADC counts at the front end's rate, or without a front end the features of each bin.
        expected: the reference at each bin edge of the same samples.
        folder: receives the build and the run.
        starts: bins at which segments start, the first at 0; the recording pauses before the others.

    Raises:
        UserError: broken bundle, samples of another shape, a model that does not fit the part, QEMU missing, a run that failed.
    """
    built = build(bundle_dir, target, folder / "build")
    check_fit(built.elf, target, bundle_dir)
    return simulate_built(built, samples, expected, folder / "run", timeout_s, starts)


@dataclass(frozen=True)
class Built:
    """Firmware that was linked for a target, whether or not it fits the part."""

    bundle: Bundle
    target: Target
    elf: Path
    memory: MemoryUse


def build(bundle_dir: Path, target: Target, folder: Path) -> Built:
    """Link the firmware of a bundle in ``folder``. Raises as :func:`firmware_sim.build.build_firmware`, and for a broken bundle."""
    bundle = load_bundle(bundle_dir)
    elf = build_firmware(bundle, target, folder)
    return Built(bundle, target, elf, memory_use(elf))


def simulate_built(
    built: Built, samples: NDArray[np.int16], expected: Expected, folder: Path, timeout_s: float = 900.0, starts: Starts = (0,)
) -> StreamResult:
    """Run firmware on ``samples`` and hold it against ``expected``; arguments as of :func:`simulate_stream`, ``folder`` for the run alone.

    Raises:
        UserError: samples of another shape, QEMU missing, a run that failed.
    """
    bundle, target, elf, bundle_dir = built.bundle, built.target, built.elf, built.bundle.path
    symbols = read_symbols(elf)
    tick_values = symbols["realm_sim_block"].size // 2 // bundle.ticks_per_block
    if samples.ndim != 2 or samples.dtype != np.int16 or samples.shape[1] != tick_values or samples.shape[0] % bundle.ticks_per_bin:
        needed = f"int16 (a multiple of {bundle.ticks_per_bin}, {tick_values})"
        raise UserError(f"{bundle_dir}: samples are {samples.dtype}{samples.shape}: the firmware reads {needed}")
    if samples.shape[0] == 0:
        raise UserError(f"{bundle_dir}: no samples to simulate: the held-out part is shorter than one bin")
    pauses = [start * bundle.blocks_per_bin for start in starts[1:]]
    run = run_firmware(elf, target, samples, folder, timeout_s, pauses)
    mismatch = first_mismatch(split_dump(run.dump, bundle, symbols), expected)
    core = load_core(target.core)
    constants = constants_of(bundle)
    costs = count_cycles(read_profile(run.profile), core, SymbolMap(symbols), memory_of(target.flash, core), constants)
    steps = samples.shape[0] // bundle.ticks_per_bin
    return StreamResult(
        bundle=bundle,
        target=target,
        core=core,
        emulator=f"QEMU {run.emulator.version}",
        steps=steps,
        mismatch=mismatch,
        regions=_regions(costs, steps),
        kernels=tuple(_kernel_rows(bundle, costs, steps)),
        memory=built.memory,
        stack_used=run.stack_used,
        tick_values=tick_values,
        output_values=symbols["realm_output"].size // 2,
    )


def constants_of(bundle: Bundle) -> dict[str, tuple[int, ...]]:
    """By function, bytes of constants that a call of it reads, for each node that calls it."""
    found: defaultdict[str, tuple[int, ...]] = defaultdict(tuple)
    for kernel in (kernel for stage in bundle.stages for kernel in stage.kernels):
        found[kernel.symbol] += (kernel.constant_bytes,)
    return dict(found)


def _regions(costs: dict[str, RegionCost], steps: int) -> dict[str, RegionStep]:
    found = {name: _region(cost, steps) for name, cost in costs.items() if name != "outside"}
    found.setdefault("frontend", RegionStep(ZERO, 0.0, None))  # its marker is not linked where the bundle has no front end
    # What the main loop itself does outside the regions; the simulator's board layer is left out.
    loop = [cost for name, cost in costs["outside"].functions.items() if name in MAIN_LOOP]
    found["loop"] = _step(loop, steps)
    return found


def _region(cost: RegionCost, steps: int) -> RegionStep:
    return replace(_step(list(cost.functions.values()), steps), visits=_visits(cost.visits) if cost.region.visits else None)


def _step(functions: list[FunctionCost], steps: int) -> RegionStep:
    cycles, stalls = ZERO, ZERO
    for function in functions:
        cycles, stalls = cycles.plus(function.cycles), stalls.plus(function.stalls)
    instructions, loaded = sum(f.instructions for f in functions), sum(f.loaded_bytes for f in functions)
    return RegionStep(cycles.times(1 / steps), instructions / steps, None, stalls.times(1 / steps), loaded / steps)


def _visits(costs: VisitCosts) -> Visits:
    least, most = int(costs.instructions.min()), int(costs.instructions.max())
    return Visits(len(costs.instructions), least, most, costs.at(0.5), costs.at(0.99), costs.at(1.0))


def _kernel_rows(bundle: Bundle, costs: dict[str, RegionCost], steps: int) -> Iterator[KernelRow]:
    for name, stage in bundle.named_stages.items():
        functions = dict(costs[name].functions)
        shared = Counter(kernel.symbol for kernel in stage.kernels)  # nodes of equal shape, which take equal parts
        for kernel in stage.kernels:
            cost = costs[name].functions.get(kernel.symbol, FunctionCost())
            functions.pop(kernel.symbol, None)
            yield _row(name, kernel.symbol, kernel.node, kernel.op, kernel.macs, cost, steps * shared[kernel.symbol])
        for symbol, cost in sorted(functions.items()):
            op = "driver" if symbol in MAIN_LOOP or symbol.startswith(stage.prefix) else "helper"
            yield _row(name, symbol, "", op, 0, cost, steps)


def _row(stage: str, symbol: str, node: str, op: str, macs: int, cost: FunctionCost, steps: int) -> KernelRow:
    cycles, stalls = cost.cycles.times(1 / steps), cost.stalls.cycles / steps
    return KernelRow(stage, symbol, node, op, macs, cost.instructions / steps, *cycles, stalls, cost.loaded_bytes / steps)
