"""What the tensors of a float decoder step graph look like on training data."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import Stepper, restarting, with_outputs
from realm_edge.errors import UserError
from realm_edge.progress import Progress, Silent
from realm_edge.segments import Starts, history

USUAL = 99.99  # percent of a tensor's values that its int8 scale holds: the rest clips
WARM_UP_BINS = 150  # of a segment, in which filters and state settle; neither calibrated on nor scored


@dataclass(frozen=True)
class Observed:
    """Calibration data: every inner tensor over the bins that count, and the largest states."""

    tensors: dict[str, NDArray[np.float32]]  # name: (bins, n)
    state_peaks: dict[str, NDArray[np.float32]]  # next.<block>.<what>: (heads,), or what its first axis is: largest absolute value
    warm_up: int  # bins of a segment that do not count

    def peak(self, name: str) -> float:
        """Largest absolute value of a tensor."""
        return float(np.max(np.abs(self.tensors[name])))

    def usual_peak(self, name: str) -> float:
        """The absolute value that all but one in ten thousand elements stay below; the largest where that is 0."""
        return float(np.percentile(np.abs(self.tensors[name]), USUAL)) or self.peak(name)


def warm_up_bins(starts: Starts, bins: int) -> int:
    """How many bins of each segment do not count: :data:`WARM_UP_BINS`.

    Fewer where short segments would leave too little: then the largest number with which at least half of the bins count that would
    if all were one segment.
    """
    behind, enough = history(starts, bins), (bins - WARM_UP_BINS) / 2
    return next(warm_up for warm_up in range(WARM_UP_BINS, -1, -1) if np.sum(behind >= warm_up) >= enough)


def settled(starts: Starts, bins: int, warm_up: int) -> NDArray[np.bool_]:
    """Which bins count, (bins,): those with ``warm_up`` bins of their segment before them."""
    return history(starts, bins) >= warm_up


def observe(
    model: onnx.ModelProto, features: NDArray[np.float32], warm_up: int, progress: Progress | None = None, starts: Starts = (0,)
) -> Observed:
    """Run the float decoder over training bins, each segment from the zero state.

    Args:
        model: from :mod:`export.decoder_graph`.
        features: (bins, n_features), chronological.
        warm_up: first bins of each segment that set the state but do not count: the front end's filters settle there.
        progress: shows how far it is.
        starts: bins at which segments start.

    Raises:
        UserError: no segment with more bins than the warm-up, or a tensor that is not finite.
    """
    counts = settled(starts, len(features), warm_up)
    if not counts.any():
        raise UserError(f"calibration needs more than {warm_up} bins of training data, found {len(features)}: use a longer recording")
    names = [o for node in model.graph.node for o in node.output if not o.startswith("next.")]
    states = [s for s in model.graph.output if s.name.startswith("next.")]
    peaked = {s.name: tuple(range(1, len(s.type.tensor_type.shape.dim))) for s in states}  # axes that are no head's
    stepper = Stepper(with_outputs(model, names), [n for n in names if n != "decoded"])
    kept: dict[str, list[NDArray]] = {name: [] for name in names}
    peaks: dict[str, NDArray] = {}
    tracked = (progress or Silent()).track(features, "calibrate", len(features))
    for row, count in zip(restarting(stepper, tracked, starts), counts, strict=True):
        out = stepper.step({"features": row})
        if not count:
            continue
        for name in names:
            kept[name].append(out[name])
        for name, axes in peaked.items():
            largest = np.abs(stepper.state[name.replace("next.", "state.", 1)]).max(axis=axes)
            peaks[name] = np.maximum(peaks.get(name, largest), largest)
    tensors = {name: np.stack(rows).astype(np.float32) for name, rows in kept.items()}
    for name, values in tensors.items():
        if not np.all(np.isfinite(values)):
            raise UserError(f"calibration: tensor '{name}' is not finite; retrain with 'realm-edge train'")
    return Observed(tensors, peaks, warm_up)
