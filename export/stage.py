"""The export stage: students and front ends to float step graphs, each checked in onnxruntime against what it came from."""

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from export.decoder_graph import decoder_graph, state_arrays
from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from export.stepgraph import Stepper, save_model
from realm_edge.checkpoint import load_student
from realm_edge.errors import UserError
from realm_edge.frontend import design, design_spike, lfp_features, spike_counts
from realm_edge.models.student import Student
from realm_edge.progress import Progress
from realm_edge.rundir import RunDir
from realm_edge.session import Session
from realm_edge.stages.data import load_sessions
from realm_edge.streams import LFP, Stream, present

TOLERANCE = 1e-5  # of the largest absolute value: float32 against float32
CHECKED_BINS = 500
CHECKED_LFP_BINS = 100
CHECKED_SPIKE_BINS = 10  # 600 ticks a bin


def run(run: RunDir, progress: Progress) -> dict[str, Any]:
    """Write the float step graphs of every stream.

    Returns:
        {stream: {"frontend_error", "decoder_error"}}: the largest difference over the largest value, onnxruntime against
        scipy and torch; ``frontend_error`` is None where the stream has no front end.

    Raises:
        UserError: the train stage is missing or stale, or a graph differs from its source by more than float32 rounding.
    """
    run.require("train")
    heldout = next(session for session in load_sessions(run) if session.heldout)
    made_from = {"settings": run.settings.digest(), "train": run.lineage("train")}
    outputs, summary = [], {}
    for stream in present(run):
        inputs = stream.inputs(heldout)
        student = load_student(run.file(stream.student))
        decoder = decoder_graph(student, 1000.0 / run.settings.bin_ms, heldout.target_names, heldout.target_unit, made_from)
        errors: dict[str, float | None] = {"frontend_error": None, "decoder_error": _decoder_error(decoder, student, inputs, progress)}
        save_model(decoder, stream.float_decoder(run))
        outputs.append(stream.float_decoder(run))
        if stream.has_frontend(heldout):
            frontend, errors["frontend_error"] = _frontend(run, stream, heldout, made_from)
            save_model(frontend, stream.float_frontend(run))
            outputs.append(stream.float_frontend(run))
        for name, error in errors.items():
            if error is not None and error > TOLERANCE:
                raise UserError(f"{stream.name} {name}: {error:.2g} of the largest value, above {TOLERANCE:g}: please report it")
        summary[stream.name] = errors
    run.complete("export", outputs, summary)
    return summary


def _frontend(run: RunDir, stream: Stream, session: Session, made_from: dict[str, str]) -> tuple[onnx.ModelProto, float]:
    """A stream's front end and its error against scipy on the session's first bins."""
    if stream is LFP:
        lfp = design(run.settings, session.good_channels)
        samples = stream.samples(session, run.settings, 0, CHECKED_LFP_BINS)
        model, expected = lfp_frontend_graph(lfp, made_from), lfp_features(lfp, samples)
    else:
        if session.spike_threshold is None:
            raise UserError(f"{session.name}: broadband without spike thresholds: rerun 'realm-edge data'")
        spike = design_spike(run.settings, session.spike_threshold)
        samples = stream.samples(session, run.settings, 0, CHECKED_SPIKE_BINS)
        model, expected = spike_frontend_graph(spike, made_from), spike_counts(spike, [samples])
    stepper = Stepper(model)
    ticks = (stepper.step({"sample": row}) for row in samples)
    return model, _relative(np.array([tick["features"] for tick in ticks if tick["valid"][0]]), expected)


def _relative(got: NDArray, expected: NDArray) -> float:
    return float(np.max(np.abs(got - expected)) / max(float(np.max(np.abs(expected))), 1e-30))


@torch.no_grad()
def _decoder_error(model: onnx.ModelProto, student: Student, inputs: NDArray[np.float32], progress: Progress) -> float:
    """Outputs and states of every step, onnxruntime against torch."""
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
        worst = max(worst, _relative(np.array(got[name]), np.array(expected[name])))
    return worst
