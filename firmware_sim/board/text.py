"""What the command line prints of a board."""

from collections.abc import Iterator

from firmware_sim.board.form import Board, Row

HEADER = f"{'stage':<9} {'kernel':<44} {'cycles a bin':>13} {'table':>11} {'low to high':>21} {'error':>8}"


def lines(board: Board) -> Iterator[str]:
    """Bits, what was measured with the table beside it, and energy."""
    if board.bits.agree:
        yield f"{board.name}: every bit agrees with the reference over {board.bits.bins} bins, by model, stage and kernel"
    for problem in board.bits.problems:
        yield f"{board.name}: BITS DIFFER: {problem}"
    yield f"compiler: {board.compiler or 'not told'}; flags: {board.flags or 'not told'}"
    if not board.measured:
        yield f"not measured: {board.why_not}"
    else:
        clock = f" at {board.clock_hz / 1e6:g} MHz" if board.clock_hz else ""
        against = f"; table of {board.core} on {board.part} ({board.target})" if board.target else "; no table: name the run (--out)"
        yield f"measured by {board.counter}{clock} on {board.board or 'a board that was not told'}{against}"
        yield HEADER
        yield from map(_row, board.rows)
    yield from (f"mind: {remark}" for remark in board.remarks)
    if board.energy:
        one = board.energy
        volts = "measured" if one.volts_measured else "told"
        yield (
            f"energy: {one.pj_per_cycle:.1f} pJ a cycle ({one.instrument}, window by {one.window_by}, {one.volts:.2f} V {volts}, "
            f"{one.milliamperes:.3f} mA, cycles by {one.cycles_by})"
        )


def _row(row: Row) -> str:
    name = row.symbol or {"stage": "all of it", "driver": "driver"}[row.op]
    table = "-" if row.table is None else f"{row.table:,.0f}"
    ends = "-" if row.table_low is None or row.table_high is None else f"{row.table_low:,.0f} to {row.table_high:,.0f}"
    error = "-" if row.error_percent is None else f"{row.error_percent:+.1f} %"
    return f"{row.stage:<9} {name:<44} {row.measured:>13,.0f} {table:>11} {ends:>21} {error:>8}"
