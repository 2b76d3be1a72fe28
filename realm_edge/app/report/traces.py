"""Decoded and true behaviour of the test part, for the plot that shows them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.stepgraph import load_model, metadata
from quantization.golden import Golden
from realm_edge.app import artefacts
from realm_edge.app.rundir import RunDir
from realm_edge.errors import UserError
from realm_edge.numpy_files import Npz


@dataclass(frozen=True)
class Traces:
    """Aligned arrays of the test part's first bins, in the unit of the behaviour; a row of NaN between two segments keeps them apart."""

    seconds: NDArray[np.float64]  # (bins,), time in the session at the end of each bin, without its pauses
    true: NDArray[np.float64]  # (bins, dims), NaN where the behaviour is unknown
    decoded: dict[str, NDArray[np.float64]]  # stream -> (bins, dims), what the int8 decoder gives


def load_traces(run: RunDir) -> Traces:
    """Read the behaviour from ``predictions.npz`` and the int8 output from the golden vectors, which the firmware equals to the bit."""
    try:
        predictions = Npz(run.file("predictions.npz"))
        bins, true = predictions["bins"], predictions["true"].astype(np.float64)
        if bins.dtype.kind != "i" or bins.shape != true.shape[:1] or true.ndim != 2:
            raise ValueError(f"'bins' are {bins.dtype}{list(bins.shape)} and 'true' {list(true.shape)}")
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{run.file('predictions.npz')}: no predictions ({error}): rerun 'realm-edge train'") from error
    decoded = {}
    for stream in artefacts.present(run):
        form = metadata(load_model(artefacts.int8_decoder(run, stream)))["io"]["decoded"]  # value = stored * scale + offset
        golden = Golden.load(artefacts.golden(run, stream))
        stored, starts = golden.decoded[golden.warm_up :], golden.starts - golden.warm_up
        decoded[stream.name] = stored * np.asarray(form["scale"]) + np.asarray(form["offset"])
    shown = min(len(true), *(len(values) for values in decoded.values()))
    if not shown or any(values.shape[1] != true.shape[1] for values in decoded.values()):
        raise UserError(f"{run.file('golden')}: nothing in it goes with predictions.npz: rerun 'realm-edge train' and what follows it")
    seconds = (bins[:shown] + 1) * run.settings.bin_ms / 1000.0
    edges = starts[(starts > 0) & (starts < shown)]

    def apart(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.insert(values[:shown], edges, np.nan, axis=0)

    times = np.insert(seconds, edges, seconds[edges - 1])
    return Traces(times, apart(true), {name: apart(values) for name, values in decoded.items()})
