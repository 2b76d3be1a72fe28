"""Kalman filter: the behaviour is the state, the features are what is observed of it (Wu et al. 2006)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_are
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge

from realm_edge.errors import UserError
from realm_edge.segments import bounds, history
from realm_edge.training.segments import Series

_RIDGE = 1.0  # on standardised inputs; keeps the fit of few bins finite


@dataclass(frozen=True)
class Kalman:
    """x[t] = A x[t-1] + w,  z[t] = C x[t] + d + q: the filter at its steady state, which is what an implant would run.

    The steady gain K gives x[t] = (I - K C) A x[t-1] + K z[t] - K d.
    """

    transition: NDArray[np.float64]  # (dims, dims), (I - K C) A
    gain: NDArray[np.float64]  # (dims, n_inputs), K
    offset: NDArray[np.float64]  # (dims,), -K d

    @property
    def parameters(self) -> int:
        return self.transition.size + self.gain.size + self.offset.size

    def macs_per_step(self) -> int:
        """Multiply-accumulates per bin."""
        return self.transition.size + self.gain.size

    def predict(self, series: Series) -> NDArray[np.float32]:
        """Decode a whole session causally, each segment from the mean behaviour: (bins, dims) in target units."""
        driven = series.inputs.numpy() @ self.gain.T + self.offset  # (bins, dims)
        states = np.empty_like(driven)
        for first, stop in bounds(series.starts, len(driven)):
            state = np.zeros(driven.shape[1])
            for at in range(first, stop):
                state = self.transition @ state + driven[at]
                states[at] = state
        return series.statistics.in_units(states)


def fit(series: Series) -> Kalman:
    """Estimate A, C and both noise covariances by least squares on the training part; bins of unknown behaviour are left out.

    No transition leads from one segment to the next.

    Raises:
        UserError: too few neighbouring bins with known behaviour.
    """
    inputs = series.inputs[: series.train_end].double().numpy()
    x = series.targets[: series.train_end].double().numpy()
    known = np.asarray(np.isfinite(x).all(axis=1))
    follows = history(series.starts, len(series.inputs))[1 : series.train_end] > 0
    pairs = np.flatnonzero(known[1:] & known[:-1] & follows)
    dims = x.shape[1]
    if len(pairs) <= 2 * dims:
        raise UserError(f"{series.name}: only {len(pairs)} bins of known behaviour follow one another: too few for a Kalman filter")
    before, after = x[pairs], x[pairs + 1]
    a = Ridge(alpha=_RIDGE, fit_intercept=False).fit(before, after).coef_.reshape(dims, dims)
    w = np.cov(after - before @ a.T, rowvar=False).reshape(dims, dims)
    observed = Ridge(alpha=_RIDGE).fit(x[known], inputs[known])
    c = observed.coef_.reshape(-1, dims)
    # Features of neighbouring bands and channels are nearly collinear: their noise covariance needs shrinkage to be inverted.
    q = LedoitWolf(assume_centered=True).fit(inputs[known] - observed.predict(x[known])).covariance_
    gain = _steady_gain(a, c, w, q)
    return Kalman((np.eye(dims) - gain @ c) @ a, gain, -gain @ observed.intercept_)


def _steady_gain(a: NDArray[np.float64], c: NDArray[np.float64], w: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """K = P C' (C P C' + Q)^-1 with P, the covariance of the prediction, from the discrete algebraic Riccati equation."""
    p = solve_discrete_are(a.T, c.T, w, q)
    return np.linalg.solve(c @ p @ c.T + q, c @ p).T
