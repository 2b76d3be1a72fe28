"""Somebody else's float step graph to an integer one, with golden vectors: calibrated on recorded rows, scored on rows behind them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import metadata
from quantization.calibrate import observe
from quantization.context import HEADROOM
from quantization.decoder import quantize_decoder
from quantization.fixedpoint import stored_scale
from quantization.formats import Formats
from quantization.golden import Golden, float_decoded, run_decoder
from quantization.inputs import stored
from quantization.ladder import compare
from quantization.sizes import sizes
from quantization.summaries import CalibratedStream
from quantization.tensor_table import Stretches, tensor_table
from realm_edge.errors import UserError
from realm_edge.metrics import nrmse
from realm_edge.numpy_files import Npz
from realm_edge.progress import Progress
from realm_edge.segments import within

HELD_OUT = 5  # one of so many rows, the last ones, is scored and not calibrated on
MOST_GOLDEN = 500  # rows that the firmware runs
LEAST_ROWS = 50
MOST_ROWS = 200_000
RANDOM_ROWS = 200  # for an integer graph without recorded rows


@dataclass(frozen=True)
class Rows:
    """What a graph is calibrated and run on: float32 (rows, n), and the rows at which its states start anew."""

    values: NDArray[np.float32]
    starts: NDArray[np.int64]

    def part(self, first: int, last: int) -> "Rows":
        return Rows(self.values[first:last], within(self.starts, first, last))


@dataclass(frozen=True)
class Scored:
    """How an integer graph compares with the float one over rows that it was not calibrated on, in units of the output."""

    nrmse: float  # as :func:`realm_edge.metrics.nrmse`
    largest_error: float
    largest_output: float  # of float


def read_rows(path: Path, name: str, elements: int) -> Rows:
    """Rows of an .npz: the array ``name``, or "features", or the only one beside "starts"; (rows, ...), a row for each step.

    Raises:
        UserError: no such array, of another size, too short, too long, or with values that are not finite.
    """
    try:
        arrays = Npz(path)
        beside = [key for key in arrays if key != "starts"]
        key = next((each for each in (name, "features") if each in arrays), beside[0] if len(beside) == 1 else None)
        if key is None:
            raise UserError(f"{path}: it has no array '{name}' but {', '.join(map(repr, beside)) or 'none'}: name the rows '{name}'")
        found, starts = arrays[key], arrays.get("starts", np.zeros(1, np.int64))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: give recorded input as an .npz") from error
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable .npz ({error}): write it with numpy.savez") from error
    if found.dtype.kind not in "fiu" or found.ndim < 2 or found[0:1].size != elements:
        raise UserError(f"{path}: '{key}' is {found.dtype}{list(found.shape)}: give (rows, {elements}), a row for each step")
    if not LEAST_ROWS <= len(found) <= MOST_ROWS:
        raise UserError(f"{path}: '{key}' has {len(found):,} rows: give {LEAST_ROWS} to {MOST_ROWS:,}")
    if not np.isfinite(found).all():
        raise UserError(f"{path}: '{key}' holds values that are not finite: leave those rows out, and give 'starts' where rows are missing")
    rise = (
        starts.ndim == 1 and starts.dtype.kind in "iu" and len(starts) and starts[0] == 0 and (np.diff(starts.astype(np.int64)) > 0).all()
    )
    if not rise or starts[-1] >= len(found):
        raise UserError(
            f"{path}: 'starts' is no list of rows from 0 on at which states start anew: give whole numbers that rise, below {len(found)}"
        )
    return Rows(found.reshape(len(found), -1).astype(np.float32), starts.astype(np.int64))


def quantise(
    model: onnx.ModelProto, rows: Rows, formats: Formats, made_from: dict[str, str], progress: Progress
) -> tuple[onnx.ModelProto, CalibratedStream]:
    """Calibrate a float step graph on all rows but the held-out ones.

    Raises:
        UserError: a tensor cannot be quantised.
    """
    known = rows.part(0, len(rows.values) - len(rows.values) // HELD_OUT)
    feature_scale = [stored_scale(HEADROOM * peak) for peak in np.abs(known.values.astype(np.float64)).max(axis=0)]
    observed = observe(model, known.values, 0, progress, known.starts)
    integers = quantize_decoder(model, observed, feature_scale, made_from, formats)
    stretches = Stretches.of(known.values, feature_scale)
    about = CalibratedStream(
        tensors=tensor_table(model, integers, observed, formats, stretches),
        sizes={"decoder": sizes(integers)},
        states=tuple(metadata(integers)["states"]),
        warm_up_bins=0,
        bins=len(known.values),
        segments=len(known.starts),
        compared_bins=len(stretches.features),
    )
    return integers, about


def golden_of(integers: onnx.ModelProto, rows: Rows | None) -> Golden:
    """Held-out rows, from the zero state, through the integer graph; without rows, random input over its whole range.

    onnxruntime and the numpy reference are compared on them, to the bit.
    """
    if rows is None:
        n = integers.graph.input[0].type.tensor_type.shape.dim[0].dim_value
        features = np.random.default_rng(0).integers(-32767, 32768, (RANDOM_ROWS, n)).astype(np.int16)
        first, starts = 0, np.zeros(1, np.int64)
    else:
        first = len(rows.values) - len(rows.values) // HELD_OUT
        held = rows.part(first, min(len(rows.values), first + MOST_GOLDEN))
        features, starts = stored(held.values, metadata(integers)["io"]["features"]["scale"]), held.starts
    decoded, states = run_decoder(integers, features, starts)
    compare(integers, features, starts)
    return Golden(first, 0, None, features, decoded, {}, states, starts)


def scored(model: onnx.ModelProto, integers: onnx.ModelProto, golden: Golden, rows: Rows) -> Scored:
    """The integer graph's golden outputs against those of float on the same rows."""
    io = metadata(integers)["io"]["decoded"]
    got = golden.decoded * np.asarray(io["scale"]) + np.asarray(io["offset"])
    about = metadata(model)["io"]["decoded"]
    held = rows.values[golden.first_bin : golden.first_bin + len(golden.decoded)]
    exact = float_decoded(model, held, golden.starts) * np.asarray(about["scale"]) + np.asarray(about["offset"])
    return Scored(nrmse(got, exact), float(np.abs(got - exact).max()), float(np.abs(exact).max()))
