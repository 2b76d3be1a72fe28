"""From ranges of figures and cycles to ranges of power and latency, and to how often one case needs less power than another.

Each figure with a range, and the cycles as a whole, is an axis with a position: low at -1, nominal at 0, high at 1. Between them a figure
moves by equal factors for equal steps. All cases of a comparison stand at the same positions, so that what they share cancels.

A range is that of the model with every axis at its worse end. A draw takes each position from the symmetric triangular distribution on
[-1, 1]: the nominal figure is the median and the most likely one, and nothing lies beyond the ends. By factors, because "half" and "twice"
are equally far from a figure of which little more is known than its order.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray

from firmware_sim.components import Components, Quantity
from firmware_sim.implant import Case, Second, play
from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.targets import Target
from firmware_sim.workload import WorkloadRange
from realm_edge.documents import Form, Number

CYCLES = "cycles"  # the axis of a core's table and of its memories' model
DRAWS = 10_000
SEED = 0
LEAST_SHARE = 0.01  # of the draws, that a figure turns which is worth naming
QUANTILES = (0.05, 0.5, 0.95)
Positions = Mapping[str, Quantity]  # by axis; what is left out stands at its nominal figure


@dataclass(frozen=True)
class RangedCase:
    """A :class:`firmware_sim.implant.Case` whose cycles have a range."""

    workload: WorkloadRange
    target: Target
    ram_bytes: int
    scenario: Scenario = DEFAULT

    @property
    def nominal(self) -> Case:
        return Case(self.workload.nominal, self.target, self.ram_bytes, self.scenario)


class Turn(Form):
    """A figure, and in what share of the draws the answer turns when this figure alone goes to one of its ends."""

    figure: str
    share: Number


class Comparison(Form):
    """LFP against another case. A draw in which a case does not fit counts as one in which it needs more than any power."""

    against: str
    draws: int
    seed: int
    probability: Number  # share of the draws in which LFP needs less
    ratio: tuple[Number | None, Number | None, Number | None]  # other over LFP: 5th percentile, median, 95th; None: it does not fit
    turns: tuple[Turn, ...]  # the two that turn it most often; fewer where fewer do in LEAST_SHARE of the draws


@dataclass(frozen=True)
class Range:
    """Of a case; None where it does not fit at that end, of power also where the part has no figure."""

    power_uw: tuple[float | None, float | None]
    latency_ms: tuple[float | None, float | None]


def played(case: RangedCase, components: Components, positions: Positions) -> Second:
    """The model with every axis at its position."""
    return played_with(case, components, figures_at(components, positions), positions.get(CYCLES, 0.0))


def played_with(case: RangedCase, components: Components, moved: Positions, cycles: Quantity) -> Second:
    """As :func:`played`, where several cases share figures that :func:`figures_at` has moved; ``cycles`` is the position of theirs."""
    return play(replace(case.nominal, workload=case.workload.at(cycles)), components.moved(moved))


def figures_at(components: Components, positions: Positions) -> dict[str, Quantity]:
    """Values, in their own units, of the figures that have a position."""
    return {
        figure.name: figure.value * _factor(figure.low / figure.value, figure.high / figure.value, positions[figure.name])
        for figure in components.all()
        if figure.name in positions
    }


def _factor(low: float, high: float, position: Quantity) -> Quantity:
    """low at -1, exactly 1 at 0, high at 1."""
    return np.where(np.asarray(position) < 0, low ** np.abs(position), high ** np.abs(position))


def axes(case: RangedCase, components: Components) -> tuple[str, ...]:
    """The figures with a range that the case uses, and the cycles where they have one."""
    own = components.moved({})
    play(case.nominal, own)
    cycles = () if case.workload.low == case.workload.high else (CYCLES,)
    return (*(figure.name for figure in own.used() if figure.low < figure.high), *cycles)


def range_of(case: RangedCase, components: Components) -> Range:
    """Power and latency with every axis at its better end, and at its worse one.

    Which end is worse for an axis is tried with all others at their nominal figures: every term of the model rises with a figure, or falls
    with it, whatever the others are.
    """
    power = _ends(case, components, lambda second: second.power_uw["total"])
    low, high = _ends(case, components, lambda second: 1e3 * second.latency_s["total"])
    return Range(power, (low, high))


def _ends(case: RangedCase, components: Components, quantity: Callable[[Second], Quantity | None]) -> tuple[float | None, float | None]:
    names = axes(case, components)
    if quantity(play(case.nominal, components.moved({}))) is None:
        return None, None
    alone = np.zeros((2, len(names), len(names)))  # by end, axis that stands there, axis
    alone[0][np.diag_indices(len(names))], alone[1][np.diag_indices(len(names))] = -1.0, 1.0
    at_low, at_high = (_values(quantity(played(case, components, dict(zip(names, one.T, strict=True)))), len(names)) for one in alone)
    worse = np.where(at_high >= at_low, 1.0, -1.0)
    second = played(case, components, dict(zip(names, np.outer(worse, [-1.0, 1.0]), strict=True)))
    values, fits = _values(quantity(second), 2), _values(second.fits, 2)
    low, high = (float(value) if fit else None for value, fit in zip(values, fits, strict=True))
    return low, high


def _values(quantity: Quantity | None, count: int) -> NDArray[np.float64]:
    assert quantity is not None  # what has a figure keeps it
    return np.broadcast_to(quantity, count)


def draw(names: tuple[str, ...], draws: int = DRAWS, seed: int = SEED) -> dict[str, NDArray[np.float64]]:
    """Positions by axis, (draws,). An axis has draws of its own, which do not depend on what other axes there are."""
    return {name: np.random.default_rng([seed, zlib.crc32(name.encode())]).triangular(-1.0, 0.0, 1.0, draws) for name in names}


def compare(
    lfp: RangedCase,
    other: RangedCase,
    against: str,
    components: Components,
    draws: int = DRAWS,
    seed: int = SEED,
    with_turns: bool = True,
) -> Comparison | None:
    """How often LFP needs less power than ``other``, over common draws of all that either uses; None where one has no power figure."""
    if any(play(case.nominal, components.moved({})).power_uw["total"] is None for case in (lfp, other)):
        return None
    names = tuple(dict.fromkeys((*axes(lfp, components), *axes(other, components))))
    positions = draw(names, draws, seed)

    def powers(at: Positions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ours, theirs = (_power(case, components, at, draws) for case in (lfp, other))
        return ours, theirs

    ours, theirs = powers(positions)
    less = ours < theirs
    turned = []
    for name in names if with_turns else ():
        ends = (powers({**positions, name: np.full(draws, end)}) for end in (-1.0, 1.0))
        turns = reduce(or_, ((a < b) != less for a, b in ends))
        turned.append(Turn(figure=name, share=float(turns.mean())))
    turned.sort(key=lambda turn: (-turn.share, turn.figure))
    with np.errstate(invalid="ignore"):
        ratio = np.where(np.isfinite(ours), theirs / ours, 0.0)
    low, median, high = (float(value) if np.isfinite(value) else None for value in np.quantile(ratio, QUANTILES, method="inverted_cdf"))
    return Comparison(
        against=against,
        draws=draws,
        seed=seed,
        probability=float(less.mean()),
        ratio=(low, median, high),
        turns=tuple(turn for turn in turned[:2] if turn.share >= LEAST_SHARE),
    )


def _power(case: RangedCase, components: Components, positions: Positions, draws: int) -> NDArray[np.float64]:
    """Total by draw, microwatts; infinite where the case does not fit."""
    second = played(case, components, positions)
    return np.where(_values(second.fits, draws) > 0, _values(second.power_uw["total"], draws), np.inf)
