"""Every part at once: compiled and simulated unless it is done already, and what came out as one table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_sim.build import TooLarge
from firmware_sim.targets import Target, targets
from realm_edge.app.workflow import compile_options, compile_request, simulation_options, simulation_request

if TYPE_CHECKING:
    from realm_edge.app.summaries import Simulation
    from realm_edge.app.workflow import Workflow


@dataclass(frozen=True)
class Row:
    """One stream on one part; of a part that is too small there is one row, which says what it lacks."""

    target: str
    part: str
    stream: str | None
    flash_bytes: int | None
    ram_bytes: int | None
    cycles_per_step: float | None
    bit_exact: bool | None
    fits: str  # in words


def matrix(work: "Workflow", prefix: str | None) -> list[Row]:
    """Compile for every part and simulate it there, with the product's limits and figures; finished stages are not repeated.

    Raises:
        UserError: as of the stages; a part that is too small is a row.
    """
    found = []
    for target in targets().values():
        asked, given = compile_request(prefix), compile_options(prefix)
        work.resume(f"compile.{target.name}", target.name, target.build, prefix, request=asked, options=given)
        try:
            request, options = simulation_request(None, None), simulation_options(None, None)
            simulated = work.resume(f"simulate.{target.name}", target.name, None, None, request=request, options=options)
        except TooLarge as error:
            found.append(Row(target.name, target.part, None, None, None, None, None, error.fit_text))
        else:
            found += _rows(target, simulated)
    return found


def _rows(target: Target, simulated: "Simulation") -> Iterator[Row]:
    for name, stream in simulated.streams.items():
        memory = (stream.flash_bytes, stream.ram_bytes)
        yield Row(target.name, target.part, name, *memory, stream.cycles_per_step, stream.bit_exact, stream.fit_text)


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The table as text."""
    yield f"{'target':<12} {'part':<22} {'stream':<6} {'flash, bytes':>12} {'RAM, bytes':>11} {'cycles/step':>12}  bits    fits"
    for row in rows:
        numbers = (row.flash_bytes, row.ram_bytes, row.cycles_per_step)
        flash, ram, cycles = ("-" if number is None else f"{number:,.0f}" for number in numbers)
        bits = {True: "equal", False: "DIFFER", None: "-"}[row.bit_exact]
        yield f"{row.target:<12} {row.part:<22} {row.stream or '-':<6} {flash:>12} {ram:>11} {cycles:>12}  {bits:<6}  {row.fits}"
