"""Cycles of blocks and of the steps between them, from a core's table."""

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NamedTuple

from firmware_sim.cores import CoreTable
from firmware_sim.decode import Instruction
from firmware_sim.issue import IssueModel, issue_cycles
from realm_edge.errors import UserError


class Cycles(NamedTuple):
    """A cycle count and the range that the table leaves open: low <= cycles <= high."""

    cycles: float
    low: float
    high: float

    def plus(self, other: "Cycles") -> "Cycles":
        return Cycles(self.cycles + other.cycles, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> "Cycles":
        return Cycles(self.cycles * factor, self.low * factor, self.high * factor)


ZERO = Cycles(0, 0, 0)


def block_cycles(table: CoreTable, instructions: Sequence[Instruction]) -> Cycles:
    """Cycles of a block in straight line. A conditional transfer counts as not taken: :func:`edge_cycles` adds the rest."""
    if table.issue is not None:
        return _issued(table, table.issue, instructions)
    return reduce(Cycles.plus, each_instructions_cycles(table, instructions), ZERO)


def each_instructions_cycles(table: CoreTable, instructions: Sequence[Instruction]) -> Iterator[Cycles]:
    """What each instruction of a block adds to :func:`block_cycles`, of a core that starts one at a time."""
    previous, before = None, None
    for instruction in instructions:
        yield _instruction_cycles(table, instruction, previous, before)
        previous, before = instruction, previous


def _issued(table: CoreTable, model: IssueModel, instructions: Sequence[Instruction]) -> Cycles:
    """Nominal: as the model issues. Low: what has a class waits for nothing and fills every slot. High: nothing pairs, entries' high.

    What the entry of an instruction with a class has beyond the cycle that it issues in, the refill of a branch, comes on top.
    """
    entries = [_instruction_cycles(table, instruction, None) for instruction in instructions]
    alone = [math.ceil(entry.cycles) for entry in entries]
    classed = [model.issue_class(instruction) is not None for instruction in instructions]
    refills = sum(entry.cycles - 1 for entry, has_class in zip(entries, classed, strict=True) if has_class)
    return Cycles(
        issue_cycles(model, instructions, alone, model.width) + refills,
        sum(entry.low / (model.width if has_class else 1) for entry, has_class in zip(entries, classed, strict=True)),
        issue_cycles(model, instructions, alone, 1) + refills + sum(entry.high - entry.cycles for entry in entries),
    )


def edge_cycles(table: CoreTable, last: Instruction, first: Instruction) -> Cycles:
    """Cycles that following ``last`` (the end of a block) by ``first`` (the begin of the next) adds to both blocks' own."""
    if not last.transfer and first.address != last.address + last.size:
        return _lookup(table, "interrupt", first)  # nothing else leads from one to the other
    if not last.transfer:  # a block that was cut: the pair acts as if it stood in one block
        alone = _instruction_cycles(table, first, None)
        return _instruction_cycles(table, first, last).plus(alone.times(-1))
    if last.conditional and first.address == last.address + last.size:
        return ZERO
    extra = _lookup(table, taken_kind(last), last).plus(_instruction_cycles(table, last, None).times(-1)) if last.conditional else ZERO
    if "unaligned_target" in table.cycles and first.address & 3 == 2 and first.size == 4:
        extra = extra.plus(_lookup(table, "unaligned_target", first))
    return extra


def crossing_cycles(table: CoreTable, first: Instruction) -> Cycles:
    """Cycles that one access across a word boundary, in the block of ``first``, adds."""
    return _lookup(table, "crossing", first)


def _instruction_cycles(
    table: CoreTable, instruction: Instruction, previous: Instruction | None, before: Instruction | None = None
) -> Cycles:
    kind = straight_kind(instruction)
    if kind == "load" and _after_load(previous) and not _depends(previous, instruction) and "load_pipelined" in table.cycles:
        kind = "load_pipelined"
    hazards = hazard_cycles(table, instruction, previous, before).plus(link_cycles(table, instruction))
    return _lookup(table, kind, instruction).plus(hazards)


def hazard_cycles(table: CoreTable, instruction: Instruction, previous: Instruction | None, before: Instruction | None = None) -> Cycles:
    """Cycles that ``instruction`` waits in the decode stage for what the one or two before it bring."""
    total = ZERO
    if _after_load(previous) and _depends(previous, instruction) and "load_use" in table.cycles:
        total = total.plus(_lookup(table, "load_use", instruction))
    # A core that jumps from decode waits for the register: one instruction behind a result, two behind a load.
    late = [i.loads | i.writes for i in (previous,) if i] + [i.loads for i in (before,) if i]
    if instruction.kind == "jump" and "jump_use" in table.cycles and instruction.reads & frozenset().union(*late):
        total = total.plus(_lookup(table, "jump_use", instruction))
    return total


def link_cycles(table: CoreTable, instruction: Instruction) -> Cycles:
    """Cycles in which a core that jumps from decode takes no target, because the jump writes the register that it read."""
    jumps = instruction.kind == "jump" and "link_use" in table.cycles and instruction.reads & instruction.writes
    return _lookup(table, "link_use", instruction) if jumps else ZERO


def _after_load(previous: Instruction | None) -> bool:
    return previous is not None and previous.kind == "load"


def _depends(previous: Instruction | None, instruction: Instruction) -> bool:
    return previous is not None and bool(previous.loads & instruction.reads)


def straight_kind(instruction: Instruction) -> str:
    """Class of an instruction that, where it is conditional, is not taken."""
    if instruction.conditional:
        return "loop_exit" if instruction.kind == "loop_end" else "branch"
    return taken_kind(instruction) if instruction.transfer else instruction.kind


def taken_kind(instruction: Instruction) -> str:
    """Class of a transfer that is taken."""
    return "branch_taken" if instruction.kind == "branch" else instruction.kind


def _lookup(table: CoreTable, kind: str, instruction: Instruction) -> Cycles:
    cost = table.cycles.get(kind)
    if cost is None:
        where = f"which the firmware uses at {instruction.address:#x}"
        raise UserError(f"core table '{table.name}' has no entry '{kind}', {where}: add it to cores/{table.name}.toml")
    moved = cost.per_register * instruction.registers
    total = Cycles(cost.cycles + moved, cost.low + moved, cost.high + moved)
    if cost.refill:
        refill = table.cycles["refill"]
        total = total.plus(Cycles(refill.cycles, refill.low, refill.high))
    return total
