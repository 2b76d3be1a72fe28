"""Scenarios beside one another on one part and link, and the map over many of them."""

from typing import Literal

from firmware_sim.budgets import State
from firmware_sim.ranges import Comparison, Turn
from firmware_sim.verdict.counts import Signal
from realm_edge.documents import Form, Number

Ends = tuple[Number | None, Number | None]  # with every figure at its better and at its worse end; None: it does not fit there


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
    lfp_sentence: str  # the best of LFP against the best of spikes, whoever wins
    lfp_against_spikes: Comparison | None  # None: one of them has no scenario that fits, keeps the budget and has a decoder
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
    text: str  # the table's sentence; or why nothing wins


def channels_text(channels: int) -> str:
    """How many, in words: "1 channel", "1,024 channels"."""
    return f"{channels:,} channel{'' if channels == 1 else 's'}"
