"""Which scenario needs least power of those that decode as well as the best, how surely, and what would turn it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_sim.budgets import Budget, State
from firmware_sim.components import Components, Quantity
from firmware_sim.implant import PARTS, Timeline, play, run_timeline
from firmware_sim.power.sensing import sent_bits
from firmware_sim.ranges import (
    CYCLES,
    DRAWS,
    LEAST_SHARE,
    SEED,
    Comparison,
    Range,
    RangedCase,
    Turn,
    axes,
    compare,
    draw,
    figures_at,
    played_with,
    range_of,
)
from firmware_sim.verdict.counts import Signal
from firmware_sim.verdict.pricing import Priced
from firmware_sim.verdict.table import Cell, Row, Table, channels_text
from realm_edge.shares import format_share

LFP: tuple[Signal, ...] = ("lfp", "lfp-200")
SPIKES: tuple[Signal, ...] = ("spike",)
TOLERANCE = 0.05  # of R2, by which a scenario may decode worse than the best that fits
SURE = 2 / 3  # of the draws: where the winner needs less in fewer, the sentence says that it is a tie


@dataclass(frozen=True)
class _Judged:
    """A scenario by itself."""

    priced: Priced
    timeline: Timeline | None  # None: its firmware does not fit
    link_share: float | None
    payload_bps: float  # what is left of it after compression
    range: Range
    r2: float | None
    unverified: tuple[str, ...]  # of the figures that it uses

    @property
    def fits(self) -> bool:
        return self.timeline is not None and self.timeline.fits

    @property
    def fit_text(self) -> str:
        return self.priced.why_not if self.timeline is None else self.timeline.fit_text

    @property
    def power_uw(self) -> float | None:
        return None if self.timeline is None else self.timeline.power_uw["total"]


def judge(
    priced: Sequence[Priced],
    r2: Mapping[Signal, float | None],
    budget: Budget,
    components: Components,
    tolerance: float = TOLERANCE,
    draws: int = DRAWS,
    seed: int = SEED,
    with_turns: bool = True,
    latency_ms: float | None = None,
) -> Table:
    """Hold scenarios against one another.

    A scenario is eligible where it fits, keeps the budget nominally, and its decoder's R2 lies within ``tolerance`` of the best of those
    that fit. Of these, the one of least nominal power wins. All are played at common draws, so that what they share cancels.

    Args:
        priced: at one number of channels, on one target, over one link.
        r2: of the decoder of each signal; None, or absent: there is none.
        budget: of power, in microwatts.
        with_turns: whether to look for the figures that turn it, which takes most of the time.
        latency_ms: budget of it; it decides nothing, but the sentence says where the winner breaks it.

    Raises:
        ValueError: there is no scenario, or they are not of one number of channels, target and link.
    """
    if len({(each.channels, each.target.name, each.link.name) for each in priced}) != 1:
        raise ValueError("scenarios of one number of channels, target and link are needed, at least one")
    judged = [_judged(each, r2.get(each.candidate.signal), components) for each in priced]
    best = max((each.r2 for each in judged if each.fits and each.r2 is not None), default=None)
    reasons = {each.priced.candidate.name: _why_not(each, best, budget, tolerance) for each in judged}
    # What fits comes first, what has no power after what has.
    judged.sort(key=lambda each: (not each.fits, each.power_uw is None, each.power_uw or 0.0, each.priced.candidate.name))
    eligible = [each for each in judged if not reasons[each.priced.candidate.name]]
    lfp, spikes = (_least_of(judged, signals, budget, tolerance) for signals in (LFP, SPIKES))
    pair = (_case(lfp), _case(spikes), spikes.priced.candidate.name) if lfp and spikes else None
    compared = compare(*pair, components, draws, seed, with_turns) if pair else None
    probability, turns = _draws([_case(each) for each in eligible], components, draws, seed, with_turns) if eligible else (None, ())
    first = priced[0]
    rows = tuple(_row(each, budget, reasons[each.priced.candidate.name]) for each in judged)
    return Table(
        channels=first.channels,
        target=first.target.name,
        part=first.target.part,
        link=first.link.name,
        rows=rows,
        winner=eligible[0].priced.candidate.name if eligible else None,
        runner_up=eligible[1].priced.candidate.name if len(eligible) > 1 else None,
        sentence=_sentence(first, rows, [row for row in rows if row.eligible], probability, draws) + _late(rows, latency_ms),
        probability=probability,
        turns=turns,
        lfp_sentence=_lfp_sentence(lfp, spikes, compared),
        lfp_against_spikes=compared,
        unverified=tuple(sorted({line for each in judged if each.fits for line in each.unverified})),
    )


def _least_of(judged: Sequence[_Judged], signals: Sequence[Signal], budget: Budget, tolerance: float) -> _Judged | None:
    """The first of those of some signals that would be eligible if there were no other signals."""
    own = [each for each in judged if each.priced.candidate.signal in signals]
    best = max((each.r2 for each in own if each.fits and each.r2 is not None), default=None)
    return next((each for each in own if not _why_not(each, best, budget, tolerance)), None)


def _lfp_sentence(lfp: _Judged | None, spikes: _Judged | None, compared: Comparison | None) -> str:
    if lfp is None or spikes is None or compared is None:
        missing = " and ".join(name for name, one in (("LFP", lfp), ("spikes", spikes)) if one is None)
        return f"LFP against spikes: no scenario of {missing} fits, keeps the budget and has a decoder."
    ours, theirs = (f'{_mw(one.power_uw or 0.0)} ("{one.priced.candidate.title}", R2 {one.r2:.2f})' for one in (lfp, spikes))
    return f"LFP needs {ours} at its least, spikes {theirs}: LFP less in {format_share(compared.probability)} of the draws."


def cell(table: Table) -> Cell:
    """The table's place on the map."""
    won = next((row for row in table.rows if row.scenario == table.winner), None)
    return Cell(
        channels=table.channels,
        target=table.target,
        link=table.link,
        winner=table.winner,
        signal=won.signal if won else None,
        power_uw=won.power_uw if won else None,
        probability=table.probability,
        text=table.sentence if won else _reasons(table.rows),
    )


