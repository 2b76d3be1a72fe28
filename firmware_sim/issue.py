"""In-order issue of a block: when each instruction starts, from the width, pipes and latencies of a core's table.

The terms are those of LLVM's scheduling models. Up to ``width`` instructions start in a cycle, in order; each needs its operands and a
free pipe of every kind that its class names, which it takes for one cycle or several; its result can be read ``latency`` cycles later, by
some operands earlier or later than by others. Of the memory only the banks are modelled that loads of one cycle must not share.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from firmware_sim.decode import Instruction


@dataclass(frozen=True)
class IssueClass:
    """How one form of instructions issues; ``first``: only as the oldest of its cycle."""

    pipes: tuple[str, ...]
    latency: int  # cycles
    source: str
    first: bool = False
    occupies: int = 1  # cycles for which it takes its pipes


@dataclass(frozen=True)
class OperandTiming:
    """How many cycles after the start an operand is read (negative: before); ``after`` says otherwise for results of some forms."""

    cycles: int
    source: str
    after: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadBanks:
    """Loads start together only from different banks, which take turns every ``bytes``. Where that cannot be told, they do not."""

    count: int
    bytes: int
    source: str

    def may_share(self, first: Instruction, second: Instruction) -> bool:
        """Told by the distance from one register, which is taken to point to the begin of a bank."""
        if first.offset is None or second.offset is None or first.base != second.base:
            return True
        return (first.offset // self.bytes - second.offset // self.bytes) % self.count == 0


@dataclass(frozen=True)
class IssueModel:
    """A core that may start several instructions at once. Forms without a class start alone."""

    width: int
    update_latency: int  # cycles until an address register that a load or store changes can be read
    source: str
    pipes: Mapping[str, int]  # how many there are of each
    classes: Mapping[str, IssueClass]
    operands: Mapping[str, OperandTiming]
    banks: LoadBanks | None = None
    write_back_in_order: bool = False  # a result is written no earlier than those before it: llvm-mca's rule for every core in order

    def issue_class(self, instruction: Instruction) -> IssueClass | None:
        return self.classes.get(instruction.form)


def issue_cycles(model: IssueModel, instructions: Sequence[Instruction], alone: Sequence[int], width: int) -> int:
    """Cycles from the start of the first instruction to the first in which whatever follows can start.

    Every register is taken to be ready when the block begins, and every pipe is free again when it ends.

    Args:
        alone: cycles that each instruction takes where its form has no class.
        width: instructions per cycle; 1: nothing pairs.
    """
    now, started, written = 0, list[Instruction](), 0
    ready: dict[int, tuple[int, str]] = {}  # by register: when an ordinary operand could be read, and the form that wrote it
    free = {pipe: [0] * count for pipe, count in model.pipes.items()}  # when each of them is
    for instruction, cycles in zip(instructions, alone, strict=True):
        issue = model.issue_class(instruction)
        latency = issue.latency if issue else cycles
        latencies = {register: model.update_latency if register in instruction.updates else latency for register in instruction.writes}
        start = max([now, *_operand_times(model, instruction, ready), *_pipe_times(issue, free)])
        if model.write_back_in_order:
            start = max(start, written - min(latencies.values(), default=latency))
        if start == now and started and not _joins(model, width, started, instruction):
            start += 1
        if start > now:
            now, started = start, []
        started.append(instruction)
        written = max(written, start + latency)
        ready |= {register: (start + wait, instruction.form) for register, wait in latencies.items()}
        if issue is None:
            now, started = start + cycles, []
            continue
        for pipe in issue.pipes:
            taken = free[pipe].index(min(free[pipe]))
            free[pipe][taken] = start + issue.occupies
    return max([now + bool(started), *_pipe_times(None, free)])


def _operand_times(model: IssueModel, instruction: Instruction, ready: Mapping[int, tuple[int, str]]) -> Iterator[int]:
    for register in instruction.reads & ready.keys():
        time, writer = ready[register]
        operand = model.operands.get(instruction.roles.get(register, ""))
        yield time - (operand.after.get(writer, operand.cycles) if operand else 0)


def _pipe_times(issue: IssueClass | None, free: Mapping[str, Sequence[int]]) -> Iterator[int]:
    """When there is one of each pipe that a class names; what has no class waits for all pipes there are."""
    for pipe, units in free.items():
        if issue is None:
            yield max(units)
        elif pipe in issue.pipes:
            yield min(units)


def _joins(model: IssueModel, width: int, started: Sequence[Instruction], instruction: Instruction) -> bool:
    """Whether an instruction may start in a cycle in which others have."""
    issue = model.issue_class(instruction)
    if issue is None or issue.first or len(started) == width:
        return False
    if model.banks is None or not instruction.loaded:
        return True
    return not any(model.banks.may_share(other, instruction) for other in started if other.loaded)
