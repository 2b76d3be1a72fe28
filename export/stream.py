"""One stream: its float step graphs, each held against what it was made from."""

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.decoder_graph import state_arrays
from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from export.stepgraph import Stepper
from realm_edge.errors import UserError
from realm_edge.frontend import design, design_spike, lfp_features, spike_counts
from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.streams import LFP, Stream

CHECKED_BINS = 500
CHECKED_LFP_BINS = 100
CHECKED_SPIKE_BINS = 10  # 600 ticks per bin


def frontend_of(stream: Stream, session: Session, settings: Settings, made_from: dict[str, str]) -> tuple[onnx.ModelProto, float]:
    """A stream's front end, and its error against scipy on the session's first bins: the largest difference over the largest value.

    Raises:
        UserError: the session lacks what the front end needs.
    """
    if stream is LFP:
        lfp = design(settings, session.good_channels)
        samples = stream.samples(session, settings, 0, CHECKED_LFP_BINS)
        model, expected = lfp_frontend_graph(lfp, made_from), lfp_features(lfp, samples)
    else:
        if session.spike_threshold is None:
            raise UserError(f"{session.name}: broadband without spike thresholds: rerun 'realm-edge data'")
        spike = design_spike(settings, session.spike_threshold)
        samples = stream.samples(session, settings, 0, CHECKED_SPIKE_BINS)
        model, expected = spike_frontend_graph(spike, made_from), spike_counts(spike, [samples])
    stepper = Stepper(model)
    ticks = (stepper.step({"sample": row}) for row in samples)
    return model, _relative(np.array([tick["features"] for tick in ticks if tick["valid"][0]]), expected)


def _relative(got: NDArray, expected: NDArray) -> float:
    """The largest difference of (rows, columns) over the largest value of the same column: features differ by orders of magnitude."""
    largest = np.maximum(np.abs(expected).max(axis=0), 1e-30)
    return float(np.max(np.abs(got - expected) / largest))


@torch.no_grad()
def decoder_error(model: onnx.ModelProto, student: Student, inputs: NDArray[np.float32], progress: Progress) -> float:
    """Outputs and states of the first steps, onnxruntime against torch: the largest difference over the largest value."""
    stepper, state, worst = Stepper(model), student.initial_state(1), 0.0
    rows = inputs[:CHECKED_BINS].astype(np.float32)
    got: dict[str, list[NDArray]] = {}
    expected: dict[str, list[NDArray]] = {}
    for row in progress.track(rows, "check the decoder against torch", len(rows)):
        out, state = student.step(torch.from_numpy(row)[None], state)
        got.setdefault("decoded", []).append(stepper.step({"features": row})["decoded"])
        expected.setdefault("decoded", []).append(out[0].numpy())
        for name, array in state_arrays(state).items():
            got.setdefault(name, []).append(stepper.state[name])
            expected.setdefault(name, []).append(array)
    for name in got:
        columns = expected[name][0].size if name == "decoded" else 1  # a state is one tensor, on one scale
        worst = max(worst, _relative(*(np.array(values[name]).reshape(-1, columns) for values in (got, expected))))
    return worst
