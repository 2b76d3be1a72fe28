"""Stalls by flash wait states: a simple model of the caches in front of a part's flash (docs/cycles-cortex-m.md).

Low: no access stalls. High: every block of instructions fetches all its lines from flash, and every load that may read a constant stalls.
Nominal: a call finds the caches cold, unless all code of the region fits; within a call, the blocks that run most are held, as many as
fit, and miss once; what is not held misses each time that the core comes from another line. Constants are read once per call, a line at a
time where a cache holds lines.

Code that start-up copied to RAM waits for nothing and takes no room of a cache; the constants that it reads stay in flash.

Prefetch reads the next line while the core executes one, so that lines follow each other at least wait states + 1 cycles apart. The
instruction cache then takes only the lines that the core still waits for, above all those that it jumps to.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from firmware_sim.cores import CoreTable
from firmware_sim.decode import Instruction
from firmware_sim.memory import Executed, Stalls, no_stalls
from firmware_sim.profile import Block, Profile
from firmware_sim.targets import Flash
from firmware_sim.timing import ZERO, Cycles, block_cycles


@dataclass(frozen=True)
class _Code:
    """One block that ran. ``waits`` (lines,) are the mean stalls for its lines where no cache holds them."""

    block: Block
    executions: int
    lines: range
    waits: tuple[float, ...]


def flash_stalls(flash: Flash, executed: Executed) -> Stalls:
    """Stalls of a core whose fetches and loads of constants go to ``flash``; an edge stalls nothing of its own."""
    table, profile, decoded = executed.table, executed.profile, executed.decoded
    functions, constant_bytes = executed.functions, executed.constant_bytes
    blocks = profile.blocks
    if not flash.wait_states:
        return no_stalls(executed)
    found = [ZERO] * len(blocks)
    members: defaultdict[str, list[int]] = defaultdict(list)
    for i, function in enumerate(functions):
        if decoded[i]:
            members[function].append(i)
    codes = _codes(flash, table, profile, decoded)
    warm = _warm_regions(flash, executed)
    unused = 1 if flash.prefetch else 0  # a line that prefetch reads in vain while the core waits for another
    for function, indices in members.items():
        in_ram = function in executed.in_ram
        fetches = [0.0] * len(indices) if in_ram else _fetch_stalls(flash, [codes[i] for i in indices], warm)
        nominal_loads, high_loads = _load_misses(
            flash, [blocks[i] for i in indices], [decoded[i] for i in indices], max(constant_bytes[function], default=0), in_ram
        )
        for i, fetch, load, high_load in zip(indices, fetches, nominal_loads, high_loads, strict=True):
            lines = 0 if in_ram else len(codes[i].lines) + unused
            high = (lines + high_load) * flash.wait_states
            found[i] = Cycles(min(fetch + load * flash.wait_states, high), 0.0, high)  # min: rounding
    return Stalls(found, [ZERO] * len(profile.edges))


def constant_loads(flash: Flash, executed: Executed) -> list[float]:
    """Loads from flash in one execution of each block, nominal; see :func:`flash_stalls`."""
    blocks, decoded, functions = executed.profile.blocks, executed.decoded, executed.functions
    found = [0.0] * len(blocks)
    for function in {function for function, instructions in zip(functions, decoded, strict=True) if instructions}:
        own = [i for i, name in enumerate(functions) if name == function and decoded[i]]
        read, in_ram = max(executed.constant_bytes[function], default=0), function in executed.in_ram
        loads, _ = _load_misses(flash, [blocks[i] for i in own], [decoded[i] for i in own], read, in_ram)
        for i, count in zip(own, loads, strict=True):
            found[i] = count
    return found


def _lines(flash: Flash, block: Block) -> range:
    return range(block.address // flash.line_bytes, (block.address + len(block.code) - 1) // flash.line_bytes + 1)


def _executions(block: Block) -> int:
    return sum(block.counts)


def _codes(flash: Flash, table: CoreTable, profile: Profile, decoded: Sequence[Sequence[Instruction]]) -> dict[int, _Code]:
    """By the index of the block, of those that ran."""
    place = {block.counter: i for i, block in enumerate(profile.blocks)}
    lines = [_lines(flash, block) for block in profile.blocks]
    behind = [_waits_behind(flash, table, of, instructions) for of, instructions in zip(lines, decoded, strict=True)]
    jumps = [_executions(block) for block in profile.blocks]  # entries that find neither the line that is read nor the one that follows
    first = [0.0] * len(profile.blocks)  # stalls for the first line by the other entries
    for edge in profile.edges:
        source, target, count = place[edge.source], place[edge.target], sum(edge.counts)
        block = profile.blocks[source]
        if lines[source][-1] == lines[target][0]:
            jumps[target] -= count
        elif block.address + len(block.code) == profile.blocks[target].address:
            jumps[target] -= count
            first[target] += count * behind[source][-1]
    found = {}
    for i, block in enumerate(profile.blocks):
        if decoded[i]:
            mean = (first[i] + jumps[i] * flash.wait_states) / _executions(block)
            found[i] = _Code(block, _executions(block), lines[i], (mean, *behind[i][:-1]))
    return found


def _waits_behind(flash: Flash, table: CoreTable, lines: range, instructions: Sequence[Instruction]) -> list[float]:
    """By line of a block: stall cycles for the line that follows it."""
    if not flash.prefetch:
        return [float(flash.wait_states)] * len(lines)
    executed = [[i for i in instructions if i.address // flash.line_bytes == line] for line in lines]
    waits = (flash.wait_states + 1 - block_cycles(table, part).cycles for part in executed)
    return [float(min(flash.wait_states, max(0.0, wait))) for wait in waits]


def _warm_regions(flash: Flash, executed: Executed) -> frozenset[int]:
    """Regions whose code in flash, and constants where they share the cache, stay in the instruction cache from visit to visit."""
    lines: defaultdict[int, set[int]] = defaultdict(set)
    called: defaultdict[int, set[str]] = defaultdict(set)
    for block, instructions, function in zip(executed.profile.blocks, executed.decoded, executed.functions, strict=True):
        for region, count in enumerate(block.counts):
            if count and instructions:
                lines[region].update(() if function in executed.in_ram else _lines(flash, block))
                called[region].add(function)
    size = {region: len(held) * flash.line_bytes for region, held in lines.items()}
    if flash.unified:
        size = {region: code + sum(sum(executed.constant_bytes[name]) for name in called[region]) for region, code in size.items()}
    return frozenset(region for region, needed in size.items() if needed <= flash.instruction_cache_bytes)


def _fetch_stalls(flash: Flash, codes: Sequence[_Code], warm: frozenset[int]) -> list[float]:
    """Nominal stall cycles by fetches of one execution of each block of one function."""
    calls = min(codes, key=lambda code: code.block.address).executions
    holder: dict[int, _Code] = {}  # line -> the block that runs most of those that wait for it
    for code in sorted(codes, key=lambda code: code.executions, reverse=True):
        new = [line for line, wait in zip(code.lines, code.waits, strict=True) if wait and line not in holder]
        if (len(holder) + len(new)) * flash.line_bytes <= flash.instruction_cache_bytes:
            holder |= dict.fromkeys(new, code)
    stalls = []
    for code in codes:
        cold = sum(count for region, count in enumerate(code.block.counts) if region not in warm) / code.executions
        once = flash.wait_states * min(1.0, calls / code.executions)
        held = (min(wait, once) for line, wait in zip(code.lines, code.waits, strict=True) if holder.get(line) is code)
        absent = (wait for line, wait in zip(code.lines, code.waits, strict=True) if line not in holder)
        stalls.append(cold * math.fsum((*held, *absent)))  # the same in every Python: sum rounds otherwise since 3.12
    return stalls


def _load_misses(
    flash: Flash, blocks: Sequence[Block], decoded: Sequence[Sequence[Instruction]], constant_bytes: int, in_ram: bool
) -> tuple[list[float], list[int]]:
    """Nominal and highest number of loads that stall, of one execution of each block of one function; its literals lie by its code.

    A load of several words is as many loads.
    """
    literals = [0 if in_ram else sum(i.literal for i in instructions) for instructions in decoded]
    loads = [sum(_words(i) for i in instructions if not i.literal) for instructions in decoded]
    cached = flash.unified or flash.data_cache_bytes > 0
    literal_misses = [0 if cached else count for count in literals]
    total = sum(n * _executions(block) for n, block in zip(loads, blocks, strict=True))
    if not constant_bytes or not total:
        return [float(n) for n in literal_misses], literals
    calls = _executions(min(blocks, key=lambda block: block.address))
    if cached:
        reads = math.ceil(constant_bytes / flash.line_bytes)
    else:
        loaded = (sum(i.loaded for i in instructions if not i.literal) for instructions in decoded)
        reads = math.ceil(constant_bytes * total / sum(n * _executions(block) for n, block in zip(loaded, blocks, strict=True)))
    share = min(1.0, calls * reads / total)
    nominal = [n * share + missed for n, missed in zip(loads, literal_misses, strict=True)]
    return nominal, [n + m for n, m in zip(loads, literals, strict=True)]


def _words(instruction: Instruction) -> int:
    return -(-instruction.loaded // 4)
