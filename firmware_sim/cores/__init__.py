"""Timing tables of cores: one TOML file each in this folder, every entry with its source."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from firmware_sim.issue import IssueClass, IssueModel, LoadBanks, OperandTiming
from realm_edge.errors import UserError


@dataclass(frozen=True)
class Cost:
    """Cycles of one instruction class; ``low`` and ``high`` bound what the source leaves open (half a cycle: two issue at once)."""

    cycles: float
    source: str
    low: float
    high: float
    per_register: float = 0  # more cycles for each register that is moved
    refill: bool = False  # the pipeline refill comes on top


@dataclass(frozen=True)
class Prefetch:
    """A RISC-V core's prefetch buffer (:mod:`firmware_sim.prefetch`)."""

    buffer_words: int  # words of 4 bytes that are held or under way
    refetch: frozenset[str]  # classes behind which the core fetches anew, as behind a jump
    source: str
    takes_whole_words: bool = False  # a half that is left does not stay in the buffer
    executes_long: frozenset[str] = frozenset()  # classes that execute behind the decode stage, which is not filled meanwhile
    rereads_load: bool = False  # nor is it, for a cycle, behind a load into its own address register


@dataclass(frozen=True)
class Access:
    """What a RISC-V core does while a data access waits: ``hides`` {class: cycles of the next instruction, which does not need the data};
    ``hides_later``: the same, with another instruction between."""

    hides: dict[str, int]
    source: str
    behind_decode: bool = False  # the next instruction stands in the decode stage meanwhile
    hides_later: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CoreTable:
    """A core's table. ``label`` goes beside every cycle count that it gives; ``validation`` says how far it was checked: in the file, or
    measured against RTL (``data/validation.toml``)."""

    name: str
    isa: str
    label: str
    validation: str
    source: str
    cycles: dict[str, Cost]
    issue: IssueModel | None = None
    fetch: Prefetch | None = None
    access: Access | None = None


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
    text = files("firmware_sim").joinpath(f"cores/{name}.toml").read_text(encoding="utf-8")
    return parse_core(text, f"cores/{name}.toml", measured_validation(name))


def measured_validation(name: str) -> dict[str, str]:
    """What ``data/validation.toml`` tells of a core: {"validation": a sentence}, or {} where nothing was measured."""
    measured = tomllib.loads(files("firmware_sim").joinpath("data/validation.toml").read_text(encoding="utf-8"))
    if name not in measured["cores"]:
        return {}
    core = measured["cores"][name]
    rtl = ", ".join(f"{package} {version}" for package, version in core["versions"].items())
    counted = f"{core['programs']} programs of {core['sources']} sources and {core['kernels']} kernels"
    worst = f"worst error {core['worst_error_percent']:.3f} % ({core['worst_program']})"
    waits = "".join(
        f"; with wait states on {port} {one['worst_error_percent']:.3f} % ({one['worst_program']})"
        for port, one in sorted(core["wait_states"].items(), reverse=True)
    )
    how = f"'{measured['command']}', {measured['date']}; not validated: {measured['not_validated']}"
    return {"validation": f"measured against RTL ({rtl}): {worst} over {counted}{waits}; {how}"}


def parse_core(text: str, source: str, measured: Mapping[str, str] = MappingProxyType({})) -> CoreTable:
    """Parse a table from TOML; ``measured`` are fields that do not stand in it.

    Raises:
        UserError: broken TOML, a missing field, or an entry without a source or with low > cycles or cycles > high; names ``source``.
    """
    try:
        values = tomllib.loads(text)
        costs = {kind: _cost(row) for kind, row in values.pop("cycles").items()}
        issue = _issue(row) if (row := values.pop("issue", None)) else None
        fetch = _prefetch(row) if (row := values.pop("fetch", None)) else None
        access = Access(**row) if (row := values.pop("access", None)) else None
        table = CoreTable(cycles=costs, issue=issue, fetch=fetch, access=access, **values, **measured)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source}: not a core table ({type(error).__name__}: {error})") from error
    for kind, cost in costs.items():
        if not cost.source.strip():
            raise UserError(f"{source}: entry '{kind}' has no source")
        if not 0 <= cost.low <= cost.cycles <= cost.high:
            raise UserError(f"{source}: entry '{kind}' has low {cost.low}, cycles {cost.cycles}, high {cost.high}: they must not fall")
    return table


def _issue(row: dict) -> IssueModel:
    classes = {name: IssueClass(**(values | {"pipes": tuple(values["pipes"])})) for name, values in row["classes"].items()}
    for name, issue_class in classes.items():
        if missing := set(issue_class.pipes) - set(row["pipes"]):
            raise ValueError(f"issue class '{name}' needs a pipe '{missing.pop()}', which [issue] lacks")
    operands = {role: OperandTiming(**values) for role, values in row["operands"].items()}
    banks = LoadBanks(**row["banks"]) if "banks" in row else None
    return IssueModel(**(row | {"classes": classes, "operands": operands, "banks": banks}))


def _prefetch(row: dict) -> Prefetch:
    return Prefetch(**(row | {key: frozenset(row.get(key, ())) for key in ("refetch", "executes_long")}))


def _cost(row: dict) -> Cost:
    return Cost(**({"low": row["cycles"], "high": row["cycles"]} | row))
