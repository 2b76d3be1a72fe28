"""From what a program ran to what it costs on a part: by function, call stack and region."""

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.resources import files
from typing import Any

from firmware_sim.attribution import FunctionCost, Joined, Priced, RegionCost, by_region, priced
from firmware_sim.components import load_components
from firmware_sim.cores import CoreTable, Cost, load_core
from firmware_sim.cycles.form import Costs, CyclesProfile, FunctionRow, RegionRow, Stack
from firmware_sim.cycles.program import Program
from firmware_sim.cycles.run import Counted, Span
from firmware_sim.elf import SymbolMap
from firmware_sim.memory import Executed, Memory, Stalls
from firmware_sim.targets import Flash, Target
from firmware_sim.timing import ZERO, Cycles
from firmware_sim.wait_states import memory_of
from realm_edge.files import sha256_json

_DIGITS = 3  # of a cycle, that are kept
_LINK = frozenset({1, 5})  # RISC-V: registers that a call writes

Path = tuple[str, ...]


@dataclass(frozen=True)
class _Costed:
    by_path: dict[Path, FunctionCost]
    by_function: dict[str, FunctionCost]


def table_of(target: Target) -> CoreTable:
    """The table of a part's core. Where it does not say what an interrupt costs, the part's figure for entry and return does."""
    table = load_core(target.core)
    if "interrupt" in table.cycles:
        return table
    figure = next(one for one in load_components().all() if one.name == target.components.interrupt)
    source = f"entry and return ({figure.confidence}): {figure.source}"
    cost = Cost(figure.value, source, figure.low, figure.high)
    return replace(table, cycles=table.cycles | {"interrupt": cost})


def tables_digest(target: Target, table: CoreTable) -> str:
    """SHA-256 of what prices a profile: the core's table as it is in its file, the part's flash and clock, an interrupt."""
    text = files("firmware_sim").joinpath(f"cores/{table.name}.toml").read_text(encoding="utf-8")
    interrupt = asdict(table.cycles["interrupt"])
    return sha256_json({"core": text, "flash": asdict(target.flash), "clock_hz": target.clock_hz, "interrupt": interrupt})


def profile_of(program: Program, span: Span, counted: Counted, target: Target, table: CoreTable) -> CyclesProfile:
    """Price what was counted.

    Raises:
        UserError: an instruction that the core's table does not have.
    """
    constants = constant_bytes(counted.joined, program.functions)
    prices = priced(counted.joined, table, program.functions, _memory(target.flash, table), constants)
    regions = by_region(prices)
    costed = _costs(prices, program.functions, program.functions.function_at(span.entry))
    calls, inclusive = calls_of(counted.joined, program.functions), with_callees(costed.by_path)
    rows = [
        FunctionRow(name=name, calls=calls.get(name, 0), cycles_with_callees=_rounded(inclusive[name]), **_costs_of(cost))
        for name, cost in costed.by_function.items()
    ]
    return CyclesProfile(
        program=program.path.name,
        program_sha256=program.sha256,
        machine=program.board.name,
        target=target.name,
        part=target.part,
        core=table.name,
        clock_hz=target.clock_hz,
        tables_sha256=tables_digest(target, table),
        label=table.label,
        validation=table.validation,
        entry=span.entry_name,
        until=span.until_name or None,
        times=span.times,
        stepped=counted.stepped,
        total=Costs(**_costs_of(_sum(regions))),
        functions=tuple(sorted(rows, key=lambda row: (-row.cycles, row.name))),
        regions=tuple(_region(name, cost) for name, cost in regions.items() if cost.region.visits) if program.markers else (),
        stacks=tuple(Stack(functions=path, cycles=_rounded(cost.cycles.cycles)) for path, cost in sorted(costed.by_path.items())),
    )


def cycles_by_path(prices: Priced, functions: SymbolMap, entry: str) -> dict[Path, Cycles]:
    """What the last function of each call stack took by itself, of a program that was counted from ``entry`` on."""
    return {path: cost.cycles for path, cost in _costs(prices, functions, entry).by_path.items()}


