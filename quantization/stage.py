"""The quantize stage: float step graphs to int8 step graphs, checked bit by bit and scored on held-out bins."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import load_model, metadata, save_model
from quantization.calibrate import WARM_UP_BINS, observe, settled, warm_up_bins
from quantization.decoder import quantize_decoder
from quantization.frontend import quantize_frontend
from quantization.golden import Golden, run_decoder, run_frontend
from quantization.inputs import input_scale, stored
from quantization.ladder import compare
from quantization.scores import score
from quantization.selection import Stretches, choose_formats
from quantization.sizes import sizes
from quantization.tensor_table import Row, tensor_table
from quantization.warnings import warnings
from realm_edge.files import write_json
from realm_edge.frontend import design, lfp_features
from realm_edge.progress import Progress
from realm_edge.rundir import RunDir
from realm_edge.segments import learnt_from, within
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.stages.data import load_sessions
from realm_edge.streams import LFP, Stream, present

FEATURES_WARM_UP_BINS = 3000  # as far back as golden vectors of recorded features begin: without a front end all bins are cheap to check
SCORED_BINS = 1200  # of the test part, at most: what the simulator runs
REFERENCE_TICKS = 2000  # of a front end, compared with the numpy reference in every run; verify and the test suite compare more


def run(run: RunDir, progress: Progress) -> dict[str, Any]:
    """Write the int8 step graphs, ``calibration.json`` and the golden vectors of every stream.

    Returns:
        By stream: R2 of float, int8 and Wiener on the scored bins, NRMSE of int8 against float, sizes, warnings; see
        :func:`quantization.scores.score`.

    Raises:
        UserError: the export stage is missing or stale, or a tensor cannot be quantised.
    """
    run.require("export")
    heldout = next(session for session in load_sessions(run) if session.heldout)
    made_from = {"settings": run.settings.digest(), "export": run.lineage("export")}
    outputs, summary, calibration = [], {}, {}
    for stream in present(run):
        progress.say(f"  {stream.name}: quantise")
        frontend, decoder, rows, about = _quantised(run, stream, heldout, made_from, progress)
        calibration[stream.name] = about
        save_model(decoder, stream.int8_decoder(run))
        outputs.append(stream.int8_decoder(run))
        if frontend is not None:
            save_model(frontend, stream.int8_frontend(run))
            outputs.append(stream.int8_frontend(run))
        golden = make_golden(run.settings, stream, heldout, frontend, decoder, progress)
        golden.save(stream.golden(run))
        outputs.append(stream.golden(run))
        checked = _check_reference(golden, frontend, decoder)
        scores = score(run, stream, heldout, decoder, golden)
        found = warnings(rows, scores)
        for line in found:
            progress.say(f"  warning: {stream.name}: {line}")
        bytes_of = about["sizes"]["decoder"]["bytes"]
        size = {"decoder_int8_bytes": bytes_of["weights"], "decoder_constant_bytes": sum(bytes_of.values()) - bytes_of["states"]}
        summary[stream.name] = {**scores, "reference_ticks_equal": checked, **size, "warnings": found}
    write_json(run.file("calibration.json"), calibration)
    run.complete("quantize", [*outputs, run.file("calibration.json")], summary)
    return summary


def _quantised(
    run: RunDir, stream: Stream, session: Session, made_from: dict[str, str], progress: Progress
) -> tuple[onnx.ModelProto | None, onnx.ModelProto, tuple[Row, ...], dict[str, Any]]:
    """Integer front end (None where the stream has none), integer decoder, its tensor table, and what calibration.json says."""
    kept, starts = learnt_from(session.starts, session.valid, session.train_end)
    training = stream.inputs(session)[: session.train_end][kept]
    warm_up = warm_up_bins(starts, len(training))
    counts = settled(starts, len(training), warm_up)
    frontend, feature_scale = None, input_scale(stream, run.settings, training)
    if stream.has_frontend(session):
        plain = _plain_features(run.settings, session)[kept] if stream is LFP and run.settings.lfp.zscore_bins else training
        # Filters that start anew answer the step from 0 by more than they do later on: where they do so in use, it has to fit.
        seen = plain if len(session.starts) > 1 else plain[WARM_UP_BINS:]
        frontend = quantize_frontend(load_model(stream.float_frontend(run)), seen, made_from)
        feature_scale = metadata(frontend)["io"]["features"]["scale"]
    float_decoder = load_model(stream.float_decoder(run))
    observed = observe(float_decoder, training, warm_up, progress, starts)
    stretches = Stretches.of(training[counts], feature_scale)
    choice = choose_formats(float_decoder, observed, feature_scale, stretches, progress)
    decoder = quantize_decoder(float_decoder, observed, feature_scale, made_from, choice.formats)
    rows = tensor_table(float_decoder, decoder, observed, choice.formats, stretches)
    graphs = {"decoder": decoder} if frontend is None else {"decoder": decoder, "frontend": frontend}
    about = {
        "tensors": [row.as_json() for row in rows],
        "tried": choice.as_json(),
        "sizes": {name: sizes(graph) for name, graph in graphs.items()},
        "states": metadata(decoder)["states"],
        "warm_up_bins": warm_up,
        "bins": len(training),
        "segments": len(starts),
        "compared_bins": len(stretches.features),
    }
    return frontend, decoder, rows, about


def _plain_features(settings: Settings, session: Session) -> NDArray[np.float32]:
    """LFP features of the training part without the running z-score."""
    frontend = dataclasses.replace(design(settings, session.good_channels), zscore_bins=0)
    return lfp_features(frontend, LFP.samples(session, settings, 0, session.train_end), within(session.starts, 0, session.train_end))


def make_golden(
    settings: Settings, stream: Stream, session: Session, frontend: onnx.ModelProto | None, decoder: onnx.ModelProto, progress: Progress
) -> Golden:
    """The first bins of the test part, and bins before them to settle in, through the integer graphs of a stream.

    Raises:
        UserError: the session lacks what the stream reads.
    """
    earliest = FEATURES_WARM_UP_BINS if stream is LFP and frontend is None else WARM_UP_BINS
    warm_up = min(earliest, session.validation_end)
    first = session.validation_end - warm_up
    bins = warm_up + min(SCORED_BINS, len(session.targets) - session.validation_end)
    starts = within(session.starts, first, first + bins)
    samples: NDArray[np.int16] | None = None
    frontend_states: dict[str, NDArray] = {}
    if frontend is None:
        features = stored(stream.inputs(session)[first : first + bins], metadata(decoder)["io"]["features"]["scale"])
    else:
        samples = stream.samples(session, settings, first, bins)
        ticks: Iterator[NDArray] = progress.track(samples, f"{stream.name} front end in onnxruntime", len(samples))
        features, frontend_states = run_frontend(frontend, ticks, starts)
    decoded, decoder_states = run_decoder(decoder, features, starts)
    return Golden(first, warm_up, samples, features, decoded, frontend_states, decoder_states, starts)


def _check_reference(golden: Golden, frontend: onnx.ModelProto | None, decoder: onnx.ModelProto) -> int:
    """Compare onnxruntime with the numpy reference, the decoder over all golden bins; returns the number of ticks compared."""
    ticks = compare(decoder, golden.features, golden.starts)
    if frontend is not None and golden.samples is not None:
        ticks += compare(frontend, golden.samples[:REFERENCE_TICKS], golden.starts * golden.ticks_per_bin)
    return ticks