def _judged(priced: Priced, r2: float | None, components: Components) -> _Judged:
    if priced.case is None:
        return _Judged(priced, None, None, priced.payload_bps, Range((None, None), (None, None)), r2, ())
    own, nominal = components.moved({}), priced.case.nominal
    timeline = run_timeline(nominal, own)
    return _Judged(
        priced=priced,
        timeline=timeline,
        link_share=float(play(nominal, own).event.share),
        payload_bps=float(sent_bits(nominal.workload, own)) / nominal.workload.bin_s,
        range=range_of(priced.case, components),
        r2=r2,
        unverified=tuple(own.unverified()),
    )


def _why_not(one: _Judged, best: float | None, budget: Budget, tolerance: float) -> str:
    """Why a scenario is not eligible; empty: it is."""
    if not one.fits:
        return one.fit_text
    if one.power_uw is None:
        return "no energy figure with a source: the link has none" if not one.priced.link.priced else "no power figure for the part"
    if one.power_uw > budget.limit:
        return f"breaks the power budget: {_mw(one.power_uw)} of {_mw(budget.limit)}"
    if one.r2 is None or best is None:
        return "no decoder of its signal was trained"
    if one.r2 < best - tolerance:
        return f"R2 of {one.r2:.2f}, more than {tolerance:g} below the best, {best:.2f}"
    return ""


def _state(one: _Judged, budget: Budget) -> State | None:
    if one.power_uw is None:
        return None
    if one.power_uw > budget.limit:
        return "broken"
    worst = one.range.power_uw[1]
    return "holds" if worst is not None and worst <= budget.limit else "holds only nominally"


def _row(one: _Judged, budget: Budget, why_not: str) -> Row:
    candidate, timeline = one.priced.candidate, one.timeline
    return Row(
        scenario=candidate.name,
        title=candidate.title,
        signal=candidate.signal,
        frontend=candidate.frontend,
        sends=candidate.sends,
        fits=one.fits,
        fit_text=one.fit_text,
        power_uw=one.power_uw,
        power_uw_range=one.range.power_uw,
        parts_uw={part: timeline.power_uw[part] if timeline else None for part in PARTS},
        payload_bps=one.payload_bps,
        link_share=one.link_share,
        latency_ms=timeline.latency_ms["total"] if timeline else None,
        latency_ms_range=one.range.latency_ms,
        state=_state(one, budget),
        r2=one.r2,
        eligible=not why_not,
        why_not=why_not,
        firmware=one.priced.firmware,
    )


def _case(one: _Judged) -> RangedCase:
    assert one.priced.case is not None  # what is eligible fits
    return one.priced.case


