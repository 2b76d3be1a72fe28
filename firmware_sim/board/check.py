"""Holds a board's log against its bundle and the core's table."""

from collections.abc import Iterator

from firmware_sim.board.form import Bits, Board, Energy, Row
from firmware_sim.board.log import BitsLine, BoardLog, RegionLine
from firmware_sim.board.table import Priced
from firmware_sim.bundle import Bundle, program_digest
from firmware_sim.bundle_metadata import Stage
from firmware_sim.targets import Target
from firmware_sim.timing import Cycles
from realm_edge.errors import UserError

# What a counter of cycles makes of a chain of dependent instructions: at least half a cycle each, the same each time.
_LEAST_OF_CHAIN, _MOST_SPREAD = 0.5, 0.25
_DIGITS = 3


def require_same_bundle(log: BoardLog, bundle: Bundle, source: str) -> None:
    """See that a log is of a bundle.

    Raises:
        UserError: it is of another one.
    """
    for what, told, have in (
        ("prefix", log.bundle.prefix, bundle.prefix),
        ("build", log.bundle.build, bundle.target),
        ("digest", log.bundle.digest, program_digest(bundle.path)),
    ):
        if told != have:
            differ = f"its {what} is {told:.40}, that of {bundle.path} is {have:.40}"
            raise UserError(f"{source}: of another bundle: {differ}: name the bundle that was flashed")


def checked(
    log: BoardLog,
    bundle: Bundle,
    name: str,
    log_sha256: str,
    priced: tuple[Target, Priced | None] | None = None,
    energy: Energy | None = None,
) -> Board:
    """What the log of a bundle's self-test says.

    Args:
        log: of this bundle (:func:`require_same_bundle`).
        name: under which it is kept.
        priced: the part that the board has, and what the core's table says of the self-test there; without that, where nothing was
            measured.

    Raises:
        UserError: regions of the log are not those of the bundle.
    """
    why_not = why_no_measurement(log)
    problems = tuple(_problems(log))
    return Board(
        name=name,
        board=log.board,
        clock_hz=log.clock_hz or None,
        compiler=log.compiler,
        flags=log.flags,
        version=log.version,
        prefix=log.bundle.prefix,
        stream=log.bundle.stream,
        build=log.bundle.build,
        bundle_sha256=log.bundle.digest,
        log_sha256=log_sha256,
        bits=Bits(agree=not problems, bins=log.bits[0].bins, problems=problems),
        counter=log.counter.name,
        measured=why_not is None,
        why_not=why_not,
        remarks=tuple(_remarks(log, why_not is None)),
        target=priced[0].name if priced else None,
        part=priced[0].part if priced else None,
        core=priced[0].core if priced else None,
        rows=tuple(_rows(log, bundle, priced[1] if priced else None)) if why_not is None else (),
        **({"energy": energy} if energy else {}),
    )


def _problems(log: BoardLog) -> Iterator[str]:
    if not log.weights:
        yield "the weights in flash are not the bundle's (their checksum differs)"
    for run in log.bits:
        if run.wrong:
            at = f"bin {run.bin}, output {run.output}: {run.got} instead of {run.expected}"
            yield f"run by {run.by}: {run.wrong} of {run.bins * run.outputs} outputs differ, the first in {at}; {_blamed(run)}"
        elif run.features == "differ":
            yield f"run by {run.by}: every output agrees, but the front end's features differ"


def _blamed(run: BitsLine) -> str:
    told = {"equal": "the front end's features agree: it is the decoder", "differ": "the front end's features differ as well"}
    return told.get(run.features, "features are not looked at in this run")


def why_no_measurement(log: BoardLog) -> str | None:
    """Why cycles of a log are no measurement; None where they are."""
    counter = log.counter
    if counter.name == "none":
        asked = "" if counter.asked == "none" else f": {counter.asked} did not move"
        return f"no counter{asked}; bits alone were checked"
    if counter.chain:
        spread = counter.most - counter.least
        if counter.least < _LEAST_OF_CHAIN * counter.chain or spread > _MOST_SPREAD * counter.least:
            took = f"{counter.chain} instructions in a chain took {counter.least} to {counter.most}"
            return f"{counter.name} counts no cycles of this core ({took}): an emulator, or a counter with another clock"
    if not log.regions:
        return "the log has no regions"
    return None


