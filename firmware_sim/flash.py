"""Stalls by flash wait states: a simple model of the caches in front of a part's flash (docs/cycles-cortex-m.md).

Low: no access stalls. High: every block of instructions fetches all its lines from flash, and every load that may read a constant stalls.
Nominal: a call finds the caches cold, unless all code of the region fits; within a call, the blocks that run most are held, as many as
fit, and miss once; what is not held misses each time. Constants are read once a call, a line at a time where a cache holds lines.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from firmware_sim.decode import Instruction
from firmware_sim.profile import Block
from firmware_sim.targets import Flash
from firmware_sim.timing import ZERO, Cycles


def flash_stalls(
    flash: Flash,
    blocks: Sequence[Block],
    decoded: Sequence[Sequence[Instruction]],
    functions: Sequence[str],
    constant_bytes: Mapping[str, int],
) -> list[Cycles]:
    """Stall cycles of one execution of each block.

    Args:
        decoded: instructions of each block; none where it did not run.
        functions: the function that each block belongs to.
        constant_bytes: by function, bytes in flash that one call reads.
    """
    found = [ZERO] * len(blocks)
    if not flash.wait_states:
        return found
    members: defaultdict[str, list[int]] = defaultdict(list)
    for i, function in enumerate(functions):
        if decoded[i]:
            members[function].append(i)
    warm = _warm_regions(flash, blocks, decoded, functions, constant_bytes)
    for function, indices in members.items():
        fetches = _fetch_misses(flash, [blocks[i] for i in indices], warm)
        nominal_loads, high_loads = _load_misses(
            flash, [blocks[i] for i in indices], [decoded[i] for i in indices], constant_bytes[function]
        )
        for i, fetch, load, high_load in zip(indices, fetches, nominal_loads, high_loads, strict=True):
            high = len(_lines(flash, blocks[i])) + high_load
            found[i] = Cycles(min(fetch + load, high), 0.0, high).times(flash.wait_states)
    return found


def constant_loads(
    flash: Flash,
    blocks: Sequence[Block],
    decoded: Sequence[Sequence[Instruction]],
    functions: Sequence[str],
    constant_bytes: Mapping[str, int],
) -> list[float]:
    """Loads from flash in one execution of each block, nominal; see :func:`flash_stalls`."""
    found = [0.0] * len(blocks)
    for function in {function for function, instructions in zip(functions, decoded, strict=True) if instructions}:
        own = [i for i, name in enumerate(functions) if name == function and decoded[i]]
        loads, _ = _load_misses(flash, [blocks[i] for i in own], [decoded[i] for i in own], constant_bytes[function])
        for i, count in zip(own, loads, strict=True):
            found[i] = count
    return found


def _lines(flash: Flash, block: Block) -> range:
    return range(block.address // flash.line_bytes, (block.address + len(block.code) - 1) // flash.line_bytes + 1)


def _executions(block: Block) -> int:
    return sum(block.counts)


def _warm_regions(
    flash: Flash,
    blocks: Sequence[Block],
    decoded: Sequence[Sequence[Instruction]],
    functions: Sequence[str],
    constant_bytes: Mapping[str, int],
) -> frozenset[int]:
    """Regions whose code, and constants where they share the cache, stay in the instruction cache from visit to visit."""
    lines: defaultdict[int, set[int]] = defaultdict(set)
    called: defaultdict[int, set[str]] = defaultdict(set)
    for block, instructions, function in zip(blocks, decoded, functions, strict=True):
        for region, count in enumerate(block.counts):
            if count and instructions:
                lines[region].update(_lines(flash, block))
                called[region].add(function)
    size = {region: len(held) * flash.line_bytes for region, held in lines.items()}
    if flash.unified:
        size = {region: code + sum(constant_bytes[name] for name in called[region]) for region, code in size.items()}
    return frozenset(region for region, needed in size.items() if needed <= flash.instruction_cache_bytes)


def _fetch_misses(flash: Flash, blocks: Sequence[Block], warm: frozenset[int]) -> list[float]:
    """Nominal line misses of one execution of each block of one function."""
    calls = _executions(min(blocks, key=lambda block: block.address))
    holder: dict[int, Block] = {}  # line -> the block that runs most of those that it holds code of
    for block in sorted(blocks, key=_executions, reverse=True):
        new = [line for line in _lines(flash, block) if line not in holder]
        if (len(holder) + len(new)) * flash.line_bytes <= flash.instruction_cache_bytes:
            holder |= dict.fromkeys(new, block)
    misses = []
    for block in blocks:
        cold = sum(count for region, count in enumerate(block.counts) if region not in warm) / _executions(block)
        brought = sum(holder.get(line) is block for line in _lines(flash, block))
        absent = sum(line not in holder for line in _lines(flash, block))
        misses.append(cold * (absent + brought * min(1.0, calls / _executions(block))))
    return misses


def _load_misses(
    flash: Flash, blocks: Sequence[Block], decoded: Sequence[Sequence[Instruction]], constant_bytes: int
) -> tuple[list[float], list[int]]:
    """Nominal and highest number of loads that stall, of one execution of each block of one function."""
    literals = [sum(i.literal for i in instructions) for instructions in decoded]
    loads = [sum(i.loaded > 0 and not i.literal for i in instructions) for instructions in decoded]
    cached = flash.unified or flash.data_cache_bytes > 0
    literal_misses = [0 if cached else count for count in literals]
    total = sum(n * _executions(block) for n, block in zip(loads, blocks, strict=True))
    if not constant_bytes or not total:
        return [float(n) for n in literal_misses], literals
    calls = _executions(min(blocks, key=lambda block: block.address))
    if cached:
        reads = math.ceil(constant_bytes / flash.line_bytes)
    else:
        widths = Counter[int]()
        for block, instructions in zip(blocks, decoded, strict=True):
            for instruction in instructions:
                if instruction.loaded and not instruction.literal:
                    widths[instruction.loaded] += _executions(block)
        reads = math.ceil(constant_bytes * total / sum(width * n for width, n in widths.items()))
    share = min(1.0, calls * reads / total)
    nominal = [n * share + missed for n, missed in zip(loads, literal_misses, strict=True)]
    return nominal, [n + m for n, m in zip(loads, literals, strict=True)]
