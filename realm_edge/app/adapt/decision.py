"""Whether a new student replaces the old one: the old one is kept unless the new one is better on what can be checked."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm_edge.app.adapt.form import Check
from realm_edge.evaluation.blocks import block_sums, difference_interval
from realm_edge.segments import Starts
from realm_edge.training.adapt import Adapted, Arm

FORGETS = 0.05  # of the behaviour's variance, by which the new student may decode the run's labelled session worse
_TO_BEAT: tuple[Arm, ...] = ("statistics", "own")  # in nearness to the teacher
BY_BEHAVIOUR = "the day's behaviour, which nothing was trained on"
BY_TEACHER = (
    "the teacher, and labels of other days: no behaviour of the day was seen. The new student follows the teacher; whether the teacher is "
    "right about this day nobody has checked"
)
NAMES: Mapping[Arm, str] = {
    "old": "the old student",
    "statistics": "the old student with the day's statistics",
    "hindsight": "the new student",
    "own": "the student that learnt from labels of its own",
    "no_teacher": "the student that was trained as long without a teacher",
}


@dataclass(frozen=True)
class LastPart:
    """The last part of a day, as every arm decodes it, and as the teacher does."""

    decoded: Mapping[Arm, NDArray[np.float32]]  # (bins, dims), target units
    hindsight: NDArray[np.float32]  # (bins, dims), NaN in invalid times
    bin_s: float
    starts: Starts

    def better(self, arm: Arm, other: Arm, true: NDArray[np.float32]) -> tuple[float, tuple[float, float] | None]:
        """R2 of one less that of the other, and its interval over blocks."""
        sums = [np.array(block_sums(true, self.decoded[each], self.bin_s, self.starts))[None] for each in (arm, other)]
        n, y, square, _ = np.moveaxis(sums[0].sum(axis=(0, 1)), -1, 0)
        apart = (sums[1] - sums[0])[..., 3].sum(axis=(0, 1)) / (square - y**2 / n)
        return float(apart.mean()), difference_interval([(sums[0], sums[1])])


def blocks(bins: int, bin_s: float, starts: Starts) -> int:
    """How many blocks a part of so many bins has."""
    none = np.zeros((bins, 1), np.float32)
    return len(block_sums(none, none, bin_s, starts))


def by_behaviour(tested: LastPart, behaviour: NDArray[np.float32]) -> tuple[Check, ...]:
    """The new student against the old one, which decides, and against the others, which says what it owes to the teacher.

    Args:
        behaviour: of the day's last part, (bins, dims), NaN where unknown.
    """
    others: tuple[Arm, ...] = ("old", "statistics", "own", "no_teacher")
    return tuple(_nearer(tested, other, behaviour, "the day's behaviour") for other in others)


def by_teacher(adapted: Adapted, tested: LastPart, session: str) -> tuple[Check, ...]:
    """All have to hold where no behaviour is known: the teacher is best on old labels, the new student nearer to it, and forgets little.

    Args:
        session: the run's labelled session.
    """
    before, after, part = adapted.errors["old"], adapted.errors["hindsight"], f"on the labelled validation part of {session}"
    alone = adapted.errors["no_teacher"]  # a teacher that is no better only buys steps
    better, keeps = adapted.teacher_error < min(before, alone), after <= before + FORGETS
    teacher = (
        f"{part} the teacher errs {adapted.teacher_error:.3f} of the behaviour's variance, the old student {before:.3f} and "
        f"{NAMES['no_teacher']} {alone:.3f}: {'less than both' if better else 'not less than both'}"
    )
    forgotten = (
        f"{part} the new student errs {after:.3f} of the behaviour's variance and the old one {before:.3f}: "
        f"{'not ' if keeps else ''}more than {FORGETS:g} worse"
    )
    nearer = [_nearer(tested, other, tested.hindsight, "the teacher's hindsight") for other in _TO_BEAT]
    return _compared(better, teacher), *nearer, _compared(keeps, forgotten)


def _compared(holds: bool, text: str) -> Check:
    return Check(holds=holds, text=text, difference=None, interval=None)


def _nearer(tested: LastPart, other: Arm, true: NDArray[np.float32], what: str) -> Check:
    """Whether the new student has a higher R2 than another, beyond what blocks of the day's last part leave open."""
    difference, interval = tested.better("hindsight", other, true)
    side = "higher" if difference > 0 else "lower"
    here, there = NAMES["hindsight"], NAMES[other]
    said = f"R2 of {what} in the last part of the day is {abs(difference):.3f} {side} with {here} than with {there}"
    if interval is None:
        return Check(holds=False, text=f"{said}, in too few blocks to say more", difference=difference, interval=None)
    low, high = interval
    lies = "above 0" if low > 0 else "below 0" if high < 0 else "on both sides of 0"
    text = f"{said}; the interval over blocks, {low:+.3f} to {high:+.3f}, lies {lies}"
    return Check(holds=low > 0, text=text, difference=difference, interval=interval)
