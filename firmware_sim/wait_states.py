"""Stalls of a RISC-V core by memories with wait states and no cache: of fetches (:mod:`firmware_sim.prefetch`) and of data accesses."""

from dataclasses import dataclass
from functools import partial

from firmware_sim.cores import CoreTable
from firmware_sim.data_waits import ACCESSES, access_waits, hidden_on_edge
from firmware_sim.flash import constant_loads, flash_stalls
from firmware_sim.memory import Executed, Memory, Stalls
from firmware_sim.prefetch import Bus, fetch_stalls, jumps
from firmware_sim.targets import Flash
from firmware_sim.timing import Cycles
from realm_edge.errors import UserError


@dataclass(frozen=True)
class Waits:
    """Wait states of the two ports. A memory takes the next access when it has answered; the two do not disturb each other."""

    fetch: int = 0
    data: int = 0


def wait_stalls(waits: Waits, executed: Executed) -> Stalls:
    """Stalls of a core whose two ports wait; of an access across a word boundary the second transfer waits as well.

    Raises:
        UserError: the core's table does not say how it fetches and waits.
    """
    table, profile, decoded = executed.table, executed.profile, executed.decoded
    if table.fetch is None or table.access is None:
        raise UserError(f"core table '{table.name}' has no sections 'fetch' and 'access': wait states without a cache need both")
    access, last = table.access, {block.counter: instructions for block, instructions in zip(profile.blocks, decoded, strict=True)}
    waiting = [access_waits(access, instructions, waits.data) for instructions in decoded]
    fetches = fetch_stalls(table, Bus(table.fetch, waits.fetch), profile, decoded, waiting)
    blocks = [stall.plus(_exactly(sum(each))) for stall, each in zip(fetches.blocks, waiting, strict=True)]
    edges = []
    for edge, stall in zip(profile.edges, fetches.edges, strict=True):
        source, first = last[edge.source], last[edge.target][0]
        hidden = hidden_on_edge(access, source, first, jumps(source[-1], first), waits.data)
        edges.append(stall.plus(_exactly(-hidden)))
    return Stalls(blocks, edges, _exactly(waits.data))


def bare_flash_stalls(flash: Flash, executed: Executed) -> Stalls:
    """Stalls as :func:`wait_stalls`, where code and constants lie in ``flash`` without a cache and nothing else waits.

    Nominal: as many accesses wait as read constants. Low and high: none, and every access of the block. Fetches of code that was copied to
    RAM do not wait.
    """
    in_flash, in_ram = (_with_constants(flash, fetch, executed) for fetch in (flash.wait_states, 0))
    blocks, edges = executed.profile.blocks, executed.profile.edges
    copied = {block.counter for block, function in zip(blocks, executed.functions, strict=True) if function in executed.in_ram}
    return Stalls(
        [ram if block.counter in copied else slow for block, slow, ram in zip(blocks, in_flash.blocks, in_ram.blocks, strict=True)],
        [
            ram if {edge.source, edge.target} <= copied else slow
            for edge, slow, ram in zip(edges, in_flash.edges, in_ram.edges, strict=True)
        ],
    )


def _with_constants(flash: Flash, fetch: int, executed: Executed) -> Stalls:
    blocks, edges = executed.profile.blocks, executed.profile.edges
    shares = {
        block.counter: count / max(1, sum(instruction.kind in ACCESSES for instruction in instructions))
        for block, instructions, count in zip(blocks, executed.decoded, constant_loads(flash, executed), strict=True)
    }
    without, every = (wait_stalls(Waits(fetch, data), executed) for data in (0, flash.wait_states))
    return Stalls(
        [_between(a, b, shares[block.counter]) for a, b, block in zip(without.blocks, every.blocks, blocks, strict=True)],
        [_between(a, b, shares[edge.source]) for a, b, edge in zip(without.edges, every.edges, edges, strict=True)],
    )


def memory_of(flash: Flash, table: CoreTable) -> Memory:
    """How a part's flash stalls its core: simulated where the table says how the core fetches and no cache is between, else by model."""
    bare = flash.wait_states and table.fetch and not flash.instruction_cache_bytes
    return partial(bare_flash_stalls if bare else flash_stalls, flash)


def _between(a: Cycles, b: Cycles, share: float) -> Cycles:
    return Cycles(a.cycles + share * (b.cycles - a.cycles), min(a.low, b.low), max(a.high, b.high))


def _exactly(cycles: int) -> Cycles:
    return Cycles(cycles, cycles, cycles)
