"""Reads what the counting plugin wrote."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError

VISITS = "visits.bin"
VISIT_RECORD = np.dtype([("region", "<u4"), ("visit", "<u4"), ("counter", "<u4"), ("difference", "<i4")])
CELL = np.dtype([("node", "<i8"), ("counter", "<i8"), ("count", "<i8"), ("crossings", "<i8"), ("flash_bytes", "<i8"), ("misses", "<i8")])


@dataclass(frozen=True)
class Block:
    """Instructions that QEMU ran without leaving; ``counts`` (regions,) are executions."""

    counter: int
    address: int
    instructions: int
    code: bytes
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Edge:
    """One block followed by another, both by their counters; ``counts`` (regions,)."""

    counter: int
    source: int
    target: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Region:
    """How often a region was entered, and the instructions of all its visits."""

    name: str
    visits: int
    instructions: int


@dataclass(frozen=True)
class Node:
    """A way to be called: the number of a node, in which the block at ``source`` called that at ``target`` (addresses)."""

    parent: int
    source: int
    target: int


@dataclass(frozen=True)
class Profile:
    """What the plugin counted. ``visits``: :data:`VISIT_RECORD`, in the order of time; ``crossings``: (block's counter, counts).

    Where it was asked for: ``nodes`` from number 1 on (0 is where counting began), each behind its parent, and ``cells``, :data:`CELL`,
    what each counter counted in each of them. ``stopped``: the address was reached at which it should end.
    """

    regions: tuple[Region, ...]
    blocks: tuple[Block, ...]
    edges: tuple[Edge, ...]
    visits: NDArray
    crossings: tuple[tuple[int, tuple[int, ...]], ...] = ()
    nodes: tuple[Node, ...] = ()
    cells: NDArray = field(default_factory=lambda: np.zeros(0, CELL))
    stopped: bool = False


def read_profile(path: Path) -> Profile:
    """Parse a profile, and the visits in :data:`VISITS` beside it; their formats are described in ``plugin/realm_count.c``.

    Raises:
        UserError: a file is missing, was cut short, or has records of another form.
    """
    regions: list[Region] = []
    blocks: list[Block] = []
    edges: list[Edge] = []
    crossings: list[tuple[int, tuple[int, ...]]] = []
    nodes: list[Node] = []
    cells: list[tuple[int, ...]] = []
    address: dict[int, int] = {}
    stopped = False
    visits = path.with_name(VISITS)
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        if lines[0] != "realm-count 3" or lines[-1] != "end":
            raise ValueError("no 'realm-count 3' at the begin or no 'end'")
        for line in lines[1:-1]:
            record, *fields = line.split()
            match record:
                case "region":
                    regions.append(Region(fields[1], int(fields[2]), int(fields[3])))
                case "block":
                    counts = tuple(map(int, fields[4:]))
                    blocks.append(Block(int(fields[0]), int(fields[1], 16), int(fields[2]), bytes.fromhex(fields[3]), counts))
                    address[int(fields[0])] = int(fields[1], 16)
                case "edge":
                    edges.append(Edge(int(fields[0]), int(fields[1]), int(fields[2]), tuple(map(int, fields[3:]))))
                case "crossing":
                    crossings.append((int(fields[0]), tuple(map(int, fields[1:]))))
                case "node":
                    nodes.append(Node(int(fields[1]), address[int(fields[2])], address[int(fields[3])]))
                case "in":
                    cells.append(tuple(map(int, fields)))
                case "stopped":
                    stopped = True
                case _:
                    raise ValueError(f"record '{record}'")
        if visits.stat().st_size % VISIT_RECORD.itemsize:
            raise ValueError(f"{visits.name} ends within a record")
        records = np.fromfile(visits, VISIT_RECORD)
        _check(regions, blocks, edges, records)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path}: not a profile of this version ({error}); rerun 'realm-edge simulate'") from error
    return Profile(tuple(regions), tuple(blocks), tuple(edges), records, tuple(crossings), tuple(nodes), np.array(cells, CELL), stopped)


def _check(regions: list[Region], blocks: list[Block], edges: list[Edge], records: NDArray) -> None:
    counted: list[Block | Edge] = [*blocks, *edges]
    counters = sorted(item.counter for item in counted)
    if counters != list(range(len(counters))):
        raise ValueError("the counters have gaps")
    if any(len(item.counts) != len(regions) for item in counted):
        raise ValueError("a count is missing")
    entered = np.array([region.visits for region in regions])
    if records.size and (records["counter"].max() >= len(counters) or records["region"].max() >= len(regions)):
        raise ValueError("a visit counts what is not listed")
    if records.size and (records["visit"] >= entered[records["region"]]).any():
        raise ValueError("a visit after the last")
