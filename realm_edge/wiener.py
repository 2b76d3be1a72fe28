"""The floor under every decoder: ridge regression on the inputs and their past (a Wiener filter).

The past is averaged over windows that double in length: the bin itself, the one before it, the two before those, the four before those.
Recent bins are told apart and old ones are not, so that a filter of seconds has few numbers to fit. What comes out is a plain filter: one
weight a lag, input and axis.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from realm_edge.errors import UserError
from realm_edge.segments import Starts, bounds, history

FOLDS = 5  # contiguous blocks of the training part, each held out once
FIRST_WINDOWS = 5  # tried at once, that is up to 16 lags; more as long as the longest filter is the best
MOST_COLUMNS = 4096  # fitted at once: their Gram matrix takes 0.1 GB per block
FIRST_PENALTIES = (1, 2, 3)  # powers of ten, for inputs with unit variance; more as long as the best is at an end
LEAST_PENALTY = -6  # power of ten: where inputs are copies of each other, rounding takes over below
GAIN = 1e-6  # of R2: less does not count as better
_CHUNK = 4096  # bins whose windows are in memory at once


@dataclass(frozen=True)
class Wiener:
    """A fitted filter."""

    lags: int
    alpha: float
    held_out_loss: float  # mean squared error over the blocks of the training part, each decoded by a fit to the others
    weights: NDArray[np.float32]  # (lags * n_inputs, dims), newest bin first
    intercept: NDArray[np.float32]  # (dims,)

    @property
    def parameters(self) -> int:
        return self.weights.size + self.intercept.size


def fit(inputs: NDArray[np.float32], targets: NDArray[np.float32], train_end: int, starts: Starts = (0,)) -> Wiener:
    """Choose lags and penalty over blocks of the training part, then fit on all of it.

    Lags double until the longest filter is not the best. Bounds: :data:`MOST_COLUMNS` and half the bins with known behaviour for what is
    fitted, but for a filter of one lag, and the length of a block for the lags. The validation part is left to those who stop early on it.

    Args:
        inputs: (bins, n_inputs), standardised.
        targets: (bins, dims), standardised, NaN where unknown. Bins from ``train_end`` on are not read.
        starts: bins at which the segments start; nothing is known of what was before them, and the inputs' mean takes its place.

    Raises:
        UserError: too few bins with known behaviour in the training part.
    """
    known = int(np.isfinite(targets[:train_end]).all(axis=1).sum())
    most = min(known // 2, MOST_COLUMNS) // inputs.shape[1]
    tried: list[Wiener] = []
    for windows in itertools.count(1):
        edges = (0, *(2**window for window in range(windows)))
        if tried and (windows > most or edges[-1] > known // FOLDS):
            break
        best = min(tried, key=lambda wiener: wiener.held_out_loss, default=None)
        if windows > FIRST_WINDOWS and best is not tried[-1]:
            break
        tried.append(fit_windows(inputs, targets, train_end, edges, starts))
    return min(tried, key=lambda wiener: wiener.held_out_loss)


@threadpool_limits.wrap(limits=1, user_api="blas")  # threads wait for each other on cores that are shared, and round differently
def fit_windows(
    inputs: NDArray[np.float32], targets: NDArray[np.float32], train_end: int, edges: Sequence[int], starts: Starts = (0,)
) -> Wiener:
    """Fit one filter; its penalty is chosen over blocks of the training part.

    Around a block as many bins as the filter has lags are left out of the fit that decodes it: no input counts on both sides. The penalty
    is a power of ten; ten times as much and a tenth were tried and are no better, unless it is as small as rounding allows.

    Args:
        inputs, targets, train_end, starts: as :func:`fit` takes them.
        edges: of the windows, from 0 on; window ``i`` holds the inputs ``edges[i]`` to ``edges[i + 1] - 1`` bins back, all with one weight.

    Raises:
        UserError: fewer bins with known behaviour than :data:`FOLDS` times the lags, or than two a block.
    """
    lags, dims = edges[-1], targets.shape[1]
    known = np.flatnonzero(np.isfinite(targets[:train_end]).all(axis=1))
    needed = FOLDS * max(lags, 2)
    if len(known) < needed:
        raise UserError(
            f"only {len(known)} bins of known behaviour in the training part, and ridge with {lags} lag(s) needs {needed}: "
            "use a longer recording, another split or more labels"
        )
    past = _Past(inputs[:train_end], edges, starts)
    blocks = np.array_split(known, FOLDS)
    held_out = [past.gram(block, targets) for block in blocks]
    total = np.sum(held_out, axis=0)
    around = held_out if lags == 1 else [past.gram(_around(known, block, lags - 1), targets) for block in blocks]
    fitted_on = [total - left_out for left_out in around]
    spread = total[-dims:, -dims:] - np.outer(total[-dims - 1, -dims:], total[-dims - 1, -dims:]) / len(known)

    def loss(power: int) -> float:
        residuals = (_residual(gram, dims, 10.0**power) for gram in fitted_on)
        errors = [np.einsum("pd,pq,qd->", fit, gram, fit, optimize=True) for fit, gram in zip(residuals, held_out, strict=True)]
        return float(np.sum(errors)) / (dims * len(known))

    power, least = _inner_minimum(loss, GAIN * float(np.trace(spread)) / (dims * len(known)))
    solution = -_residual(total, dims, 10.0**power)
    weights = past.filter(solution[: -dims - 1])
    return Wiener(lags, 10.0**power, least, weights, solution[-dims - 1].astype(np.float32))


def predict(wiener: Wiener, inputs: NDArray[np.float32], starts: Starts = (0,)) -> NDArray[np.float32]:
    """Decode a session: (bins, n_inputs) -> (bins, dims), both standardised; every segment starts after zeros, the inputs' mean."""
    decoded = np.tile(wiener.intercept, (len(inputs), 1))
    segments = list(bounds(starts, len(inputs)))
    for lag, weights in enumerate(np.split(wiener.weights, wiener.lags)):
        adds = inputs @ weights  # to the bins `lag` later
        for first, stop in segments:
            decoded[first + lag : stop] += adds[first : max(first, stop - lag)]
    return decoded