def _remarks(log: BoardLog, measured: bool) -> Iterator[str]:
    if measured and not log.counter.chain:
        yield "whether the counter counts cycles was not checked: the compiler takes no assembly"
    if measured and log.counter.name == "systick":
        yield "SysTick has 24 bits: a visit of more than 16,777,215 cycles would be told as shorter"
    # A front end's visits differ by themselves: blocks are divided into chunks, and one ends the bin.
    uneven = [line.symbol or line.stage for line in log.regions if line.stage == "decoder" and line.most > 2 * line.least]
    if measured and uneven:
        names = f"{', '.join(uneven[:3])}{' and others' if uneven[3:] else ''}"
        yield f"visits differ by more than twice in {names}: were interrupts off?"


def _rows(log: BoardLog, bundle: Bundle, priced: Priced | None) -> Iterator[Row]:
    bins = log.bits[0].bins
    for name, stage in bundle.named_stages.items():
        whole = [line for line in log.regions if line.stage == name and not line.symbol]
        calls = [line for line in log.regions if line.stage == name and line.symbol]
        if len(whole) != 1 or [line.symbol for line in calls] != [kernel.symbol for kernel in stage.kernels]:
            raise UserError(f"the log's regions are not those of {bundle.path} ({name}): compile the bundle again with this version")
        due = bins * (bundle.blocks_per_bin if name == "frontend" else 1)
        if whole[0].visits != due or not all(line.visits for line in calls):
            had = (
                f"{whole[0].visits} visits of the {name}, not {due}" if whole[0].visits != due else f"a kernel of the {name} that never ran"
            )
            raise UserError(f"the log has {had}: it is not of the self-test of {bundle.path}")
        table = priced.stages.get(name) if priced else None
        yield _row(name, "", "stage", (), _a_bin(whole, log, bins), (whole[0].least, whole[0].most), _over(table, bins))
        yield from _kernels(name, stage, calls, log, bins, priced)
        rest = _a_bin(whole, log, bins) - _a_bin(calls, log, bins)
        around = _rest(table, [priced.kernels[symbol] for symbol in sorted({line.symbol for line in calls})] if priced else [])
        yield _row(name, "", "driver", (), rest, None, _over(around, bins))


def _kernels(name: str, stage: Stage, calls: list[RegionLine], log: BoardLog, bins: int, priced: Priced | None) -> Iterator[Row]:
    for symbol in dict.fromkeys(kernel.symbol for kernel in stage.kernels):
        kernels = [kernel for kernel in stage.kernels if kernel.symbol == symbol]
        mine = [line for line in calls if line.symbol == symbol]
        visits = min(line.least for line in mine), max(line.most for line in mine)
        table = _over(priced.kernels.get(symbol), bins) if priced else None
        yield _row(name, symbol, kernels[0].op, tuple(kernel.node for kernel in kernels), _a_bin(mine, log, bins), visits, table)


def _a_bin(lines: list[RegionLine], log: BoardLog, bins: int) -> float:
    """Cycles of a bin, without those of taking the time."""
    return sum(line.sum - log.counter.overhead * line.visits for line in lines) / bins


def _over(cycles: Cycles | None, bins: int) -> Cycles | None:
    return cycles.times(1 / bins) if cycles else None


def _rest(whole: Cycles | None, parts: list[Cycles]) -> Cycles | None:
    """Of a stage, what its kernels leave."""
    for part in parts:
        whole = whole.plus(part.times(-1)) if whole else None
    return whole


def _row(
    stage: str, symbol: str, op: str, nodes: tuple[str, ...], measured: float, visits: tuple[int, int] | None, table: Cycles | None
) -> Row:
    error = 100 * (table.cycles / measured - 1) if table and measured > 0 else None
    low, high = (table.low, table.high) if table else (None, None)
    return Row.model_validate(
        {
            "stage": stage,
            "symbol": symbol,
            "op": op,
            "nodes": nodes,
            "measured": round(measured, _DIGITS),
            "least": visits[0] if visits else None,
            "most": visits[1] if visits else None,
            "table": round(table.cycles, _DIGITS) if table else None,
            "table_low": None if low is None else round(low, _DIGITS),
            "table_high": None if high is None else round(high, _DIGITS),
            "error_percent": None if error is None else round(error, _DIGITS),
        }
    )
