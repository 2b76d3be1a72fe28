"""From the plugin's profile to cycles and instructions by region and by function."""

from dataclasses import dataclass, field
from pathlib import Path

from firmware_sim.cores import CoreTable
from firmware_sim.decode import DECODERS, Instruction, UnknownInstruction
from firmware_sim.elf import SymbolMap
from firmware_sim.timing import ZERO, Cycles, block_cycles, crossing_cycles, edge_cycles
from realm_edge.errors import UserError


@dataclass(frozen=True)
class Block:
    """Instructions that QEMU ran without leaving; ``counts`` (regions,) are executions."""

    address: int
    instructions: int
    code: bytes
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Visits:
    """How often a region was entered, and the instructions of a visit."""

    name: str
    count: int
    instructions: int
    least: int
    most: int


@dataclass(frozen=True)
class Profile:
    """What the plugin counted. ``edges`` holds (block, next block, counts (regions,)), ``crossings`` (block, counts (regions,))."""

    regions: tuple[Visits, ...]
    blocks: tuple[Block, ...]
    edges: tuple[tuple[int, int, tuple[int, ...]], ...]
    crossings: tuple[tuple[int, tuple[int, ...]], ...]


@dataclass
class FunctionCost:
    """Totals of one function inside one region."""

    instructions: int = 0
    cycles: Cycles = ZERO


@dataclass
class RegionCost:
    """Totals of one region over the whole run."""

    visits: Visits
    cycles: Cycles = ZERO
    functions: dict[str, FunctionCost] = field(default_factory=dict)


def read_profile(path: Path) -> Profile:
    """Parse a profile; its format is described in ``plugin/realm_count.c``.

    Raises:
        UserError: the file is missing, was cut short, or has records of another form.
    """
    regions: list[Visits] = []
    blocks: list[Block] = []
    edges: list[tuple[int, int, tuple[int, ...]]] = []
    crossings: list[tuple[int, tuple[int, ...]]] = []
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        if lines[0] != "realm-count 2" or lines[-1] != "end":
            raise ValueError("no 'realm-count 2' at the begin or no 'end'")
        for line in lines[1:-1]:
            record, *fields = line.split()
            match record:
                case "region":
                    regions.append(Visits(fields[1], *map(int, fields[2:6])))
                case "block":
                    blocks.append(Block(int(fields[1], 16), int(fields[2]), bytes.fromhex(fields[3]), tuple(map(int, fields[4:]))))
                case "edge":
                    edges.append((int(fields[0]), int(fields[1]), tuple(map(int, fields[2:]))))
                case "crossing":
                    crossings.append((int(fields[0]), tuple(map(int, fields[1:]))))
                case _:
                    raise ValueError(f"record '{record}'")
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise UserError(f"{path}: not a profile of this version ({error}); rerun 'realm-edge simulate'") from error
    return Profile(tuple(regions), tuple(blocks), tuple(edges), tuple(crossings))


def count_cycles(profile: Profile, table: CoreTable, symbols: SymbolMap) -> dict[str, RegionCost]:
    """Cycles and instructions of each region, and of each function in it.

    A block belongs to the function that it starts in, an edge to the function that it leaves.

    Raises:
        UserError: an instruction has no entry in the table, or the blocks' instructions do not add up to the visits' (a damaged profile).
    """
    decode = DECODERS[table.isa]
    ran = [any(block.counts) for block in profile.blocks]
    try:
        decoded: list[list[Instruction]] = [
            decode(b.code, b.address, b.instructions) if r else [] for b, r in zip(profile.blocks, ran, strict=True)
        ]
    except UnknownInstruction as error:
        raise UserError(f"core table '{table.name}': {error}") from error
    functions = [symbols.function_at(block.address) for block in profile.blocks]
    costs = {visits.name: RegionCost(visits) for visits in profile.regions}
    for block, instructions, function in zip(profile.blocks, decoded, functions, strict=True):
        if instructions:
            cycles = block_cycles(table, instructions)
            _add(costs, profile, function, block.counts, len(instructions), cycles)
    for source, target, counts in profile.edges:
        extra = edge_cycles(table, decoded[source][-1], decoded[target][0])
        _add(costs, profile, functions[source], counts, 0, extra)
    for index, counts in profile.crossings:
        if any(counts):
            _add(costs, profile, functions[index], counts, 0, crossing_cycles(table, decoded[index][0]))
    for cost in costs.values():
        total = sum(function.instructions for function in cost.functions.values())
        if total != cost.visits.instructions:
            entered = cost.visits
            raise UserError(f"profile: region '{entered.name}' has {entered.instructions} instructions, its blocks {total}: it is damaged")
    return costs


def _add(costs: dict[str, RegionCost], profile: Profile, function: str, counts: tuple[int, ...], instructions: int, cycles: Cycles) -> None:
    for visits, count in zip(profile.regions, counts, strict=True):
        if count:
            region = costs[visits.name]
            row = region.functions.setdefault(function, FunctionCost())
            row.instructions += instructions * count
            row.cycles = row.cycles.plus(cycles.times(count))
            region.cycles = region.cycles.plus(cycles.times(count))
