"""Model against RTL: every program and every kernel of a whole firmware, on each core."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firmware_sim.attribution import RegionCost
from firmware_sim.cores import load_core
from firmware_sim.targets import get_target
from firmware_sim.timing import Cycles
from firmware_sim.validation.firmware import FIRMWARES, build_reference
from firmware_sim.validation.frozen import written_after_freeze
from firmware_sim.validation.measure import ModelRun, RtlRun, run_emulator, run_rtl
from firmware_sim.validation.programs import OPTIMISATIONS, TIMED, build_harness, build_program, source_names
from firmware_sim.validation.rtl import build_rtl, get_rtl, versions
from firmware_sim.wait_states import Waits
from realm_edge.errors import UserError
from realm_edge.progress import Progress

TARGET = "rv32imc"  # every core here runs its code
WAITS = {"fetch": (Waits(fetch=1), Waits(fetch=3)), "data": (Waits(data=1), Waits(data=3))}  # by port
WITH_WAIT_STATES = "-O2"


@dataclass(frozen=True)
class Subject:
    """Something that runs: one program at one optimisation, or a firmware."""

    name: str
    source: str
    elf: Path
    model: ModelRun
    parts: tuple[tuple[str, str], ...]  # (region, function); function "" is the whole region
    with_wait_states: bool


@dataclass(frozen=True)
class Waited:
    """Clock cycles of one part on one core with ``wait`` wait states on one port ("fetch" or "data"): on the RTL, and modelled."""

    port: str
    wait: int
    rtl: int
    cycles: float
    low: float
    high: float
    error_percent: float


@dataclass(frozen=True)
class Row:
    """Clock cycles of one part on one core: counted on the RTL, and by the table from the emulator's profile.

    ``range`` says that the table leaves the cycles open (division): ``low`` to ``high``. ``after_freeze``: the program was written when the
    cycles were frozen; ``after_waits_freeze``: when what the table says of wait states was.
    """

    core: str
    subject: str
    source: str
    part: str
    rtl: int
    cycles: float
    low: float
    high: float
    error_percent: float
    range: bool
    after_freeze: bool
    after_waits_freeze: bool
    waits: tuple[Waited, ...]

    @property
    def holds(self) -> bool:
        """Whether a range holds the RTL's cycles; of a plain count the error is judged, not this."""
        return not self.range or self.low <= self.rtl <= self.high


def validate(cores: Sequence[str], progress: Progress) -> dict[str, Any]:
    """Build, run and compare.

    Returns:
        By core: summary (see :func:`summary`) and rows; JSON.

    Raises:
        UserError: an unknown core, a tool is missing, a program fails, or RTL and emulator do not execute the same.
    """
    benches = {core: build_rtl(core) for core in progress.track(cores, "build the RTL")}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="realm-edge-") as folder:
        total = len(source_names()) * len(OPTIMISATIONS) + len(FIRMWARES)
        for subject in progress.track(_subjects(Path(folder)), "programs", total):
            for core, bench in benches.items():
                rows += _compare(subject, core, bench)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": {core: {"summary": summary(core, rows), "rows": [asdict(row) for row in rows if row.core == core]} for core in cores},
    }


