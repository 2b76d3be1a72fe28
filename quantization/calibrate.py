"""What the tensors of a float decoder step graph look like on training data."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import Stepper, with_outputs
from realm_edge.errors import UserError
from realm_edge.progress import Progress, Silent


@dataclass(frozen=True)
class Observed:
    """Calibration data: every inner tensor over the bins, and the largest state by head."""

    tensors: dict[str, NDArray[np.float32]]  # name: (bins, n)
    state_peaks: dict[str, NDArray[np.float32]]  # next.<block>.<what>: (heads,), largest absolute value

    def peak(self, name: str) -> float:
        """Largest absolute value of a tensor."""
        return float(np.max(np.abs(self.tensors[name])))


def observe(model: onnx.ModelProto, features: NDArray[np.float32], warm_up: int, progress: Progress | None = None) -> Observed:
    """Run the float decoder over training bins from the zero state.

    Args:
        model: from :mod:`export.decoder_graph`.
        features: (bins, n_features), chronological.
        warm_up: first bins that set the state but do not count: the front end's filters settle there.
        progress: shows how far it is.

    Raises:
        UserError: fewer bins than the warm-up, or a tensor that is not finite.
    """
    if len(features) <= warm_up:
        raise UserError(f"calibration needs more than {warm_up} bins of training data, found {len(features)}: use a longer recording")
    names = [o for node in model.graph.node for o in node.output if not o.startswith("next.")]
    peaked = [s.name for s in model.graph.output if s.name.startswith("next.") and len(s.type.tensor_type.shape.dim) == 3]
    stepper = Stepper(with_outputs(model, names), [n for n in names if n != "decoded"])
    kept: dict[str, list[NDArray]] = {name: [] for name in names}
    peaks: dict[str, NDArray] = {}
    for index, row in enumerate((progress or Silent()).track(features, "calibrate", len(features))):
        out = stepper.step({"features": row})
        if index < warm_up:
            continue
        for name in names:
            kept[name].append(out[name])
        for name in peaked:
            largest = np.abs(stepper.state[name.replace("next.", "state.", 1)]).max(axis=(1, 2))
            peaks[name] = np.maximum(peaks.get(name, largest), largest)
    tensors = {name: np.stack(rows).astype(np.float32) for name, rows in kept.items()}
    for name, values in tensors.items():
        if not np.all(np.isfinite(values)):
            raise UserError(f"calibration: tensor '{name}' is not finite; retrain with 'realm-edge train'")
    return Observed(tensors, peaks)
