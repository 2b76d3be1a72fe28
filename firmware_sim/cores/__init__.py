"""Timing tables of cores: one TOML file each in this folder, every entry with its source."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from realm_edge.errors import UserError


@dataclass(frozen=True)
class Cost:
    """Cycles of one instruction class; ``low`` and ``high`` bound what the source leaves open (half a cycle: two issue at once)."""

    cycles: float
    source: str
    low: float
    high: float
    per_register: int = 0  # more cycles for each register that is moved
    refill: bool = False  # the pipeline refill comes on top


@dataclass(frozen=True)
class DualIssue:
    """Which neighbours issue together: ``pairs`` of classes, older first."""

    pairs: frozenset[tuple[str, str]]
    source: str

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(kind for pair in self.pairs for kind in pair)


@dataclass(frozen=True)
class CoreTable:
    """A core's table. ``label`` goes beside every cycle count that it gives."""

    name: str
    isa: str
    label: str
    validation: str
    source: str
    cycles: dict[str, Cost]
    dual_issue: DualIssue | None = None


def core_names() -> list[str]:
    """Names of the tables there are."""
    return sorted(
        path.name.removesuffix(".toml") for path in files("firmware_sim").joinpath("cores").iterdir() if path.name.endswith(".toml")
    )


@cache
def load_core(name: str) -> CoreTable:
    """Read a core's table.

    Raises:
        UserError: there is no table of that name; the message lists those there are.
    """
    if name not in core_names():
        raise UserError(f"unknown core '{name}': use one of {', '.join(core_names())}")
    return parse_core(files("firmware_sim").joinpath(f"cores/{name}.toml").read_text(encoding="utf-8"), f"cores/{name}.toml")


def parse_core(text: str, source: str) -> CoreTable:
    """Parse a table from TOML.

    Raises:
        UserError: broken TOML, a missing field, or an entry without a source or with low > cycles or cycles > high; names ``source``.
    """
    try:
        values = tomllib.loads(text)
        costs = {kind: _cost(row) for kind, row in values.pop("cycles").items()}
        dual = values.pop("dual_issue", None)
        table = CoreTable(cycles=costs, dual_issue=_dual_issue(dual) if dual else None, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source}: not a core table ({type(error).__name__}: {error})") from error
    for kind, cost in costs.items():
        if not cost.source.strip():
            raise UserError(f"{source}: entry '{kind}' has no source")
        if not 0 <= cost.low <= cost.cycles <= cost.high:
            raise UserError(f"{source}: entry '{kind}' has low {cost.low}, cycles {cost.cycles}, high {cost.high}: they must not fall")
    for kind in sorted(table.dual_issue.kinds - costs.keys() if table.dual_issue else ()):
        raise UserError(f"{source}: dual_issue names '{kind}', which has no entry")
    return table


def _dual_issue(row: dict) -> DualIssue:
    pairs = frozenset((first, second) for first, second in (pair.split() for pair in row["pairs"]))
    return DualIssue(**(row | {"pairs": pairs}))


def _cost(row: dict) -> Cost:
    return Cost(**({"low": row["cycles"], "high": row["cycles"]} | row))