def _draws(cases: Sequence[RangedCase], components: Components, draws: int, seed: int, with_turns: bool) -> tuple[float, tuple[Turn, ...]]:
    """In what share of the draws the first case needs less than each other one, and the two figures that turn that most often.

    A figure turns a draw where this figure alone, moved to one of its ends, changes whether the first needs least.
    """
    used = [axes(case, components) for case in cases]
    names = tuple(dict.fromkeys(name for each in used for name in each))
    positions = draw(names, draws, seed)
    moved = figures_at(components, positions)
    cycles = positions.get(CYCLES, np.zeros(draws))
    powers = np.array([_power(case, components, moved, cycles, draws) for case in cases])  # (cases, draws)
    first = _least(powers)
    if not with_turns:
        return float(first.mean()), ()
    turns = []
    for name in names:
        turned = np.zeros(draws, dtype=bool)
        for end in (-1.0, 1.0):
            at = moved | figures_at(components, {name: end})
            at_cycles: Quantity = end if name == CYCLES else cycles
            again = powers.copy()
            for k, case in enumerate(cases):
                if name in used[k]:
                    again[k] = _power(case, components, at, at_cycles, draws)
            turned |= _least(again) != first
        turns.append(Turn(figure=name, share=float(turned.mean())))
    turns.sort(key=lambda turn: (-turn.share, turn.figure))
    return float(first.mean()), tuple(turn for turn in turns[:2] if turn.share >= LEAST_SHARE)


def _least(powers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(cases, draws): whether the first is below all others."""
    return powers[0] < powers[1:].min(axis=0, initial=np.inf)


def _power(case: RangedCase, components: Components, moved: Mapping[str, Quantity], cycles: Quantity, draws: int) -> NDArray[np.float64]:
    """Total by draw, microwatts; infinite where the case does not fit."""
    second = played_with(case, components, moved, cycles)
    total = second.power_uw["total"]
    assert total is not None  # what is eligible has a figure
    return np.where(np.broadcast_to(second.fits, draws) > 0, np.broadcast_to(total, draws), np.inf)


def _mw(microwatts: float) -> str:
    return f"{microwatts / 1e3:.3g} mW"


def _with_range(row: Row) -> str:
    low, high = (None if end is None else _mw(end) for end in row.power_uw_range)
    assert row.power_uw is not None  # an eligible row has a figure
    if low is not None and low == high:
        return f"{low}, R2 {row.r2:.2f}"
    return f"{_mw(row.power_uw)} ({low or 'does not fit'} to {high or 'more than fits'}), R2 {row.r2:.2f}"


def _sentence(first: Priced, rows: Sequence[Row], eligible: Sequence[Row], probability: float | None, draws: int) -> str:
    where = f"{channels_text(first.channels)} on {first.target.part} over {first.link.title}"
    if not eligible or probability is None:
        return f"{where}: no scenario is eligible. {_reasons(rows)}"
    winner = eligible[0]
    if len(eligible) == 1:
        return f'{where}: "{winner.title}" needs {_with_range(winner)}. It is the only scenario that is eligible.'
    others = "the other that is eligible" if len(eligible) == 2 else f"each of {len(eligible) - 1} others"
    less = f"less than {others} in {format_share(probability)} of {draws:,} draws"
    if probability < SURE:
        rival = eligible[1]
        tied = f'"{winner.title}" needs {_with_range(winner)}, "{rival.title}" {_with_range(rival)}'
        return f"{where}: a tie. {tied}; the first {less} only."
    return f'{where}: "{winner.title}" needs least, {_with_range(winner)}, and {less}.'


def _late(rows: Sequence[Row], limit: float | None) -> str:
    winner = next((row for row in rows if row.eligible), None)
    if winner is None or winner.latency_ms is None or limit is None or winner.latency_ms <= limit:
        return ""
    return f" Its latency, {winner.latency_ms:.0f} ms, breaks the budget of {limit:g} ms."


def _reasons(rows: Sequence[Row]) -> str:
    kinds = {
        "does not fit": [row for row in rows if not row.fits],
        "without a power figure": [row for row in rows if row.fits and row.power_uw is None],
        "over the power budget": [row for row in rows if row.state == "broken"],
        "without a decoder": [row for row in rows if row.fits and row.state in ("holds", "holds only nominally") and row.r2 is None],
    }
    kinds["worse than the best that fits"] = [row for row in rows if not any(row in found for found in kinds.values())]
    counted = [f"{kind} {len(found)}" for kind, found in kinds.items() if found]
    return f"Of {len(rows)}: {', '.join(counted)}."