class _Past:
    """The inputs' means over windows of the past, made for the bins that are asked for."""

    def __init__(self, inputs: NDArray[np.float32], edges: Sequence[int], starts: Starts) -> None:
        self._total = np.concatenate((np.zeros((1, inputs.shape[1])), np.cumsum(inputs, axis=0, dtype=np.float64)))
        self._first = np.arange(len(inputs)) - history(starts, len(inputs))
        self._edges = edges
        self._widths = np.diff(edges)

    def columns(self, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """(len(at), windows * n_inputs), float64."""
        until = [self._total[np.maximum(at + 1 - edge, self._first[at])] for edge in self._edges]
        means = [(end - begin) / width for (end, begin), width in zip(itertools.pairwise(until), self._widths, strict=True)]
        return np.concatenate(means, axis=1)

    def gram(self, at: NDArray[np.int64], targets: NDArray[np.float32]) -> NDArray[np.float64]:
        """Z'Z of the rows Z = (columns, 1, targets) of these bins: all that least squares needs to know of them."""
        size = len(self._widths) * self._total.shape[1] + 1 + targets.shape[1]
        gram = np.zeros((size, size))
        for chunk in np.split(at, range(_CHUNK, len(at), _CHUNK)):
            rows = np.concatenate((self.columns(chunk), np.ones((len(chunk), 1)), targets[chunk]), axis=1)
            gram += np.matmul(rows.T, rows)
        return gram

    def filter(self, coefficients: NDArray[np.float64]) -> NDArray[np.float32]:
        """Weights of means to weights of lags: (windows * n_inputs, dims) -> (lags * n_inputs, dims)."""
        windows = coefficients.reshape(len(self._widths), -1) / self._widths[:, None]
        lags = np.repeat(windows, self._widths, axis=0)
        return lags.reshape(-1, coefficients.shape[1]).astype(np.float32)


def _around(known: NDArray[np.int64], block: NDArray[np.int64], margin: int) -> NDArray[np.int64]:
    """A block with the known bins at most ``margin`` bins away from it."""
    return known[(known >= block[0] - margin) & (known <= block[-1] + margin)]


def _residual(gram: NDArray[np.float64], dims: int, alpha: float) -> NDArray[np.float64]:
    """What turns (columns, 1, targets) into the targets minus what ridge says, (columns + 1 + dims, dims)."""
    p = len(gram) - dims - 1
    mean = gram[p] / gram[p, p]
    centred = gram - np.outer(gram[p], mean)
    centred[np.arange(p), np.arange(p)] += alpha
    weights = cho_solve(cho_factor(centred[:p, :p], overwrite_a=True, check_finite=False), centred[:p, p + 1 :])
    return np.concatenate((-weights, (mean[:p] @ weights - mean[p + 1 :])[None], np.eye(dims)))


def _inner_minimum(loss: Callable[[int], float], gain: float) -> tuple[int, float]:
    """The power with the least loss, and that loss; powers are added at an end as long as it is the best one by more than ``gain``."""
    found = {power: loss(power) for power in FIRST_PENALTIES}
    for end, step in ((min, -1), (max, 1)):
        while (at := end(found)) > LEAST_PENALTY and found[at] < min(found[power] for power in found if power != at) - gain:
            found[at + step] = loss(at + step)
    best = min(sorted(found)[1:-1], key=lambda power: found[power])
    return best, found[best]
