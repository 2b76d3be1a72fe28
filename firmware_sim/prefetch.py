"""Stalls of a core that fetches through a prefetch buffer from a memory with wait states: a simulation, cycle by cycle.

The memory takes one request at a time, answers it ``wait`` cycles late and takes the next when it answers. What is modelled is common to
the prefetch buffers of Ibex (ibex_prefetch_buffer.sv, ibex_fetch_fifo.sv) and CV32E40P (cv32e40p_prefetch_controller.sv,
cv32e40p_obi_interface.sv, cv32e40p_aligner.sv): they ask for the next word while they have room; a jump throws away what they hold, but
waits for the answer that is on its way and for the request that was made and not yet taken.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from firmware_sim.cores import CoreTable, Prefetch
from firmware_sim.data_waits import ACCESSES
from firmware_sim.decode import Instruction, decode_rv32
from firmware_sim.profile import Profile
from firmware_sim.timing import ZERO, Cycles, each_instructions_cycles, edge_cycles, hazard_cycles, link_cycles

REFILL = 2  # cycles from the jump in the decode stage, or behind it, to the next instruction there
ROUNDS = 200  # at most, until the shares of states have settled
SETTLED = 1e-4  # largest change of a share

NOTHING, WANTED, STALE = range(3)


class State(NamedTuple):
    """The buffer at the start of a cycle at whose end the decode stage can take an instruction."""

    words: int = 0  # held
    left: int = -1  # cycles until the memory answers; -1: it is idle
    stale: bool = False  # that answer is thrown away
    request: int = NOTHING  # made and not yet taken
    jumped: bool = True  # nothing has been taken since a jump


@dataclass(frozen=True)
class Bus:
    """A core's prefetch buffer and the memory behind it."""

    prefetch: Prefetch
    wait: int

    def cycle(self, state: State, taken: int = 0, jump: bool = False) -> State:
        """One cycle on; ``taken`` words leave the buffer, or a ``jump`` throws all away and asks for its target."""
        answered, underway = state.left == 0, state.left >= 0
        arrived = answered and not state.stale and not jump
        words = 0 if jump else state.words + arrived - taken
        request = STALE if jump and state.request else state.request
        if not request and (jump or state.words + underway < self.prefetch.buffer_words):
            request = WANTED
        if request and (answered or not underway):
            return State(words, self.wait, request == STALE, NOTHING, jump)
        waits = underway and not answered
        return State(words, state.left - 1 if waits else -1, waits and (state.stale or jump), request, jump)

    def after(self, state: State, cycles: int, jump: bool = False) -> State:
        """``cycles`` later; with ``jump`` another one on, in which the target is asked for."""
        for _ in range(cycles):
            state = self.cycle(state)._replace(jumped=state.jumped)
        return self.cycle(state, jump=True) if jump else state

    def take(self, state: State, instruction: Instruction) -> tuple[int, State]:
        """Wait for ``instruction``: stall cycles, and the state behind the cycle at whose end it was taken."""
        needed, taken = self._words(instruction, state.jumped)
        stalls = 0
        if taken == 2:  # one word a cycle leaves the buffer
            stalls, state = self._wait(state, 1)
            stalls, state, needed, taken = stalls + 1, self.cycle(state, 1), 1, 1
        waited, state = self._wait(state, needed)
        return stalls + waited, self.cycle(state, taken)

    def ready(self, state: State, instruction: Instruction) -> bool:
        """Whether ``instruction`` can be taken at once."""
        return self.take(state, instruction)[0] == 0

    def behind_decode(self, instruction: Instruction, cycles: int) -> tuple[int, int]:
        """Of the ``cycles`` of ``instruction`` those behind the decode stage, and how long that stage, once empty, is not filled then."""
        if instruction.kind in self.prefetch.executes_long:
            return cycles - 1, cycles - 1
        return 0, int(self.prefetch.rereads_load and bool(instruction.loads & instruction.reads))

    def _wait(self, state: State, needed: int) -> tuple[int, State]:
        """Cycles until ``needed`` words are there, in the buffer or arriving, and the state then."""
        waited = 0
        while state.words + (state.left == 0 and not state.stale) < needed:
            state = self.after(state, 1)
            waited += 1
        return waited, state

    def _words(self, instruction: Instruction, jumped: bool) -> tuple[int, int]:
        """Words that have to be there for ``instruction`` to be taken, and those that leave the buffer with it."""
        end = instruction.address + instruction.size
        if self.prefetch.takes_whole_words:  # the half that is left waits outside, but not without a word in the buffer
            taken = -(-end // 4) - (instruction.address // 4 if jumped else -(-instruction.address // 4))
            return max(taken, 1), taken
        return (end - 1) // 4 - instruction.address // 4 + 1, end // 4 - instruction.address // 4


class Passed(NamedTuple):
    """One execution of a block: stalls of all but its first instruction, and what it leaves to the next block where it does not jump, or
    does."""

    stalls: int
    straight: State
    jumped: State


@dataclass(frozen=True)
class Code:
    """A block of instructions.

    ``waits``: by instruction, cycles that its data access waits and nothing else goes on; ``crossings``: accesses across a word boundary,
    whose cycles come on top of the table's others.
    """

    table: CoreTable
    instructions: Sequence[Instruction]
    waits: Sequence[int]
    crossings: int = 0

    @cached_property
    def cycles(self) -> list[int]:
        """By the table, without crossings."""
        return [round(each.cycles) for each in each_instructions_cycles(self.table, self.instructions)]

    @cached_property
    def _steps(self) -> list[tuple[Instruction, int, int]]:
        """Instructions, their cycles, and how many of these pass as well while the instruction is waited for."""
        steps, left, previous, before, behind = [], self.crossings, None, None, 0
        for instruction, cycles, wait in zip(self.instructions, self.cycles, self.waits, strict=True):
            crosses = left > 0 and instruction.kind in ACCESSES
            left -= crosses
            own = cycles + behind + (round(self.table.cycles["crossing"].cycles) if crosses else 0)
            hazard = behind + round(hazard_cycles(self.table, instruction, previous, before).cycles)
            in_decode = 0 if self.behind_decode else wait
            steps.append((instruction, own + in_decode, hazard))
            previous, before, behind = instruction, previous, wait - in_decode
        return steps

    @property
    def behind_decode(self) -> bool:
        return self.table.access is not None and self.table.access.behind_decode

    def run(self, bus: Bus, entered: State) -> Passed:
        """Execute it, the buffer being in the state ``entered`` when its first instruction can be taken."""
        stalls, state, executes, holds = 0, entered, 0, 0
        for i, (instruction, cycles, hazard) in enumerate(self._steps):
            late = bool(holds) and not bus.ready(state, instruction)
            state = bus.after(state, holds + 1 if late else 0)
            waited, state = bus.take(state, instruction)
            waited += holds + 1 - executes if late else 0
            stalls += waited - min(waited, hazard) if i else 0
            state = bus.after(state, 0 if late else executes)
            own = cycles - min(waited, hazard)
            executes, holds = bus.behind_decode(instruction, cycles)
            decoding = state
            if instruction.kind in bus.prefetch.refetch:
                state = bus.after(state, max(0, own - REFILL), jump=True)
            else:
                state = bus.after(state, own - 1 - executes)
        straight = bus.after(state, executes)
        link = round(link_cycles(self.table, self.instructions[-1]).cycles)
        jumped = bus.after(decoding, self._until_jump - self.cycles[-1] + own - link, jump=True)
        return Passed(stalls, straight, bus.after(jumped, link))

    @cached_property
    def _until_jump(self) -> int:
        """Cycles from the last instruction's first to the one in which it jumps; an interrupt comes behind it."""
        last, costs = self.instructions[-1], self.table.cycles
        if not last.transfer:
            return self.cycles[-1] + round(costs["interrupt"].cycles) - REFILL
        extra = round(costs["branch_taken"].cycles - costs["branch"].cycles) if last.conditional else 0
        return self.cycles[-1] + extra - REFILL


class FetchStalls(NamedTuple):
    """Stall cycles of one execution of each block and of each edge, in their order. Those of a block's first instruction are its edge's."""

    blocks: list[Cycles]
    edges: list[Cycles]


Shares = Mapping[State, float]


def fetch_stalls(
    table: CoreTable, bus: Bus, profile: Profile, decoded: Sequence[Sequence[Instruction]], waits: Sequence[Sequence[int]]
) -> FetchStalls:
    """Stalls of every block and edge that ran.

    Nominal: a block is entered in the states that the blocks before it leave, in the proportions in which they lead to it; whether a branch
    is taken does not depend on the state. Low and high: the best and the worst of these states.

    Args:
        decoded: instructions of each block; none where it did not run.
        waits: by block, see :class:`Code`; these cycles are not in the result, and stalls that pass meanwhile are neither.
    """
    blocks, edges = profile.blocks, profile.edges
    crossings = {counter: sum(counts) for counter, counts in profile.crossings}
    codes = [
        Code(table, instructions, waiting, round(crossings.get(block.counter, 0) / max(1, sum(block.counts))))
        for block, instructions, waiting in zip(blocks, decoded, waits, strict=True)
    ]
    index = {block.counter: i for i, block in enumerate(blocks)}
    ways = [(index[edge.source], index[edge.target], sum(edge.counts)) for edge in edges]
    runs = _Runs(bus, codes)
    entered = _entered(runs, ways, [sum(block.counts) for block in blocks])
    inside = [_spread((runs.run(i, state).stalls, share) for state, share in shares.items()) for i, shares in enumerate(entered)]
    left = [sum(block.counts) for block in blocks]
    steps = []
    for source, target, count in ways:
        left[source] -= count
        steps.append(_spread((runs.entry_stall(source, state, target), share) for state, share in entered[source].items()))
    for i, count in enumerate(left):
        if count and codes[i].instructions[-1].transfer:  # calls the marker that ends the visit
            call = _spread((bus.take(runs.run(i, state).jumped, _MARKER)[0], share) for state, share in entered[i].items())
            share = count / sum(blocks[i].counts)
            inside[i] = inside[i].plus(Cycles(call.cycles * share, 0, call.high))
    return FetchStalls(inside, steps)


# A marker (firmware/regions.c) is aligned and does nothing but return: c.jr ra.
(_MARKER,) = decode_rv32(bytes.fromhex("8280"), 0)


def jumps(last: Instruction, first: Instruction) -> bool:
    """Whether the way from the one to the other is no straight line: a taken transfer, or an interrupt."""
    return (last.transfer and not last.conditional) or first.address != last.address + last.size


class _Runs:
    """Executions of blocks, each simulated once a state."""

    def __init__(self, bus: Bus, codes: Sequence[Code]) -> None:
        self.bus, self.codes = bus, codes
        self.known: dict[tuple[int, State], Passed] = {}
        self.returned = Code(codes[0].table, [_MARKER], [0]).run(bus, bus.cycle(State(), jump=True)).jumped  # where a visit begins

    def run(self, block: int, entered: State) -> Passed:
        key = (block, entered)
        if key not in self.known:
            self.known[key] = self.codes[block].run(self.bus, entered)
        return self.known[key]

    def between(self, source: int, entered: State, target: int) -> State:
        """What ``target`` finds when it follows ``source``, which was entered in the state ``entered``."""
        last, first, passed = self.codes[source].instructions[-1], self.codes[target].instructions[0], self.run(source, entered)
        if jumps(last, first):
            return passed.jumped
        return self.bus.after(passed.straight, max(0, round(edge_cycles(self.codes[source].table, last, first).cycles)))

    def entry_stall(self, source: int, entered: State, target: int) -> int:
        first, state = self.codes[target].instructions[0], self.between(source, entered, target)
        stalls, _ = self.bus.take(state, first)
        unaligned = state.jumped and first.address & 3 == 2 and first.size == 4  # the table has that cycle
        return stalls - unaligned


def _entered(runs: _Runs, ways: Sequence[tuple[int, int, int]], executions: Sequence[int]) -> list[Shares]:
    """By block: the states in which it is entered, with their shares."""
    begins = list(executions)
    into: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for source, target, count in ways:
        if count:
            into[target].append((source, count))
            begins[target] -= count
    entered: list[Shares] = [{} for _ in executions]
    for _ in range(ROUNDS):
        change = 0.0
        for i, count in enumerate(begins):
            found: defaultdict[State, float] = defaultdict(float)
            if count:
                found[runs.returned] += count
            for source, times in into[i]:
                for state, share in entered[source].items():
                    found[runs.between(source, state, i)] += times * share
            total = sum(found.values())
            shares = {state: weight / total for state, weight in found.items()}
            change = max([change, *(abs(share - entered[i].get(state, 0.0)) for state, share in shares.items())])
            entered[i] = shares
        if change < SETTLED:
            break
    return entered


def _spread(stalls: Iterable[tuple[int, float]]) -> Cycles:
    each = list(stalls)
    if not each:
        return ZERO
    return Cycles(sum(n * share for n, share in each), min(n for n, _ in each), max(n for n, _ in each))