def summary(core: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What is quoted of a core: the worst error of its plain counts, and whether it and every range hold."""
    own = [row for row in rows if row.core == core]
    plain = [row for row in own if not row.range]
    worst = max(plain, key=lambda row: abs(row.error_percent))
    limit, outside = get_rtl(core).limit_percent, [f"{row.subject} {row.part}".strip() for row in own if not row.holds]
    waits = {port: _worst_waited(core, plain, port) for port in WAITS}
    return {
        "programs": len({row.subject for row in own}),
        "sources": len({row.source for row in own}),
        "programs_after_freeze": len({row.subject for row in own if row.after_freeze}),
        "kernels": sum(row.part.startswith("realm_") for row in own),
        "worst_error_percent": worst.error_percent,
        "worst_program": f"{worst.subject} {worst.part}".strip(),
        "limit_percent": limit,
        "ranges": sum(row.range for row in own),
        "outside_range": outside,
        "wait_states": waits,
        "ok": abs(worst.error_percent) <= limit and not outside and all(one["ok"] for one in waits.values()),
        "versions": versions(get_rtl(core)),
    }


def _worst_waited(core: str, plain: Sequence[Row], port: str) -> dict[str, Any]:
    """Of the rows that were measured with wait states on ``port``: the worst error, of all and of those written after the freeze."""
    measured = [(row, waited) for row in plain for waited in row.waits if waited.port == port]
    if not measured:
        return {"ok": True}

    def size(pair: tuple[Row, Waited]) -> float:
        return abs(pair[1].error_percent)

    row, waited = max(measured, key=size)
    fresh = [pair for pair in measured if pair[0].after_waits_freeze]
    limit = get_rtl(core).wait_limits_percent[port]
    return {
        "programs": len({row.subject for row, _ in measured}),
        "programs_after_freeze": len({row.subject for row, _ in fresh}),
        "worst_error_percent": waited.error_percent,
        "worst_program": f"{row.subject} {row.part}".strip() + f", {waited.wait}",
        "worst_error_after_freeze_percent": max(fresh, key=size)[1].error_percent if fresh else None,
        "limit_percent": limit,
        "ok": abs(waited.error_percent) <= limit,
    }


def _subjects(folder: Path) -> Iterator[Subject]:
    target = get_target(TARGET)
    harness = build_harness(target, folder / "harness")
    for source in source_names():
        for optimisation in OPTIMISATIONS:
            work = folder / f"{source}{optimisation}"
            elf = build_program(source, optimisation, harness, target, work)
            model = run_emulator(elf, target, work, single_step=source in TIMED)
            # Single steps leave no blocks in which the model could see what an instruction does to the next.
            waits = optimisation == WITH_WAIT_STATES and source not in TIMED
            yield Subject(f"{source} {optimisation}", source, elf, model, (("program", ""),), waits)
    for name in FIRMWARES:
        bundle, elf = build_reference(name, target, folder / name)
        model = run_emulator(elf, target, folder / name)
        parts = [(region, "") for region in (*bundle.named_stages, "send")]
        functions = {kernel.symbol: region for region, stage in bundle.named_stages.items() for kernel in stage.kernels}
        parts += [(region, symbol) for symbol, region in functions.items()]
        yield Subject(f"firmware {name}", f"firmware {name}", elf, model, tuple(parts), True)


def _compare(subject: Subject, core: str, bench: Path) -> Iterator[Row]:
    folder = subject.model.profile.parent
    rtl = run_rtl(bench, subject.elf, folder)
    table = load_core(core)
    model = subject.model.price(table)
    settings = [(port, waits) for port, each in WAITS.items() for waits in each] if subject.with_wait_states else []
    waited = [
        (port, waits, run_rtl(bench, subject.elf, folder, waits.fetch, waits.data), subject.model.price(table, waits))
        for port, waits in settings
    ]
    if rtl.text != subject.model.text:
        raise UserError(f"{subject.name}: {core}'s RTL answers {rtl.text.strip()!r}, the emulator {subject.model.text.strip()!r}")
    for region, function in subject.parts:
        priced = _priced(model, region, function)
        executed = model[region].functions[function].instructions if function else model[region].region.instructions
        counted = _instructions(rtl, region, function)
        if counted != executed:
            raise UserError(f"{subject.name}: {counted} instructions of {function or region} on {core}'s RTL, {executed} in the emulator")
        cycles, low, high = priced
        took = _cycles(rtl, region, function)
        yield Row(
            core=core,
            subject=subject.name,
            source=subject.source,
            part=function or ("" if region == "program" else region),
            rtl=took,
            cycles=cycles,
            low=low,
            high=high,
            error_percent=100 * (cycles - took) / took,
            range=low < high,
            after_freeze=written_after_freeze(subject.source, "cycles"),
            after_waits_freeze=written_after_freeze(subject.source, "wait_states"),
            waits=tuple(
                _waited(port, waits, _cycles(run, region, function), _priced(costs, region, function)) for port, waits, run, costs in waited
            ),
        )


def _waited(port: str, waits: Waits, took: int, priced: Cycles) -> Waited:
    return Waited(port, waits.fetch + waits.data, took, *priced, 100 * (priced.cycles - took) / took)


def _priced(costs: dict[str, RegionCost], region: str, function: str) -> Cycles:
    return costs[region].functions[function].cycles if function else costs[region].cycles


def _cycles(run: RtlRun, region: str, function: str) -> int:
    return run.regions[region].functions[function].cycles if function else run.regions[region].cycles


def _instructions(run: RtlRun, region: str, function: str) -> int:
    functions = run.regions[region].functions
    return functions[function].instructions if function else sum(cost.instructions for cost in functions.values())
