"""How long two decoders train until each is as good as the other at its best, on the validation part."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from realm_edge.evaluation.cells import Result


def reached_after(result: Result, loss: float) -> int | None:
    """Optimiser steps up to the end of the first epoch that validates at ``loss`` or less; None: there is no such epoch."""
    for epoch, value in enumerate(result["validation_loss"]):
        if value <= loss:
            return sum(result["steps_by_epoch"][: epoch + 1])
    return None


def seconds_after(result: Result, steps: int) -> float:
    """Seconds of training that ``steps`` took, as their share of all steps."""
    return float(result["training_seconds"] * steps / sum(result["steps_by_epoch"]))


def race(pairs: Sequence[tuple[Result, Result]]) -> dict[str, Any]:
    """Compare the training of a first and a second decoder, which see the same labels, on the decoded session.

    Args:
        pairs: results of both for the same session and seed.

    Returns:
        JSON-able. "best": the second's least validation loss, and the steps and seconds to it; "first": steps and seconds that the first
        needs to be as good, and in how many of "cells" it ever is; "second": the same of the second, to the first's best. Means over the
        cells in "reached"; None where there are none. "ratio": geometric mean of
        the first's steps over the second's own to that loss, over the same cells as "first".
    """
    there = [(first, reached_after(first, min(second["validation_loss"]))) for first, second in pairs]
    back = [(second, reached_after(second, min(first["validation_loss"]))) for first, second in pairs]
    ratios = [steps / second["steps_to_best"] for (_, steps), (second, _) in zip(there, back, strict=True) if steps is not None]
    return {
        "cells": len(pairs),
        "best": {
            "validation_loss": float(np.mean([min(second["validation_loss"]) for _, second in pairs])),
            "steps": float(np.mean([second["steps_to_best"] for _, second in pairs])),
            "seconds": float(np.mean([seconds_after(second, second["steps_to_best"]) for _, second in pairs])),
        },
        "first": _means(there),
        "second": _means(back),
        "ratio": float(np.exp(np.mean(np.log(ratios)))) if ratios else None,
    }


def _means(reached: Sequence[tuple[Result, int | None]]) -> dict[str, Any]:
    known = [(result, steps) for result, steps in reached if steps is not None]
    if not known:
        return {"reached": 0, "steps": None, "seconds": None}
    return {
        "reached": len(known),
        "steps": float(np.mean([steps for _, steps in known])),
        "seconds": float(np.mean([seconds_after(result, steps) for result, steps in known])),
    }
