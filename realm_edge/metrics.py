"""Decoding accuracy on bins where the behaviour is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr
from sklearn.metrics import r2_score

from realm_edge.behavior import angle_error_deg, angles_of
from realm_edge.errors import UserError
from realm_edge.segments import with_history
from realm_edge.session import Session
from realm_edge.summaries import HeldOutScores, Scores


@dataclass(frozen=True)
class Accuracy:
    """One value per axis; ``bins`` of them were scored."""

    r2: tuple[float, ...]  # coefficient of determination against the scored bins' own mean
    r: tuple[float, ...]  # Pearson's correlation; 0 for a constant prediction
    bins: int

    def scores(self, names: Sequence[str]) -> Scores:
        """With their means, and the names of the axes."""
        return Scores(
            r2=float(np.mean(self.r2)),
            r=float(np.mean(self.r)),
            r2_by_axis=dict(zip(names, self.r2, strict=True)),
            r_by_axis=dict(zip(names, self.r, strict=True)),
            bins=self.bins,
        )


def accuracy(true: NDArray[np.floating], predicted: NDArray[np.floating]) -> Accuracy:
    """Score a prediction; bins with NaN in the true behaviour are left out.

    Args:
        true: (bins, dims), NaN where the behaviour is unknown.
        predicted: (bins, dims), finite.

    Raises:
        UserError: fewer than two bins to score, or an axis whose true behaviour is constant (R2 is undefined).
    """
    known = np.isfinite(true).all(axis=1)
    if known.sum() < 2:
        raise UserError(f"only {int(known.sum())} bins with known behaviour to score: use a longer recording or a larger test part")
    true, predicted = true[known].astype(np.float64), predicted[known].astype(np.float64)
    constant = np.ptp(true, axis=0) == 0
    if constant.any():
        raise UserError(f"behaviour axis {int(np.argmax(constant))} is constant over the scored bins: choose another series")
    r2 = r2_score(true, predicted, multioutput="raw_values")
    r = [pearsonr(t, p).statistic if np.ptp(p) > 0 else 0.0 for t, p in zip(true.T, predicted.T, strict=True)]
    return Accuracy(tuple(float(v) for v in r2), tuple(float(v) for v in r), len(true))


def score_test_part(session: Session, predicted: NDArray[np.floating], bin_s: float) -> HeldOutScores:
    """How well a session's test part is decoded, over all its bins and over those with a second of history.

    Args:
        predicted: (bins, dims), the whole session, target units.
        bin_s: seconds per bin.

    Raises:
        UserError: as :func:`accuracy`, over all bins.
    """
    true, answers = session.targets[session.validation_end :], predicted[session.validation_end :]
    late = with_history(session.starts, session.bins, bin_s)[session.validation_end :] & np.isfinite(true).all(axis=1)
    try:
        settled = float(np.mean(accuracy(true[late], answers[late]).r2))
    except UserError:  # hardly any such bin, or the same behaviour in all
        settled = None
    whole = accuracy(true, answers).scores(session.target_names)
    angles = angles_of(session.target_names)
    found = whole.given() | {"r2_with_history": settled, "bins_with_history": int(late.sum())}
    if angles:
        found["angle_error_deg"] = dict(zip(angles, angle_error_deg(true, answers).tolist(), strict=True))
    return HeldOutScores(**found)


def nrmse(values: NDArray, exact: NDArray) -> float:
    """How far ``values`` are from ``exact``, (bins, dims) both: each axis' error over its own standard deviation, root mean square of them.

    Axes differ in mean and size: over what all of them spread together, the same errors would look smaller.

    Raises:
        UserError: an axis of ``exact`` never changes.
    """
    return float(np.sqrt(np.mean(squared_errors(values, exact, exact))))


def squared_errors(values: NDArray, exact: NDArray, spread: NDArray) -> NDArray[np.float64]:
    """(bins, dims): squares of ``values - exact`` over the variance of each axis of ``spread``.

    Raises:
        UserError: an axis of ``spread`` never changes.
    """
    variance = np.var(spread.astype(np.float64), axis=0)
    if not np.all(variance > 0):
        raise UserError(f"axis {int(np.argmin(variance))} of the decoder's output never changes: there is no error in units of its spread")
    errors: NDArray[np.float64] = (values.astype(np.float64) - exact) ** 2 / variance
    return errors