def constant_bytes(joined: Joined, functions: SymbolMap) -> dict[str, tuple[int, ...]]:
    """By function, bytes that a call of it loads from flash, rounded up; without the constants that its own code holds (literals)."""
    profile, decoded = joined
    literals = {block.counter: sum(i.loaded for i in all_ if i.literal) for block, all_ in zip(profile.blocks, decoded, strict=True)}
    name_of = {block.counter: functions.function_at(block.address) for block in profile.blocks}
    first: dict[str, tuple[int, int]] = {}  # address and executions of the block at a function's lowest address, as flash.py counts calls
    for block in profile.blocks:
        if any(block.counts):
            first[name_of[block.counter]] = min(first.get(name_of[block.counter], (1 << 64, 0)), (block.address, sum(block.counts)))
    loaded: defaultdict[str, int] = defaultdict(int)
    for cell in profile.cells:
        counter = int(cell["counter"])
        if counter in name_of:
            own = 0 if name_of[counter] in functions.in_ram else literals[counter] * int(cell["count"])
            loaded[name_of[counter]] += int(cell["flash_bytes"]) - own
    return {name: (-(-nbytes // first[name][1]),) for name, nbytes in loaded.items() if nbytes > 0}


def _memory(flash: Flash, table: CoreTable) -> Memory:
    """As for firmware, but that the lines that caches do not hold were counted.

    Where the flash reads ahead, how long a line takes depends on what runs meanwhile, and the model stands.
    """
    model = memory_of(flash, table)
    simulated = table.fetch is not None and not flash.instruction_cache_bytes
    return model if flash.prefetch or simulated or not flash.wait_states else partial(_counted_stalls, flash, model)


def _counted_stalls(flash: Flash, model: Memory, executed: Executed) -> Stalls:
    profile, bounds = executed.profile, model(executed)
    misses: defaultdict[int, int] = defaultdict(int)
    for cell in profile.cells:
        misses[int(cell["counter"])] += int(cell["misses"])
    blocks = [
        Cycles(min(flash.wait_states * misses[block.counter] / max(1, sum(block.counts)), bound.high), bound.low, bound.high)
        for block, bound in zip(profile.blocks, bounds.blocks, strict=True)
    ]
    return Stalls(blocks, bounds.edges, bounds.crossing)


def calls_of(joined: Joined, functions: SymbolMap) -> dict[str, int]:
    """How often the first block of each function was entered from elsewhere, or by a call of its own (recursion)."""
    profile, decoded = joined
    blocks = {block.counter: (block, instructions) for block, instructions in zip(profile.blocks, decoded, strict=True)}
    starts = {counter: functions.start_of(block.address) == block.address for counter, (block, _) in blocks.items()}
    found: defaultdict[str, int] = defaultdict(int)
    for counter, (block, _) in blocks.items():
        if starts[counter]:
            found[functions.function_at(block.address)] += sum(block.counts)
    for edge in profile.edges:
        source, instructions = blocks[edge.source]
        name = functions.function_at(blocks[edge.target][0].address)
        calls = instructions[-1].kind == "branch_link" or (instructions[-1].kind == "jump" and instructions[-1].writes & _LINK)
        if starts[edge.target] and functions.function_at(source.address) == name and not calls:
            found[name] -= sum(edge.counts)
    return dict(found)


def with_callees(by_path: dict[Path, FunctionCost]) -> dict[str, float]:
    """Cycles of each function and all that it called, whoever called it; recursion counts once."""
    found: defaultdict[str, float] = defaultdict(float)
    for path, cost in by_path.items():
        for name in dict.fromkeys(path):
            found[name] += cost.cycles.cycles
    return found


def _costs(priced: Priced, functions: SymbolMap, entry: str) -> _Costed:
    paths: list[Path] = [(entry,)]
    for node in priced.profile.nodes:
        called_by = _extended(paths[node.parent], functions.function_at(node.source))
        paths.append(_extended(called_by, functions.function_at(node.target)))
    by_path: defaultdict[Path, FunctionCost] = defaultdict(FunctionCost)
    by_function: defaultdict[str, FunctionCost] = defaultdict(FunctionCost)
    for cell in priced.profile.cells:
        price, count = priced.prices[int(cell["counter"])], int(cell["count"])
        crossing = priced.crossings.get(int(cell["counter"]))
        cycles = price.cycles.times(count).plus(crossing.cycles.times(int(cell["crossings"])) if crossing else ZERO)
        for cost in (by_path[_extended(paths[int(cell["node"])], price.function)], by_function[price.function]):
            cost.instructions += price.instructions * count
            cost.cycles = cost.cycles.plus(cycles)
            cost.stalls = cost.stalls.plus(price.stalls.times(count))
    return _Costed(dict(by_path), dict(by_function))


def _extended(path: Path, name: str) -> Path:
    """A function that jumps to another, or was interrupted by it, stands above it as if it had called it. Recursion leads back."""
    return path[: path.index(name) + 1] if name in path else (*path, name)


def _region(name: str, cost: RegionCost) -> RegionRow:
    median, longest = (_rounded(cost.visits.at(share).cycles) for share in (0.5, 1.0))
    own = FunctionCost(cost.region.instructions, 0, cost.cycles, cost.stalls)
    return RegionRow(name=name, visits=cost.region.visits, median_cycles=median, longest_cycles=longest, **_costs_of(own))


def _sum(regions: dict[str, RegionCost]) -> FunctionCost:
    cycles, stalls = ZERO, ZERO
    for cost in regions.values():
        cycles, stalls = cycles.plus(cost.cycles), stalls.plus(cost.stalls)
    return FunctionCost(sum(cost.region.instructions for cost in regions.values()), 0, cycles, stalls)


def _costs_of(cost: FunctionCost) -> dict[str, Any]:
    cycles = Cycles(*(_rounded(value) for value in cost.cycles))
    return {
        "cycles": cycles.cycles,
        "cycles_low": cycles.low,
        "cycles_high": cycles.high,
        "stall_cycles": _rounded(cost.stalls.cycles),
        "instructions": cost.instructions,
    }


def _rounded(value: float) -> int | float:
    """Whole numbers stay whole; sums of others do not depend on how they were rounded."""
    number = round(float(value), _DIGITS)
    return int(number) if number.is_integer() else number
