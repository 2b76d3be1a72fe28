"""What a verdict says: ``verdict.json``, and all that its page shows. Light to import."""

from typing import Any, Literal

from firmware_sim.budgets import State
from firmware_sim.power.place import Heat
from firmware_sim.ranges import Turn
from firmware_sim.verdict.counts import Signal
from realm_edge.documents import Form, Number

VERDICT = "realm-edge verdict/1"  # verdict.json

Ends = tuple[Number | None, Number | None]  # with every figure at its better and at its worse end; None: it does not fit there


class Accuracy(Form):
    """Of the decoder of one signal, on the test part of the decoded recording."""

    signal: Signal
    channels: int | None  # that it was trained on
    r2_float: Number | None
    r2_int8: Number | None  # of the firmware's bits
    text: str  # of what run; or why there is none


class Row(Form):
    """One scenario, at one number of channels, on one part, over one link."""

    scenario: str  # name of its file
    title: str
    signal: Signal
    frontend: Literal["software", "circuit", "none"]
    sends: Literal["decoded", "features", "samples"]
    fits: bool
    fit_text: str
    power_uw: Number | None
    power_uw_range: Ends
    parts_uw: dict[str, Number | None]
    payload_bps: Number
    link_share: Number | None  # of the link's time
    latency_ms: Number | None
    latency_ms_range: Ends
    state: State | None  # of the power budget; None where there is no power figure
    r2: Number | None
    eligible: bool  # fits, keeps the budget nominally, and decodes as well as the best, within the tolerance
    why_not: str  # empty where it is eligible
    firmware: str  # what ran as firmware, and for how long; or that nothing does


class Table(Form):
    """All scenarios at one number of channels, on one part, over one link."""

    channels: int
    target: str
    part: str
    link: str
    rows: tuple[Row, ...]  # by power, least first; what does not fit last
    winner: str | None  # scenario; least nominal power of those that are eligible
    runner_up: str | None
    sentence: str
    probability: Number | None  # share of the common draws in which the winner needs less than every other eligible scenario
    turns: tuple[Turn, ...]  # the two figures that most often make another one win
    unverified: tuple[str, ...]  # figures that no source was read for, in words


class Cell(Form):
    """Of the map: who wins, and how surely."""

    channels: int
    target: str
    link: str
    winner: str | None
    signal: Signal | None
    power_uw: Number | None
    probability: Number | None
    text: str


class Hint(Form):
    """A change of settings that the measured shares speak for; ``realm-edge verdict --apply NAME`` makes it and shows the result."""

    name: str
    text: str  # '63 % of the cycles are the front end: fewer bands'
    changes: dict[str, Any]  # of the settings, nested as in their TOML file


class System(Form):
    """A published system. Its figure covers what ``covers`` says; figures of other coverage are never in one chart."""

    name: str
    covers: str
    channels: str
    power: str
    other: str
    source: str
    confidence: str


class Verdict(Form):
    """The question, the answer, what decides it and what is unverified."""

    question: str
    answer: str
    context: str  # what the figures are for, and what they are not
    recordings: tuple[str, ...]
    synthetic: bool
    budget_uw: Number
    budget_source: str
    r2_tolerance: Number
    draws: int
    seed: int
    accuracies: tuple[Accuracy, ...]
    tables: tuple[Table, ...]
    map: tuple[Cell, ...]
    heat: tuple[Heat, ...]  # of the first table's winner
    hints: tuple[Hint, ...]
    systems: tuple[System, ...]
