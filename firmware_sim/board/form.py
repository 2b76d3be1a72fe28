"""``boards/<name>.json`` of a run: what a board's log says, and how far the core's table is from it."""

from typing import Annotated, Literal

from pydantic import Field

from realm_edge.documents import Form, Number

BOARD = "realm-edge board/1"
Label = Annotated[str, Field(max_length=300)]
Percent = Number


class Bits(Form):
    """Whether all three runs (whole model, by stages, by kernels) gave the reference's bits, and the weights' checksum is right."""

    agree: bool
    bins: int  # of a run
    problems: tuple[str, ...]  # what does not agree, in words


class Row(Form):
    """Cycles a bin, of a stage, of the calls of one kernel, or of the driver around them (what kernels leave of the stage).

    ``table`` and its range are what the core's table says of the same program on the part; None: nobody asked, or nothing runs there.
    ``error_percent``: of the table, (table / measured - 1) * 100; None without the table, or where there is nothing to divide by.
    """

    stage: Literal["frontend", "decoder"]
    symbol: str  # empty: of the whole stage, or its driver
    op: str  # "stage", "driver" or the kernel's operator
    nodes: tuple[str, ...]  # of the step graph, that call the kernel
    measured: Number
    least: int | None  # of a visit, as counted; None for the driver
    most: int | None
    table: Number | None
    table_low: Number | None
    table_high: Number | None
    error_percent: Percent | None


class Energy(Form):
    """Of a current probe's export, over the first run of the self-test or a window within it."""

    instrument: Literal["PPK2", "Joulescope"]
    file_sha256: str
    window_s: tuple[Number, Number]  # on the probe's clock
    window_by: str  # the digital line that was high, or "given"
    samples: int
    volts: Number  # mean
    volts_measured: bool  # by the probe; else told
    milliamperes: Number  # mean
    microwatts: Number  # mean
    cycles: Number  # in the window
    cycles_by: Literal["counter", "clock"]  # counted, or clock times seconds
    pj_per_cycle: Number


class Board(Form):
    """The file. What the program was told of board, clock, compiler and flags is as it says; nobody checked."""

    name: str  # of the file
    board: Label
    clock_hz: int | None
    compiler: Label
    flags: Label
    version: Label  # of realm-edge, that made the bundle
    prefix: str
    stream: str
    build: str
    bundle_sha256: str  # of headers, sources and objects
    log_sha256: str
    bits: Bits
    counter: str  # "none" where nothing counted
    measured: bool  # whether cycles are the board's
    why_not: str | None  # in words; None where they are
    remarks: tuple[str, ...]
    target: str | None  # whose table and flash ``rows`` are held against; None: no run was named
    part: str | None
    core: str | None
    rows: tuple[Row, ...]  # none where nothing was measured
    energy: Energy | None = None
