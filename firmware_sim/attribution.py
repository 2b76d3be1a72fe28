"""Cycles, instructions and loaded bytes of each region, of each function in it, and of each visit, from counts and a core's table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_sim.cores import CoreTable
from firmware_sim.cuts import join_blocks
from firmware_sim.decode import DECODERS, Instruction, UnknownInstruction
from firmware_sim.elf import SymbolMap
from firmware_sim.memory import Executed, Memory, Stalls, no_stalls
from firmware_sim.profile import Profile, Region
from firmware_sim.timing import ZERO, Cycles, block_cycles, crossing_cycles, edge_cycles
from realm_edge.errors import UserError


@dataclass
class FunctionCost:
    """Totals of one function inside one region; ``cycles`` include ``stalls`` by flash wait states."""

    instructions: int = 0
    loaded_bytes: int = 0
    cycles: Cycles = ZERO
    stalls: Cycles = ZERO


@dataclass(frozen=True)
class VisitCosts:
    """What each visit took: ``cycles`` (visits, 3) nominal, low and high, ``instructions`` (visits,)."""

    cycles: NDArray[np.float64]
    instructions: NDArray[np.float64]

    def at(self, quantile: float) -> Cycles:
        """The visit below or at which this share of the visits lies, by nominal cycles (1: the longest)."""
        order = np.argsort(self.cycles[:, 0], kind="stable")
        rank = max(0, int(np.ceil(quantile * len(order))) - 1)
        return Cycles(*(float(value) for value in self.cycles[order[rank]]))


@dataclass
class RegionCost:
    """Totals of one region over the whole run, and its visits one by one."""

    region: Region
    visits: VisitCosts
    cycles: Cycles = ZERO
    stalls: Cycles = ZERO
    functions: dict[str, FunctionCost] = field(default_factory=dict)


Joined = tuple[Profile, list[list[Instruction]]]  # as of join_blocks


@dataclass(frozen=True)
class Price:
    """What one execution of a block or edge costs."""

    function: str
    counts: tuple[int, ...]
    instructions: int
    loaded_bytes: int
    cycles: Cycles
    stalls: Cycles


@dataclass(frozen=True)
class Priced:
    """A profile whose blocks were joined, with the price of each counter; by block's counter, that of an access across a word boundary."""

    profile: Profile
    prices: Sequence[Price]
    crossings: Mapping[int, Price]


def count_cycles(
    profile: Profile,
    table: CoreTable,
    symbols: SymbolMap,
    memory: Memory = no_stalls,
    constant_bytes: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, RegionCost]:
    """Price a profile.

    A block belongs to the function that it starts in, an edge to the function that it leaves.

    Args:
        memory: what it makes the core wait.
        constant_bytes: by function, bytes of constants that one call reads, for each node that calls it.

    Raises:
        UserError: an instruction is unknown or has no entry in the table, or as :func:`by_region`.
    """
    return by_region(priced(joined(profile, table), table, symbols, memory, constant_bytes))


def joined(profile: Profile, table: CoreTable) -> Joined:
    """As :func:`firmware_sim.cuts.join_blocks`.

    Raises:
        UserError: an instruction that the decoder does not know.
    """
    try:
        return join_blocks(profile, DECODERS[table.isa])
    except UnknownInstruction as error:
        raise UserError(f"core table '{table.name}': {error}") from error


def priced(
    joined: Joined,
    table: CoreTable,
    symbols: SymbolMap,
    memory: Memory = no_stalls,
    constant_bytes: Mapping[str, tuple[int, ...]] | None = None,
) -> Priced:
    """What one execution of each block and edge costs.

    Arguments as of :func:`count_cycles`. Raises UserError where an instruction has no entry in the table.
    """
    profile, decoded = joined
    functions = [symbols.function_at(block.address) for block in profile.blocks]
    bytes_of = {name: (constant_bytes or {}).get(name, ()) for name in functions}
    stalls = memory(Executed(table, profile, decoded, functions, bytes_of, symbols.in_ram))
    prices = _prices(profile, decoded, table, functions, stalls)
    first = {block.counter: instructions[0] for block, instructions in zip(profile.blocks, decoded, strict=True) if instructions}
    crossings = {
        counter: Price(prices[counter].function, counts, 0, 0, crossing_cycles(table, first[counter]).plus(stalls.crossing), ZERO)
        for counter, counts in profile.crossings
        if any(counts)
    }
    return Priced(profile, prices, crossings)


def by_region(priced: Priced) -> dict[str, RegionCost]:
    """The costs of each region. Visits leave out accesses across word boundaries.

    Raises:
        UserError: the blocks' instructions do not add up to the visits' (a damaged profile).
    """
    profile, prices = priced.profile, priced.prices
    visits = _visit_costs(profile, prices)
    costs = {region.name: RegionCost(region, visits[r]) for r, region in enumerate(profile.regions)}
    for price in (*prices, *priced.crossings.values()):
        for region, count in zip(profile.regions, price.counts, strict=True):
            if count:
                _add(costs[region.name], price, count)
    for cost in costs.values():
        total = sum(function.instructions for function in cost.functions.values())
        if total != cost.region.instructions or total != round(cost.visits.instructions.sum()):
            entered = cost.region
            raise UserError(f"profile: region '{entered.name}' has {entered.instructions} instructions, its blocks {total}: it is damaged")
    return costs


def _add(cost: RegionCost, price: Price, count: int) -> None:
    row = cost.functions.setdefault(price.function, FunctionCost())
    row.instructions += price.instructions * count
    row.loaded_bytes += price.loaded_bytes * count
    for one in (row, cost):
        one.cycles = one.cycles.plus(price.cycles.times(count))
        one.stalls = one.stalls.plus(price.stalls.times(count))


def _prices(
    profile: Profile, decoded: Sequence[Sequence[Instruction]], table: CoreTable, functions: Sequence[str], stalls: Stalls
) -> list[Price]:
    """By counter."""
    found: dict[int, Price] = {}
    ends: dict[int, tuple[Instruction, Instruction, str]] = {}
    for block, instructions, function, stall in zip(profile.blocks, decoded, functions, stalls.blocks, strict=True):
        cycles = block_cycles(table, instructions).plus(stall)
        found[block.counter] = Price(function, block.counts, len(instructions), sum(i.loaded for i in instructions), cycles, stall)
        if instructions:
            ends[block.counter] = (instructions[0], instructions[-1], function)
    for edge, stall in zip(profile.edges, stalls.edges, strict=True):
        _, last, function = ends[edge.source]
        cycles = edge_cycles(table, last, ends[edge.target][0]).plus(stall)
        found[edge.counter] = Price(function, edge.counts, 0, 0, cycles, stall)
    return [found[counter] for counter in range(len(found))]


def _visit_costs(profile: Profile, prices: Sequence[Price]) -> list[VisitCosts]:
    """By region: the differences from visit to visit, priced and summed up."""
    values = np.array([(*price.cycles, price.instructions) for price in prices], np.float64).reshape(-1, 4)
    found = []
    for r, region in enumerate(profile.regions):
        records = profile.visits[profile.visits["region"] == r]
        changes = [np.bincount(records["visit"], records["difference"] * column[records["counter"]], region.visits) for column in values.T]
        totals = np.cumsum(np.asarray(changes, np.float64).reshape(4, region.visits), axis=1)
        found.append(VisitCosts(totals[:3].T, totals[3]))
    return found
