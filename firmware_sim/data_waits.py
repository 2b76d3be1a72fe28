"""Wait states of a RISC-V core's data accesses, less what the core does meanwhile."""

from collections.abc import Iterator, Sequence

from firmware_sim.cores import Access
from firmware_sim.decode import Instruction
from firmware_sim.timing import straight_kind, taken_kind

ACCESSES = ("load", "store")


def access_waits(access: Access, instructions: Sequence[Instruction], wait: int) -> list[int]:
    """By instruction of a block, cycles that its access waits and nothing else goes on; conditional transfers are not taken."""
    waits = [wait if instruction.kind in ACCESSES else 0 for instruction in instructions]
    for here, instruction in enumerate(instructions):
        for there, cycles in _hidden(access, instructions, here, straight_kind(instruction), wait):
            waits[there] -= min(cycles, waits[there])
    return waits


def hidden_on_edge(access: Access, source: Sequence[Instruction], first: Instruction, jumped: bool, wait: int) -> int:
    """Cycles of the waits of ``source`` that pass besides when its last instruction ``jumped`` to ``first``, or leads straight there."""
    last, here = source[-1], len(source) - 1
    straight = [min(wait, cycles) for _, cycles in _hidden(access, source, here, straight_kind(last), wait)]
    if not jumped:  # one branch behind another, in the next block
        more = access.hides.get("branch", 0) if straight and last.conditional and first.conditional else 0
        return min(more, max(0, wait - sum(straight)))
    if not last.transfer:
        return 0
    taken = [min(wait, cycles) for _, cycles in _hidden(access, source, here, taken_kind(last), wait)]
    unaligned = first.address & 3 == 2 and first.size == 4  # a cycle longer
    return min(wait * len(taken), sum(taken) + unaligned) - sum(straight)


def _hidden(access: Access, instructions: Sequence[Instruction], here: int, kind: str, wait: int) -> Iterator[tuple[int, int]]:
    """Accesses whose wait states pass while the instruction at ``here`` does what its ``kind`` can do meanwhile, and how many do."""
    for hides, distance in ((access.hides, 1), (access.hides_later, 2)):
        there = here - distance
        waits = there >= 0 and instructions[there].kind in ACCESSES and not instructions[there].loads & instructions[here].reads
        if waits and kind in hides:
            yield there, min(wait, hides[kind])
