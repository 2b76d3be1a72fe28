"""What a verdict says: ``verdict.json``, and all that its page shows. Light to import."""

from typing import Any

from firmware_sim.power.place import Heat
from firmware_sim.verdict.counts import Signal
from firmware_sim.verdict.table import Cell, Table
from realm_edge.documents import Form, Number

VERDICT = "realm-edge verdict/1"  # verdict.json


class Accuracy(Form):
    """Of the decoder of one signal, on the test part of the decoded recording."""

    signal: Signal
    channels: int | None  # that it was trained on
    r2_float: Number | None
    r2_int8: Number | None  # of the firmware's bits
    text: str  # of what run; or why there is none


class Hint(Form):
    """A change of settings that the measured shares speak for; ``realm-edge verdict --apply NAME`` makes it and shows the result."""

    name: str
    text: str  # '63 % of the cycles are the front end: fewer bands'
    changes: dict[str, Any]  # of the settings, nested as in their TOML file


class System(Form):
    """A published system. Its figure covers what ``covers`` says; figures of other coverage are never in one chart."""

    name: str
    group: str  # which parts its figure counts: "recording, features and decoder"
    covers: str  # what it is of, in the source's words
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
