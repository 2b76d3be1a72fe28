"""Decoded and true behaviour of the test part, for the plot that shows them."""

import json
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from realm_edge.rundir import RunDir
from realm_edge.streams import present


@dataclass(frozen=True)
class Traces:
    """Aligned arrays of the test part's first bins, in the unit of the behaviour."""

    seconds: NDArray[np.float64]  # (bins,), time in the session at the end of each bin
    true: NDArray[np.float64]  # (bins, dims), NaN where the behaviour is unknown
    decoded: dict[str, NDArray[np.float64]]  # stream -> (bins, dims), what the int8 decoder gives


def load_traces(run: RunDir) -> Traces:
    """Read the behaviour from ``predictions.npz`` and the int8 output from the golden vectors, which the firmware equals to the bit."""
    with np.load(run.file("predictions.npz"), allow_pickle=False) as file:
        bins, true = file["bins"], file["true"].astype(np.float64)
    decoded = {}
    for stream in present(run):
        model = onnx.load(run.file(f"{stream.decoder}.int8.onnx"))
        properties = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
        form = properties["io"]["decoded"]  # value = stored * scale + offset
        with np.load(stream.golden(run), allow_pickle=False) as file:
            stored = file["decoded"][int(file["warm_up"]) :]
        decoded[stream.name] = stored * np.asarray(form["scale"]) + np.asarray(form["offset"])
    shown = min(len(true), *(len(values) for values in decoded.values()))
    seconds = (bins[:shown] + 1) * run.settings.bin_ms / 1000.0
    return Traces(seconds, true[:shown], {name: values[:shown] for name, values in decoded.items()})
