"""How long two decoders train until each is as good as the other at its best, on the validation part."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from realm_edge.evaluation.cells import Result

Cost = tuple[int, float]  # optimiser steps and seconds


def cost_to_reach(result: Result, loss: float) -> Cost | None:
    """Steps and seconds up to the end of the first epoch that validates at ``loss`` or less; None: there is no such epoch."""
    for epoch, value in enumerate(result["validation_loss"], 1):
        if value <= loss:
            return sum(result["steps_by_epoch"][:epoch]), sum(result["seconds_by_epoch"][:epoch])
    return None


def race(pairs: Sequence[tuple[Result, Result]]) -> dict[str, Any]:
    """Compare the training of a first and a second decoder, which see the same labels, on the decoded session.

    Args:
        pairs: results of both for the same session and seed.

    Returns:
        JSON-able. "best": the second's least validation loss, and the steps and seconds to it; "first": steps and seconds that the first
        needs to be as good, and in how many of "cells" it ever is; "second": the same of the second, to the first's best. Means over the
        cells in "reached"; None where there are none. "ratio": geometric mean of the first's steps over the second's own to that loss,
        over the same cells as "first".
    """
    goals = [min(second["validation_loss"]) for _, second in pairs]
    own = [cost_to_reach(second, goal) for (_, second), goal in zip(pairs, goals, strict=True)]
    there = [cost_to_reach(first, goal) for (first, _), goal in zip(pairs, goals, strict=True)]
    back = [cost_to_reach(second, min(first["validation_loss"])) for first, second in pairs]
    ratios = [needed[0] / full[0] for needed, full in zip(there, own, strict=True) if needed and full]
    return {
        "cells": len(pairs),
        "best": {"validation_loss": float(np.mean(goals)), **_means(own)},
        "first": _means(there),
        "second": _means(back),
        "ratio": float(np.exp(np.mean(np.log(ratios)))) if ratios else None,
    }


def _means(costs: Sequence[Cost | None]) -> dict[str, Any]:
    known = [cost for cost in costs if cost is not None]
    steps, seconds = np.mean(known, axis=0).tolist() if known else (None, None)
    return {"reached": len(known), "steps": steps, "seconds": seconds}
