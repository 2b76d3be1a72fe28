"""One stream: its float step graphs to integer ones, their golden vectors, and those held against the reference."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import metadata
from quantization.calibrate import WARM_UP_BINS, observe, settled, warm_up_bins
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.frontend import quantize_frontend
from quantization.golden import Golden, run_decoder, run_frontend
from quantization.inputs import input_scale, stored
from quantization.ladder import compare
from quantization.sizes import sizes
from quantization.summaries import CalibratedStream
from quantization.tensor_table import Stretches, tensor_table
from realm_edge.frontend import design, lfp_features
from realm_edge.progress import Progress
from realm_edge.segments import learnt_from, within
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.streams import LFP, Stream

FEATURES_WARM_UP_BINS = 3000  # as far back as golden vectors of recorded features begin: without a front end all bins are cheap to check
SCORED_BINS = 1200  # of the test part, at most: what the simulator runs
REFERENCE_TICKS = 2000  # of a front end, compared with the numpy reference in every run; verify and the test suite compare more


@dataclass(frozen=True)
class FloatGraphs:
    """A stream's float step graphs, and what they were made from, for the metadata of the integer ones."""

    frontend: onnx.ModelProto | None  # None where the decoder reads recorded features or sorted units
    decoder: onnx.ModelProto
    made_from: dict[str, str]


@dataclass(frozen=True)
class Quantised:
    """A stream's integer step graphs."""

    frontend: onnx.ModelProto | None
    decoder: onnx.ModelProto
    about: CalibratedStream


def quantise(graphs: FloatGraphs, stream: Stream, session: Session, settings: Settings, progress: Progress) -> Quantised:
    """Calibrate on the session's training part.

    Raises:
        UserError: a tensor cannot be quantised.
    """
    kept, starts = learnt_from(session.starts, session.valid, session.train_end)
    training = stream.inputs(session)[: session.train_end][kept]
    warm_up = warm_up_bins(starts, len(training))
    counts = settled(starts, len(training), warm_up)
    frontend, feature_scale = None, input_scale(stream, settings, training)
    if graphs.frontend is not None:
        plain = _plain_features(settings, session)[kept] if stream is LFP and settings.lfp.zscore_bins else training
        # Filters that start anew answer the step from 0 by more than they do later on: where they do so in use, it has to fit.
        seen = plain if len(session.starts) > 1 else plain[WARM_UP_BINS:]
        frontend = quantize_frontend(graphs.frontend, seen, graphs.made_from)
        feature_scale = metadata(frontend)["io"]["features"]["scale"]
    observed = observe(graphs.decoder, training, warm_up, progress, starts)
    stretches, formats = Stretches.of(training[counts], feature_scale), Formats(settings.quantize.activations)
    decoder = quantize_decoder(graphs.decoder, observed, feature_scale, graphs.made_from, formats)
    made = {"decoder": decoder} if frontend is None else {"decoder": decoder, "frontend": frontend}
    about = CalibratedStream(
        tensors=tensor_table(graphs.decoder, decoder, observed, formats, stretches),
        sizes={name: sizes(graph) for name, graph in made.items()},
        states=tuple(metadata(decoder)["states"]),
        warm_up_bins=warm_up,
        bins=len(training),
        segments=len(starts),
        compared_bins=len(stretches.features),
    )
    return Quantised(frontend, decoder, about)


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


def check_reference(golden: Golden, frontend: onnx.ModelProto | None, decoder: onnx.ModelProto) -> int:
    """Compare onnxruntime with the numpy reference, the decoder over all golden bins; returns the number of ticks compared."""
    ticks = compare(decoder, golden.features, golden.starts)
    if frontend is not None and golden.samples is not None:
        ticks += compare(frontend, golden.samples[:REFERENCE_TICKS], golden.starts * golden.ticks_per_bin)
    return ticks
