"""What a memory is to the cycle counter: a function from what was executed to the stalls it causes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from firmware_sim.cores import CoreTable
from firmware_sim.decode import Instruction
from firmware_sim.profile import Profile
from firmware_sim.timing import ZERO, Cycles


@dataclass(frozen=True)
class Executed:
    """What ran, on which core."""

    table: CoreTable
    profile: Profile
    decoded: Sequence[Sequence[Instruction]]  # instructions of each block; none where it did not run
    functions: Sequence[str]  # that each block belongs to
    constant_bytes: Mapping[str, tuple[int, ...]]  # by function, bytes of constants that one call reads, for each node that calls it
    in_ram: frozenset[str] = frozenset()  # functions whose code was copied to RAM: their fetches, and loads of literals, wait for nothing


@dataclass(frozen=True)
class Stalls:
    """Stall cycles of one execution of each block and of each edge, in their order, and of an access across a word boundary."""

    blocks: Sequence[Cycles]
    edges: Sequence[Cycles]
    crossing: Cycles = ZERO


Memory = Callable[[Executed], Stalls]


def no_stalls(executed: Executed) -> Stalls:
    """Memory without wait states."""
    return Stalls([ZERO] * len(executed.profile.blocks), [ZERO] * len(executed.profile.edges))
