"""What ``realm-edge cycles --json`` writes, typed."""

from realm_edge.documents import Form, Number

CYCLES = "realm-edge cycles/1"


class Costs(Form):
    """Cycles by the core's table (nominal, and the range that it and the flash leave open), stalls by flash wait states among them."""

    cycles: Number
    cycles_low: Number
    cycles_high: Number
    stall_cycles: Number  # nominal
    instructions: int


class FunctionRow(Costs):
    """A function, without what it calls; ``cycles_with_callees``: with that, of recursion counted once."""

    name: str
    calls: int
    cycles_with_callees: Number


class RegionRow(Costs):
    """What ran between the markers of one region, over all visits; a visit that half of them do not exceed, and the longest."""

    name: str
    visits: int
    median_cycles: Number
    longest_cycles: Number


class Stack(Form):
    """Cycles in the last of these functions, where each was called by the one before."""

    functions: tuple[str, ...]
    cycles: Number


class CyclesProfile(Form):
    """A program on a part."""

    program: str  # name of the file
    program_sha256: str
    machine: str  # of QEMU, which executed it
    target: str
    part: str
    core: str
    clock_hz: int
    tables_sha256: str  # of the core's table and the part's flash: baselines of others cannot be compared
    label: str
    validation: str
    entry: str
    until: str | None  # None: the program's end
    times: int
    stepped: bool  # instruction by instruction, because interrupts came in between
    total: Costs
    functions: tuple[FunctionRow, ...]  # most cycles first
    regions: tuple[RegionRow, ...]  # none where the program has no markers
    stacks: tuple[Stack, ...]
