"""How long a sweep still takes: what its cells cost, learnt from those that are done, and when its workers would be through."""

import heapq
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

Parts = Sequence["Part"]


@dataclass(frozen=True)
class Part:
    """A piece of a cell's work."""

    kind: str  # pieces of one kind take as long as their weights say
    weight: float = 1.0  # expected seconds, up to a factor; compares kinds of which none is done yet
    once: str | None = None  # done by the first cell that needs it, while others that do wait; None: by every cell


@dataclass(frozen=True)
class Pace:
    """What the pieces that are done took, by kind: sum of seconds and of weights."""

    seconds: dict[str, float]
    weights: dict[str, float]

    @classmethod
    def of(cls, done: Iterable[tuple[Part, float]]) -> "Pace":
        """From pieces and the seconds that each took."""
        pace = cls({}, {})
        for part, seconds in done:
            pace.seconds[part.kind] = pace.seconds.get(part.kind, 0.0) + seconds
            pace.weights[part.kind] = pace.weights.get(part.kind, 0.0) + part.weight
        return pace

    def expected(self, part: Part) -> float:
        """Seconds, from the pieces of its kind, or from all where there is none."""
        if part.kind in self.seconds:
            return part.weight * self.seconds[part.kind] / self.weights[part.kind]
        total = sum(self.weights.values())
        return part.weight * sum(self.seconds.values()) / total if total else 0.0


def seconds_left(running: Iterable[tuple[Parts, float]], waiting: Iterable[Parts], ready: Collection[str], pace: Pace) -> float:
    """Seconds until all cells are done: the workers take them in turn, as they become free.

    Args:
        running: the parts of the cell that each worker computes, and the seconds since it began.
        waiting: the others, in their order.
        ready: which ``once`` parts are done.
    """
    available = dict.fromkeys(ready, float("-inf"))

    def end(start: float, parts: Parts) -> float:
        at = start
        for part in parts:
            if part.once in available:
                at = max(at, available[part.once])
                continue
            at += pace.expected(part)
            if part.once is not None:
                available[part.once] = at
        return at

    first = sorted(running, key=lambda cell: -cell[1])
    free = [max(0.0, end(-elapsed, parts)) for parts, elapsed in first]
    heapq.heapify(free)
    for parts in waiting:
        heapq.heappush(free, end(heapq.heappop(free), parts))
    return max(free, default=0.0)
