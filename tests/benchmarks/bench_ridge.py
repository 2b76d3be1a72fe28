"""The floor on recordings: python tests/benchmarks/bench_ridge.py --data FILE... --behavior NAME [--config FILE] [--features NAME]

Fits the Wiener filter on the inputs of each recording as `realm-edge evaluate` does, prints lags, penalty, mean squared error over the
blocks of the training part (standardised), R2 on the test part and seconds, and beside it what the rule before this one gives: 1, 5, 10,
25 or 50 lags and penalties of 1 to 1e4, by the error on the validation part.

Example: python tests/benchmarks/bench_ridge.py --data rodent_running_a.nwb --behavior speed --config examples/rodent.toml
"""

import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from realm_edge import wiener
from realm_edge.evaluation.tasks import tasks
from realm_edge.metrics import accuracy
from realm_edge.progress import Silent
from realm_edge.readers.choices import Choices
from realm_edge.settings import SIX_BANDS, Settings, load
from realm_edge.sources import Recordings
from realm_edge.training.material import gather
from realm_edge.training.segments import Series

LAGS, ALPHAS = (1, 5, 10, 25, 50), (1.0, 10.0, 100.0, 1000.0, 10000.0)


def by_validation(series: Series) -> tuple[int, float, NDArray[np.floating]]:
    """Lags, penalty and answer of the filter with the least error on the validation part."""
    inputs, targets = series.inputs.numpy(), series.targets.numpy()
    known = np.isfinite(targets).all(axis=1)
    train = np.flatnonzero(known[: series.train_end])
    validation = series.train_end + np.flatnonzero(known[series.train_end : series.validation_end])

    def candidates() -> Iterator[tuple[float, int, float, NDArray[np.floating]]]:
        for lags in LAGS:
            if lags > 1 and lags * inputs.shape[1] > len(train) / 2:
                continue
            padded = np.concatenate((np.zeros((lags - 1, inputs.shape[1]), np.float32), inputs))
            columns = sliding_window_view(padded, lags, axis=0).reshape(len(inputs), -1)
            for alpha in ALPHAS:
                decoded = Ridge(alpha=alpha, solver="cholesky").fit(columns[train], targets[train]).predict(columns).reshape(targets.shape)
                yield float(np.mean((decoded[validation] - targets[validation]) ** 2)), lags, alpha, decoded

    _, lags, alpha, decoded = min(candidates(), key=lambda candidate: candidate[0])
    return lags, alpha, decoded


@click.command()
@click.option("--data", "files", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--behavior", required=True)
@click.option("--config", type=click.Path(path_type=Path))
@click.option("--features")
def main(files: tuple[Path, ...], behavior: str, config: Path | None, features: str | None) -> None:
    """See the module."""
    floor = Settings(lfp=SIX_BANDS)  # docs/results.md was measured with these
    settings = load(config, floor) if config else floor
    print("| recording | inputs | lags | penalty | MSE, blocks | R2 | s | before: lags | penalty | R2 |\n|---|---|" + "---:|" * 8)
    for path in files:
        (task,) = tasks(Recordings((path,), Choices((behavior,) if behavior else ()), features=features), settings, 1, Silent())
        for kind in ("features", "counts"):
            if getattr(task.decoded, kind) is None:
                continue
            series = gather([task.decoded], task.decoded, kind, task.bin_s).decoded
            test = slice(series.validation_end, None)
            start = time.process_time()
            fitted = wiener.fit(series.inputs.numpy(), series.targets.numpy(), series.train_end, task.decoded.starts)
            seconds = time.process_time() - start
            decoded = wiener.predict(fitted, series.inputs.numpy(), task.decoded.starts)
            lags, alpha, earlier = by_validation(series)
            now, before = (np.mean(accuracy(series.targets.numpy()[test], each[test]).r2) for each in (decoded, earlier))
            chosen = f"{fitted.lags} | {fitted.alpha:g} | {fitted.held_out_loss:.4f} | {now:.3f} | {seconds:.1f}"
            print(f"| {path.stem} | {kind} | {chosen} | {lags} | {alpha:g} | {before:.3f} |", flush=True)


if __name__ == "__main__":
    main()
