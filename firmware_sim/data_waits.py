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


def hidden_by_jump(access: Access, source: Sequence[Instruction], first: Instruction, wait: int) -> int:
    """Cycles of these waits that pass when the transfer at the end of ``source`` leads to ``first`` instead of straight on."""
    last, here = source[-1], len(source) - 1
    unaligned = first.address & 3 == 2 and first.size == 4  # a cycle longer
    taken = sum(min(wait, cycles + unaligned) for _, cycles in _hidden(access, source, here, taken_kind(last), wait))
    return taken - sum(cycles for _, cycles in _hidden(access, source, here, straight_kind(last), wait))


def _hidden(access: Access, instructions: Sequence[Instruction], here: int, kind: str, wait: int) -> Iterator[tuple[int, int]]:
    """Accesses whose wait states pass while the instruction at ``here`` does what its ``kind`` can do meanwhile, and how many do."""
    for hides, distance in ((access.hides, 1), (access.hides_later, 2)):
        there = here - distance
        waits = there >= 0 and instructions[there].kind in ACCESSES and not instructions[there].loads & instructions[here].reads
        if waits and kind in hides:
            yield there, min(wait, hides[kind])
