"""Writes a recording of features as tests need it."""

import datetime
from pathlib import Path

import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries


def feature_file(path: Path, rows: int = 700, rate: float = 10.0, **changes: np.ndarray) -> Path:
    """Force that a feature follows one row later; five columns."""
    rng = np.random.default_rng(0)
    force = np.convolve(rng.standard_normal(rows + 20), np.ones(20) / 20, "valid")[:rows]
    features = 0.05 * rng.standard_normal((rows, 5))
    features[1:, 2] += force[:-1]
    file = NWBFile("a test", path.stem, datetime.datetime(2022, 1, 1, tzinfo=datetime.UTC))
    for name, values in ({"power": features, "force": force} | changes).items():
        file.add_acquisition(TimeSeries(name=name, data=values, unit="N", rate=rate))
    with NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path
