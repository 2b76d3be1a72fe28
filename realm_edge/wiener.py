"""The floor under every decoder: ridge regression on the last few bins (a Wiener filter)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from realm_edge.errors import UserError

ALPHAS = (1.0, 10.0, 100.0, 1000.0, 10000.0)  # ridge penalties tried, for inputs with unit variance


@dataclass(frozen=True)
class Wiener:
    """A fitted filter."""

    lags: int
    alpha: float
    validation_loss: float  # mean squared error on the validation part
    weights: NDArray[np.float32]  # (lags * n_inputs, dims), newest bin first
    intercept: NDArray[np.float32]  # (dims,)

    @property
    def parameters(self) -> int:
        return self.weights.size + self.intercept.size


def lagged(inputs: NDArray[np.float32], lags: int) -> NDArray[np.float32]:
    """Inputs of each bin and of the ``lags - 1`` bins before it; zeros (the mean) before the first bin.

    Args:
        inputs: (bins, n_inputs).

    Returns:
        (bins, lags * n_inputs), newest bin first.
    """
    padded = np.concatenate((np.zeros((lags - 1, inputs.shape[1]), inputs.dtype), inputs))
    return np.concatenate([padded[lags - 1 - lag : len(padded) - lag] for lag in range(lags)], axis=1)


def fit(
    inputs: NDArray[np.float32], targets: NDArray[np.float32], train_end: int, validation_end: int, lag_choices: Sequence[int]
) -> Wiener:
    """Fit on the training part; the number of lags and the penalty are those with the least error on the validation part.

    A number of lags that gives more inputs than half the training bins is not tried, but for the smallest.

    Args:
        inputs: (bins, n_inputs), standardised.
        targets: (bins, dims), standardised, NaN where unknown. Bins from ``validation_end`` on are not read.

    Raises:
        UserError: no bin with known behaviour in the training or the validation part.
    """
    inputs, targets = inputs[:validation_end], targets[:validation_end]
    known = np.asarray(np.isfinite(targets).all(axis=1))
    train, validation = np.flatnonzero(known[:train_end]), train_end + np.flatnonzero(known[train_end:])
    if not len(train) or not len(validation):
        raise UserError("no bin with known behaviour in the training or the validation part: use a longer recording or another split")
    smallest = min(lag_choices)
    allowed = [lags for lags in lag_choices if lags == smallest or lags * inputs.shape[1] <= len(train) / 2]
    fitted = []
    for lags in allowed:
        columns = lagged(inputs, lags)
        for alpha in ALPHAS:
            ridge = Ridge(alpha=alpha, solver="cholesky").fit(columns[train], targets[train])
            weights = ridge.coef_.reshape(targets.shape[1], -1).T.astype(np.float32)
            candidate = Wiener(lags, alpha, np.inf, weights, np.atleast_1d(ridge.intercept_).astype(np.float32))
            error = columns[validation] @ candidate.weights + candidate.intercept - targets[validation]
            fitted.append(replace(candidate, validation_loss=float(np.mean(error**2))))
    return min(fitted, key=lambda wiener: wiener.validation_loss)


def predict(wiener: Wiener, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Decode a session: (bins, n_inputs) -> (bins, dims), both standardised."""
    return lagged(inputs, wiener.lags) @ wiener.weights + wiener.intercept
