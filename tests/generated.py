"""What is measured of a generator's recordings, for tests and for tests/benchmarks/bench_generator.py."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from realm_edge import synthetic, wiener
from realm_edge.preparation import prepare
from realm_edge.session import Session
from realm_edge.settings import Settings, SyntheticSettings

LAGS = range(11)  # edges of ten windows of one bin each
MASKED_BINS = 15  # mean of PretrainSettings.block_bins
_AROUND = (1, 4)  # bins at each end of a masked block whose means predict it: the nearest one, and the four behind it


def aged_settings(version: int, seed: int, days: float) -> Settings:
    """Of an array whose session 1 is so many days after implantation; 0 stands for a quarter of an hour, in which nothing ages."""
    sizes = SyntheticSettings(version=version, sessions=2, seconds=240.0, heldout_seconds=240.0, days_apart=days or 0.01)
    return Settings(seed=seed, synthetic=sizes)


def sessions_of(settings: Settings, indices: Iterable[int], crossings: bool = True) -> Iterator[Session]:
    """Sessions, split as decoded ones are; with sorted units instead of threshold crossings where those are not asked for."""
    for index in indices:
        recording, broadband = synthetic.generate(settings, index)
        yield prepare(recording, settings, heldout=True, broadband=broadband if crossings else None)


def fitted(session: Session, inputs: NDArray[np.float32]):
    """A Wiener filter of ten lags on a session's training part, and the means and scales that it holds for: to use on other days too."""
    x, y = inputs[: session.train_end], session.targets[: session.train_end]
    scale = (x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6), y.mean(axis=0), y.std(axis=0))
    return wiener.fit_windows(_scaled(inputs, scale), (session.targets - scale[2]) / scale[3], session.train_end, LAGS), scale


def _scaled(inputs: NDArray[np.float32], scale) -> NDArray[np.float32]:
    return np.clip((inputs - scale[0]) / scale[1], -8, 8).astype(np.float32)


def r2_of(filtered, session: Session, inputs: NDArray[np.float32]) -> float:
    """Of the test part, mean over the axes."""
    found, scale = filtered
    test = slice(session.validation_end, session.bins)
    y = session.targets[test]
    errors = y - (wiener.predict(found, _scaled(inputs, scale)) * scale[3] + scale[2])[test]
    return float(np.mean(1 - (errors**2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)))


def masked_r2(features: NDArray[np.float32], train_end: int) -> float:
    """How much of a bin in the middle of a masked block a linear map tells from the bins on both sides of the block.

    Mean R2 over features, on the bins after ``train_end``; of all channels, with ridge's penalty the best of five on the second half of
    the training part.
    """
    x = features[:, features[:train_end].std(axis=0) > 1e-6]  # without the dead channel
    x = (x - x[:train_end].mean(axis=0)) / x[:train_end].std(axis=0)
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0, dtype=np.float64)])
    half, reach = MASKED_BINS // 2, MASKED_BINS // 2 + sum(_AROUND)
    middle = np.arange(reach, len(x) - reach)
    columns, edge = [], half
    for width in _AROUND:
        columns += [(total[middle - edge] - total[middle - edge - width]) / width]
        columns += [(total[middle + edge + 1 + width] - total[middle + edge + 1]) / width]
        edge += width
    z, y = np.concatenate(columns, axis=1), x[middle]
    fit, choose, test = (
        middle < train_end // 2,
        (middle >= train_end // 2 + reach) & (middle < train_end - reach),
        middle >= train_end + reach,
    )
    losses = {penalty: _errors(z, y, fit, choose, penalty).mean() for penalty in 10.0 ** np.arange(1, 6)}
    errors = _errors(z, y, middle < train_end - reach, test, min(losses, key=losses.__getitem__))
    return float(np.mean(1 - errors / ((y[test] - y[test].mean(axis=0)) ** 2).mean(axis=0)))


def _errors(z, y, fit, test, penalty):
    gram = z[fit].T @ z[fit] + penalty * np.eye(z.shape[1])
    weights = solve(gram, z[fit].T @ y[fit], assume_a="pos")
    return ((y[test] - z[test] @ weights) ** 2).mean(axis=0)
