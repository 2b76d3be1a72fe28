"""Stalls of a RISC-V core by memories with wait states and no cache: of fetches (:mod:`firmware_sim.prefetch`) and of data accesses."""

from collections.abc import Sequence
from dataclasses import dataclass

from firmware_sim.cores import CoreTable
from firmware_sim.data_waits import ACCESSES, access_waits, hidden_on_edge
from firmware_sim.decode import Instruction
from firmware_sim.prefetch import Bus, fetch_stalls, jumps
from firmware_sim.profile import Profile
from firmware_sim.timing import Cycles
from realm_edge.errors import UserError


@dataclass(frozen=True)
class Waits:
    """Wait states of the two ports. A memory takes the next access when it has answered; the two do not disturb each other."""

    fetch: int = 0
    data: int = 0


def wait_stalls(
    table: CoreTable, waits: Waits, profile: Profile, decoded: Sequence[Sequence[Instruction]]
) -> tuple[list[Cycles], list[Cycles]]:
    """Stall cycles of one execution of each block and of each edge, in their order; accesses across word boundaries wait once.

    Args:
        decoded: instructions of each block; none where it did not run.

    Raises:
        UserError: the core's table does not say how it fetches and waits.
    """
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
    return blocks, edges


def bare_flash_stalls(
    table: CoreTable, wait: int, profile: Profile, decoded: Sequence[Sequence[Instruction]], constants: Sequence[float]
) -> tuple[list[Cycles], list[Cycles]]:
    """Stalls as :func:`wait_stalls`, where code and constants lie in one memory of ``wait`` wait states and nothing else does.

    Nominal: as many accesses wait as read constants. Low and high: none, and every access of the block.

    Args:
        constants: by block, loads of constants in one execution.
    """
    shares = {
        block.counter: count / max(1, sum(instruction.kind in ACCESSES for instruction in instructions))
        for block, instructions, count in zip(profile.blocks, decoded, constants, strict=True)
    }
    without, every = (wait_stalls(table, Waits(wait, data), profile, decoded) for data in (0, wait))
    of_blocks = [shares[block.counter] for block in profile.blocks]
    of_edges = [shares[edge.source] for edge in profile.edges]
    blocks, edges = (
        [_between(a, b, share) for a, b, share in zip(low, high, each, strict=True)]
        for low, high, each in zip(without, every, (of_blocks, of_edges), strict=True)
    )
    return blocks, edges


def _between(a: Cycles, b: Cycles, share: float) -> Cycles:
    return Cycles(a.cycles + share * (b.cycles - a.cycles), min(a.low, b.low), max(a.high, b.high))


def _exactly(cycles: int) -> Cycles:
    return Cycles(cycles, cycles, cycles)
