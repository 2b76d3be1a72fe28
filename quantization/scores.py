"""What int8 loses: float, int8 and Wiener filter on the scored bins of the golden vectors."""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import metadata
from quantization.golden import Golden, float_decoded, in_units
from quantization.recorded import float_features
from quantization.summaries import R2, ScoredBins, StreamScores
from realm_edge.errors import UserError
from realm_edge.metrics import accuracy, nrmse
from realm_edge.segments import with_history
from realm_edge.session import Session
from realm_edge.settings import Settings
from realm_edge.streams import Stream


def score(
    golden: Golden,
    float_decoder: onnx.ModelProto,
    int8_decoder: onnx.ModelProto,
    stream: Stream,
    session: Session,
    settings: Settings,
    wiener: NDArray[np.float32],
) -> StreamScores:
    """Score what follows the golden vectors' warm-up; float starts at rest where int8 does, so that they differ by rounding alone.

    Args:
        wiener: what the Wiener filter decodes of the test part, (bins, dims), in target units.
    """
    int8 = in_units(golden.decoded, int8_decoder)[golden.warm_up :]
    scored = slice(session.validation_end, session.validation_end + len(int8))
    rounded = (golden.features * np.asarray(metadata(int8_decoder)["io"]["features"]["scale"])).astype(np.float32)
    exact, behind_int8 = (
        in_units(float_decoded(float_decoder, features, golden.starts), float_decoder)[golden.warm_up :]
        for features in (_float_features(stream, session, settings, golden), rounded)
    )
    outputs: dict[str, NDArray] = {
        "true": session.targets[scored],
        "float": exact,
        "behind_int8": behind_int8,
        "int8": int8,
        "wiener": wiener[: len(int8)],
    }
    late = with_history(session.starts, session.bins, settings.bin_ms / 1000)[scored]
    return StreamScores(
        **_scores(outputs, session.target_names).given(),
        warm_up_bins=golden.warm_up,
        resets=len(golden.starts) - 1,
        with_history=_scores_with_history(outputs, session, late),
    )


def _scores(outputs: Mapping[str, NDArray], names: tuple[str, ...]) -> ScoredBins:
    return ScoredBins(
        r2=R2(**{name: accuracy(outputs["true"], outputs[name]).scores(names).r2 for name in R2.model_fields}),
        nrmse_int8_float=nrmse(outputs["int8"], outputs["float"]),
        nrmse_frontend=nrmse(outputs["behind_int8"], outputs["float"]),
        nrmse_decoder=nrmse(outputs["int8"], outputs["behind_int8"]),
        scored_bins=len(outputs["int8"]),
    )


def _scores_with_history(outputs: Mapping[str, NDArray], session: Session, chosen: NDArray[np.bool_]) -> ScoredBins | None:
    if chosen.all():
        return None
    try:
        return _scores({name: values[chosen] for name, values in outputs.items()}, session.target_names)
    except UserError:  # all segments are short: R2 of so few bins is not defined
        return None


def _float_features(stream: Stream, session: Session, settings: Settings, golden: Golden) -> NDArray[np.float32]:
    """What the float front end makes of the golden samples, (bins, n_features)."""
    if golden.samples is None:
        return stream.inputs(session)[golden.first_bin : golden.first_bin + len(golden.decoded)]
    return float_features(stream, session, settings, golden.samples, golden.starts)
