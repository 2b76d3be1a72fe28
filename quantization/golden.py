"""Golden vectors: held-out input, and what onnxruntime makes of it with the int8 step graphs, outputs and states at every bin.

Firmware is right when it produces these bytes.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import Stepper, metadata, restarting
from realm_edge.errors import UserError
from realm_edge.files import write_bytes
from realm_edge.numpy_files import Npz
from realm_edge.segments import Starts, one_segment

Arrays = dict[str, NDArray]


@dataclass(frozen=True)
class Golden:
    """Bins of a session from the zero state, to which front end and decoder go back where a segment starts.

    The first ``warm_up`` bins only settle filters and state and are not scored.
    """

    first_bin: int  # of the session
    warm_up: int  # bins
    samples: NDArray[np.int16] | None  # (ticks, channels); None: the stream has no front end
    features: NDArray[np.int16]  # (bins, n_features)
    decoded: NDArray[np.int16]  # (bins, dims)
    frontend_states: Arrays  # state.<block>.<what>: (bins, ...), after each bin's last tick
    decoder_states: Arrays
    starts: NDArray[np.int64] = field(default_factory=one_segment)  # (segments,), bins; the first is 0

    @property
    def ticks_per_bin(self) -> int:
        """Of the front end; 1 where there is none."""
        return 1 if self.samples is None else len(self.samples) // len(self.features)

    def save(self, path: Path) -> None:
        """Write one .npz, atomically."""
        arrays: Arrays = {"first_bin": np.array(self.first_bin), "warm_up": np.array(self.warm_up)}
        arrays |= {"features": self.features, "decoded": self.decoded}
        if self.samples is not None:
            arrays["samples"] = self.samples
        if len(self.starts) > 1:
            arrays["starts"] = self.starts
        arrays |= {f"frontend/{k}": v for k, v in self.frontend_states.items()}
        arrays |= {f"decoder/{k}": v for k, v in self.decoder_states.items()}
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **arrays)  # type: ignore[arg-type]  # numpy types the arrays as if they were allow_pickle
        write_bytes(path, stream.getvalue())

    @staticmethod
    def load(path: Path) -> "Golden":
        """Read what :meth:`save` wrote.

        Raises:
            UserError: missing or damaged file.
        """
        try:
            arrays = dict(Npz(path))
            golden = Golden(
                int(arrays["first_bin"]),
                int(arrays["warm_up"]),
                arrays.get("samples"),
                arrays["features"],
                arrays["decoded"],
                {k.removeprefix("frontend/"): v for k, v in arrays.items() if k.startswith("frontend/")},
                {k.removeprefix("decoder/"): v for k, v in arrays.items() if k.startswith("decoder/")},
                arrays.get("starts", one_segment()),
            )
            golden.check()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not readable golden vectors ({error}); rerun 'realm-edge quantize'") from error
        return golden

    def check(self) -> None:
        """See that all arrays are of the same bins.

        Raises:
            ValueError: they are not.
        """
        bins, states = len(self.decoded), (*self.frontend_states.values(), *self.decoder_states.values())
        of_bins = {"decoded": self.decoded, "features": self.features, **({} if self.samples is None else {"samples": self.samples})}
        for name, array in of_bins.items():
            if array.ndim != 2 or array.dtype != np.int16 or (len(array) % max(bins, 1) if name == "samples" else len(array) != bins):
                raise ValueError(f"'{name}' is {array.dtype}{list(array.shape)} for {bins} bins")
        if any(len(state) != bins for state in states):
            raise ValueError(f"a state is not of {bins} bins")
        rise = self.starts.ndim == 1 and self.starts.dtype.kind == "i" and not self.starts[:1].any() and (np.diff(self.starts) > 0).all()
        if not rise or not len(self.starts) or self.starts[-1] >= max(bins, 1) or min(self.first_bin, self.warm_up) < 0:
            raise ValueError(f"segments start at {self.starts.tolist()}"[:100])


def run_frontend(model: onnx.ModelProto, samples: Iterable[NDArray[np.int16]], starts: Starts = (0,)) -> tuple[NDArray[np.int16], Arrays]:
    """Features (bins, n) and states (bins, ...) of an integer front end over samples (channels,).

    Args:
        starts: bins at whose first tick it is in the zero state.
    """
    stepper = Stepper(model)
    return _collected(_valid_ticks(stepper, samples, starts), stepper)


def _valid_ticks(stepper: Stepper, samples: Iterable[NDArray[np.int16]], starts: Starts) -> Iterator[NDArray]:
    firsts, bins, edge = {int(start) for start in starts}, 0, True
    for row in samples:
        if edge and bins in firsts:
            stepper.reset()
        out = stepper.step({"sample": row})
        edge = bool(out["valid"][0])
        if edge:
            bins += 1
            yield out["features"]


def run_decoder(model: onnx.ModelProto, features: Iterable[NDArray[np.int16]], starts: Starts = (0,)) -> tuple[NDArray[np.int16], Arrays]:
    """Outputs (bins, dims) and states (bins, ...) of an integer decoder over feature rows, at ``starts`` from the zero state."""
    stepper = Stepper(model)
    return _collected((stepper.step({"features": row})["decoded"] for row in restarting(stepper, features, starts)), stepper)


def float_decoded(model: onnx.ModelProto, features: Iterable[NDArray[np.float32]], starts: Starts = (0,)) -> NDArray[np.float32]:
    """Outputs (bins, dims) of a float decoder over feature rows (n_features,), at ``starts`` from the zero state."""
    stepper = Stepper(model)
    return np.array([stepper.step({"features": row})["decoded"] for row in restarting(stepper, features, starts)])


def in_units(decoded: NDArray, model: onnx.ModelProto) -> NDArray[np.float64]:
    """Outputs of a decoder's step graph, (bins, dims), in target units."""
    io = metadata(model)["io"]["decoded"]
    return decoded * np.asarray(io["scale"]) + np.asarray(io["offset"])


def _collected(rows: Iterator[NDArray], stepper: Stepper) -> tuple[NDArray[np.int16], Arrays]:
    """Pull ``rows``, which step ``stepper``, and note the states after each."""
    kept: list[NDArray] = []
    states: dict[str, list[NDArray]] = {name: [] for name in stepper.state}
    for row in rows:
        kept.append(row)
        for name, value in stepper.state.items():
            states[name].append(value)
    return np.array(kept), {name: np.array(values) for name, values in states.items()}
