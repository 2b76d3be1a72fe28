"""A profile beside an earlier one of the same program: what grew, and whether that is more than is allowed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.cycles.form import CYCLES, CyclesProfile
from realm_edge.documents import read_document
from realm_edge.errors import UserError

LEAST_SHARE = 0.01  # of the total, before or now, that a function needs to break a bound
_REMEDY = "make it anew with 'realm-edge cycles PROGRAM --json'"


@dataclass(frozen=True)
class Change:
    """Nominal cycles of a function, or of everything (``name`` "total"), without callees; 0 where it is not there."""

    name: str
    before: float
    now: float
    counts: bool  # is large enough to break a bound

    @property
    def growth(self) -> float:
        """Share by which it grew; infinite for what is new."""
        return self.now / self.before - 1 if self.before else float("inf") if self.now else 0.0

    def breaks(self, most: float) -> bool:
        """Whether it grew by more than ``most`` (a share)."""
        return self.counts and self.growth > most


def read_baseline(path: Path) -> CyclesProfile:
    """Read what ``realm-edge cycles --json`` wrote.

    Raises:
        UserError: missing, not JSON, of another format or damaged.
    """
    return read_document(path, CYCLES, CyclesProfile, _REMEDY)


def check_comparable(baseline: CyclesProfile, now: CyclesProfile, path: Path) -> None:
    """See that two profiles differ by nothing but the program.

    Raises:
        UserError: another target, other tables, or another span of the program.
    """
    for what, option in (("target", "--target"), ("entry", "--entry"), ("until", "--until"), ("times", "--until")):
        before, here = getattr(baseline, what), getattr(now, what)
        if before != here:
            raise UserError(f"{path}: its {what} is {_shown(before)}, and {_shown(here)} here: give the same {option}, or {_REMEDY}")
    if baseline.tables_sha256 != now.tables_sha256:
        raise UserError(f"{path}: the cycle table of {now.core} or the flash of {now.part} has changed since it was made: {_REMEDY}")


def changes(baseline: CyclesProfile, now: CyclesProfile) -> tuple[Change, ...]:
    """The total first, then functions whose cycles changed, those that grew most first."""
    before = {row.name: row.cycles for row in baseline.functions}
    after = {row.name: row.cycles for row in now.functions}
    least = LEAST_SHARE * max(baseline.total.cycles, now.total.cycles)
    rows = [
        Change(name, before.get(name, 0), after.get(name, 0), max(before.get(name, 0), after.get(name, 0)) >= least)
        for name in sorted(before.keys() | after.keys())
    ]
    changed = sorted((row for row in rows if row.now != row.before), key=lambda row: (row.before - row.now, row.name))
    return (Change("total", baseline.total.cycles, now.total.cycles, True), *changed)


def comparison(found: tuple[Change, ...], most: float) -> Iterator[str]:
    """Lines that show what changed; ``most``: share by which each may grow."""
    for row in found:
        share = f"{100 * row.growth:+.2f} %"
        if not (row.before and row.now):
            share = "new" if row.now else "gone"
        verdict = f"  more than {100 * most:g} %" if row.breaks(most) else ""
        yield f"{row.before:>14,.0f} {row.now:>14,.0f} {row.now - row.before:>+12,.0f} {share:>10}  {row.name}{verdict}"


HEADER = f"{'before':>14} {'now':>14} {'cycles':>12} {'change':>10}  function"


def _shown(value: object) -> str:
    return "the program's end" if value is None else str(value)
