"""Where buffers lie: states one after another, intermediate tensors in one arena whose bytes are used again when free."""

from collections.abc import Iterable
from dataclasses import dataclass

ALIGNMENT = 8  # of int64, the widest element


@dataclass(frozen=True)
class Lifetime:
    """A buffer that is written first in call ``first`` and read last in call ``last``."""

    name: str
    nbytes: int
    first: int
    last: int


def sequential(sizes: Iterable[tuple[str, int]]) -> tuple[dict[str, int], int]:
    """Byte offsets one after another, and the bytes in all."""
    offsets, end = {}, 0
    for name, nbytes in sizes:
        offsets[name] = end
        end += _aligned(nbytes)
    return offsets, end


def share_arena(buffers: Iterable[Lifetime]) -> tuple[dict[str, int], int]:
    """Byte offsets at which buffers alive at the same time do not overlap, and the bytes in all. Largest first, lowest gap."""
    placed: list[tuple[int, Lifetime]] = []
    for buffer in sorted(buffers, key=lambda b: (-b.nbytes, b.first, b.name)):
        offset = 0
        for start, other in sorted(placed, key=lambda p: p[0]):
            alive_together = buffer.first <= other.last and other.first <= buffer.last
            if alive_together and start < offset + _aligned(buffer.nbytes):
                offset = max(offset, start + _aligned(other.nbytes))
        placed.append((offset, buffer))
    return {b.name: offset for offset, b in placed}, max((o + _aligned(b.nbytes) for o, b in placed), default=0)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
