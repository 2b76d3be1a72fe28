"""How long two decoders train until each is as good as the other at its best, on the validation part."""

from collections.abc import Sequence

import numpy as np

from realm_edge.evaluation.forms import CellResult, OwnBest, Race, Reached

Cost = tuple[int, float]  # optimiser steps and seconds


def cost_to_reach(result: CellResult, loss: float) -> Cost | None:
    """Steps and seconds up to the end of the first epoch that validates at ``loss`` or less; None: there is no such epoch."""
    losses, steps, seconds = result.validation_loss, result.steps_by_epoch, result.seconds_by_epoch
    assert losses and steps and seconds
    for epoch, value in enumerate(losses, 1):
        if value <= loss:
            return sum(steps[:epoch]), sum(seconds[:epoch])
    return None


def race(pairs: Sequence[tuple[CellResult, CellResult]]) -> Race:
    """Compare the training of a first and a second decoder, which see the same labels, on the decoded session.

    Args:
        pairs: results of both for the same session and seed, both trained step by step.
    """
    goals = [second.least_loss for _, second in pairs]
    own = [cost_to_reach(second, goal) for (_, second), goal in zip(pairs, goals, strict=True)]
    there = [cost_to_reach(first, goal) for (first, _), goal in zip(pairs, goals, strict=True)]
    back = [cost_to_reach(second, first.least_loss) for first, second in pairs]
    ratios = [needed[0] / full[0] for needed, full in zip(there, own, strict=True) if needed and full]
    saved = [full[1] - needed[1] for needed, full in zip(there, own, strict=True) if needed and full]
    before = float(np.mean([_pretraining_s(first) - _pretraining_s(second) for first, second in pairs]))
    return Race(
        cells=len(pairs),
        best=OwnBest(**_means(own).given(), validation_loss=float(np.mean(goals))),
        first=_means(there),
        second=_means(back),
        ratio=float(np.exp(np.mean(np.log(ratios)))) if ratios else None,
        repaid_after=max(0.0, before) / float(np.mean(saved)) if len(saved) == len(pairs) and np.mean(saved) > 0 else None,
    )


def _pretraining_s(result: CellResult) -> float:
    return sum(phase.seconds for phase in result.pretraining.values())


def _means(costs: Sequence[Cost | None]) -> Reached:
    known = [cost for cost in costs if cost is not None]
    steps, seconds = np.mean(known, axis=0).tolist() if known else (None, None)
    return Reached(reached=len(known), steps=steps, seconds=seconds)
