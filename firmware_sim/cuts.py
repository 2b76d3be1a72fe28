"""Undoes what QEMU does to blocks for its own sake, which depends on its version: what is priced must not.

It cuts straight code where its buffers or a page of memory end, and release 7.2 adds the halfword behind a block of Thumb that ends there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from firmware_sim.decode import Instruction
from firmware_sim.profile import Block, Profile

Decoder = Callable[[bytes, int, int], list[Instruction]]


def join_blocks(profile: Profile, decode: Decoder) -> tuple[Profile, list[list[Instruction]]]:
    """Make one block of those that only ever follow each other, without a transfer between them.

    Returns:
        The profile, its counters numbered anew, and the instructions of each block: none where it did not run.

    Raises:
        UnknownInstruction: as ``decode``.
    """
    decoded = {b.counter: decode(b.code, b.address, b.instructions) if any(b.counts) else [] for b in profile.blocks}
    parts = {block.counter: block for block in profile.blocks}
    behind = _followers(profile, parts, decoded)
    head: dict[int, int] = {}  # counter of a part -> of the first part
    blocks, instructions = [], []
    for block in profile.blocks:
        if block.counter in behind.values():
            continue
        chain = [block]
        while chain[-1].counter in behind:
            chain.append(parts[behind[chain[-1].counter]])
        head |= {part.counter: block.counter for part in chain}
        blocks.append(_joined(chain, decoded))
        instructions.append([instruction for part in chain for instruction in decoded[part.counter]])
    edges = [replace(edge, source=head[edge.source]) for edge in profile.edges if behind.get(edge.source) != edge.target]
    crossings: dict[int, tuple[int, ...]] = {}
    for counter, counts in profile.crossings:
        before = crossings.get(head[counter], (0,) * len(counts))
        crossings[head[counter]] = tuple(a + b for a, b in zip(before, counts, strict=True))
    cells = _joined_cells(profile.cells, head)
    left = replace(profile, blocks=tuple(blocks), edges=tuple(edges), crossings=tuple(crossings.items()), cells=cells)
    return _renumbered(left), instructions


def _followers(profile: Profile, blocks: dict[int, Block], decoded: dict[int, list[Instruction]]) -> dict[int, int]:
    """By the counter of a block that was cut: that of the block behind the cut."""
    leaving, entering = Counter(edge.source for edge in profile.edges), Counter(edge.target for edge in profile.edges)
    found = {}
    for edge in profile.edges:
        last, first = decoded[edge.source][-1], decoded[edge.target][0]
        straight = not last.transfer and first.address == last.address + last.size
        alone = leaving[edge.source] == entering[edge.target] == 1
        if straight and alone and blocks[edge.source].counts == edge.counts == blocks[edge.target].counts:
            found[edge.source] = edge.target
    return found


def _joined(chain: Sequence[Block], decoded: dict[int, list[Instruction]]) -> Block:
    """The blocks of ``chain`` as one; what is behind the last instruction of each is left out."""
    if not decoded[chain[0].counter]:
        return chain[0]
    code = b"".join(part.code[: sum(instruction.size for instruction in decoded[part.counter])] for part in chain)
    return replace(chain[0], instructions=sum(part.instructions for part in chain), code=code)


def _joined_cells(cells: NDArray, head: dict[int, int]) -> NDArray:
    """The parts of a block as one, in each node: executed as often as the first, and all else together."""
    first = np.array([head.get(counter, counter) for counter in cells["counter"].tolist()], np.int64)
    joined = cells.copy()
    joined["count"] *= first == cells["counter"]
    joined["counter"] = first
    keys, place = np.unique(joined[["node", "counter"]], return_inverse=True)
    found = np.zeros(len(keys), cells.dtype)
    for name in ("node", "counter"):
        found[name] = keys[name]
    for name in ("count", "crossings", "flash_bytes", "misses"):
        np.add.at(found[name], place, joined[name])
    return found


def _renumbered(profile: Profile) -> Profile:
    """Counters without gaps, in the same order; visits keep those that are left, which say what the others said."""
    left = sorted([block.counter for block in profile.blocks] + [edge.counter for edge in profile.edges])
    number = {counter: i for i, counter in enumerate(left)}
    kept = profile.visits[np.isin(profile.visits["counter"], left)]
    kept["counter"] = np.searchsorted(left, kept["counter"])
    cells = profile.cells[np.isin(profile.cells["counter"], left)]
    cells["counter"] = np.searchsorted(left, cells["counter"])
    return replace(
        profile,
        blocks=tuple(replace(block, counter=number[block.counter]) for block in profile.blocks),
        edges=tuple(replace(e, counter=number[e.counter], source=number[e.source], target=number[e.target]) for e in profile.edges),
        visits=kept,
        cells=cells,
        crossings=tuple((number[counter], counts) for counter, counts in profile.crossings),
    )
