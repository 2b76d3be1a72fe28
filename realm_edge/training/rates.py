"""A learning rate of each fit's own: a range test on one batch, before the first step.

A rate that suits one decoder leaves another unfinished at the end of its epochs, or fits it to noise before the first validation. Smith's
range test (arXiv 1506.01186) finds how large a rate a decoder on a recording takes: a copy of it is trained on one batch with a rate that
grows with every step, and is thrown away.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor, nn

from realm_edge.settings import FitSettings
from realm_edge.training.machine import share
from realm_edge.training.step import new_state, stepper

STEPS = 30
TRIED = (1e-4, 1e-1)  # the first and the last rate, growing by the same factor at each step
ALLOWED = (1e-3, 2e-2)  # what the test may say: outside, noise has spoken
FALL = 0.8  # of the whole fall of the loss, at the rate that is fast
TAKEN = 0.5  # of that rate: what is fast in a test of seconds fits a recording of minutes to its noise within a few epochs
SMOOTHED = 3  # steps, for dropout's noise

Module = TypeVar("Module", bound=nn.Module)


def found(
    module: Module,
    settings: FitSettings,
    fabric: Fabric,
    batch: Any,
    loss: Callable[[Module, Any], Tensor],
    agreed: Callable[[Tensor], Tensor],
) -> float:
    """The rate for ``module``, which is left as it was; draws dropout from torch's generator.

    Args:
        batch, loss: as :func:`realm_edge.training.loop.fit` has them.
        agreed: what all processes make of the loss of their share of the batch; called after every step, it may raise.
    """
    scaler = fabric.strategy.precision.state_dict()
    trial = copy.deepcopy(module).train()
    state = new_state(trial, settings.model_copy(update={"lr": TRIED[0]}), fabric)
    step, own = stepper(state, fabric), share(batch, fabric)
    losses: list[float] = []
    for rate in rates():
        value, _ = step(rate, lambda: loss(trial, own))
        losses.append(float(agreed(value)))
        if not math.isfinite(losses[-1]):
            break
    fabric.strategy.precision.load_state_dict(scaler)
    return chosen(losses)


def rates() -> list[float]:
    """Those that are tried, in order."""
    first, last = TRIED
    return [first * (last / first) ** (step / (STEPS - 1)) for step in range(STEPS)]


def chosen(losses: list[float]) -> float:
    """Half the first rate at which the loss has fallen by :data:`FALL` of what it falls at most, within :data:`ALLOWED`.

    The place of the least loss would be a matter of chance: it is flat around it. Rounded to two digits.

    Args:
        losses: before the step with each of :func:`rates`; the last may not be finite, and ends the test.
    """
    finite = np.array([value for value in losses if math.isfinite(value)] or [0.0])
    edges = np.concatenate(([finite[0]] * (SMOOTHED // 2), finite, [finite[-1]] * (SMOOTHED // 2)))
    smooth = np.convolve(edges, np.full(SMOOTHED, 1 / SMOOTHED), "valid")
    goal = smooth[0] - FALL * (smooth[0] - smooth.min())
    rate = TAKEN * rates()[int(np.flatnonzero(smooth <= goal)[0])]
    return float(f"{min(max(rate, ALLOWED[0]), ALLOWED[1]):.2g}")
