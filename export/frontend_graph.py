"""Front ends as float64 step graphs: one ADC sample of all channels per tick, features at a bin's last tick."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export.functions import functions
from export.stepgraph import GraphBuilder
from realm_edge.frontend import ZSCORE_FLOOR, ZSCORE_SD, LfpFrontend, SpikeFrontend


def lfp_frontend_graph(frontend: LfpFrontend, made_from: dict[str, str]) -> onnx.ModelProto:
    """The graph of :func:`realm_edge.frontend.lfp_features`: ``sample`` (channels,) int16 to ``features`` (n,) and ``valid`` (1,).

    ``features`` holds the last whole bin; ``valid`` is 1 on the tick that completes one.
    """
    graph = GraphBuilder("lfp_frontend", functions())
    channels, bands = len(frontend.good), len(frontend.bands)
    y = _referenced_sample(graph, frontend.good, frontend.common_average)
    for i, section in enumerate(frontend.pre):
        y = _biquad(graph, f"pre{i}", y, section[None], channels)
    z = _biquad(graph, "bands", y, frontend.bands, channels)
    phase_in, phase_out = graph.state("bins.phase", np.int32, (1,))
    total_in, total_out = graph.state("bins.total", np.float64, (1, channels))
    power_in, power_out = graph.state("bins.power", np.float64, (bands, channels))
    held_in, held_out = graph.state("bins.held", np.float32, (frontend.n_features,))
    ticks = graph.constant("bins.ticks", frontend.samples_per_bin, np.int64)
    power_bins = graph.constant("bins.power_bins", frontend.power_bins, np.float64)
    inputs = [y, z, phase_in, total_in, power_in, held_in, ticks, power_bins]
    graph.node("BinFeatures", inputs, [held_out, "valid", phase_out, total_out, power_out], "bins")
    features = _running_z(graph, held_out, frontend.n_features, frontend.zscore_bins)
    return _finished(graph, features, frontend.n_features, frontend.rate_hz, made_from)


def spike_frontend_graph(frontend: SpikeFrontend, made_from: dict[str, str]) -> onnx.ModelProto:
    """The graph of :func:`realm_edge.frontend.spike_counts`: ``sample`` (channels,) int16 to counts (channels,) and ``valid`` (1,)."""
    graph = GraphBuilder("spike_frontend", functions())
    channels = len(frontend.threshold)
    y = _referenced_sample(graph, np.ones(channels, bool), common_average=False)
    y = _biquad(graph, "pre0", y, frontend.highpass[None], channels)
    threshold = graph.constant("bins.threshold", frontend.threshold, np.float64)
    phase_in, phase_out = graph.state("bins.phase", np.int32, (1,))
    below_in, below_out = graph.state("bins.below", np.int8, (channels,))
    count_in, count_out = graph.state("bins.count", np.float32, (channels,))
    held_in, held_out = graph.state("bins.held", np.float32, (channels,))
    ticks = graph.constant("bins.ticks", frontend.samples_per_bin, np.int64)
    graph.node(
        "SpikeCount",
        [y, threshold, phase_in, below_in, count_in, held_in, ticks],
        [held_out, "valid", phase_out, below_out, count_out],
        "bins",
    )
    features = _running_z(graph, held_out, channels, frontend.zscore_bins)
    return _finished(graph, features, channels, frontend.rate_hz, made_from)


def _referenced_sample(graph: GraphBuilder, good: NDArray[np.bool_], common_average: bool) -> str:
    x = graph.input("sample", np.int16, (len(good),), unit="ADC counts")
    reciprocal = 1.0 / good.sum() if common_average else 0.0
    constants = [graph.constant("reference.good", good, np.float64), graph.constant("reference.reciprocal", reciprocal, np.float64)]
    graph.node("CommonAverage", [x, *constants], ["reference"], "reference")
    return "reference"


def _biquad(graph: GraphBuilder, name: str, x: str, sections: NDArray[np.float64], channels: int) -> str:
    """``sections``: (n, 5) b0 b1 b2 a1 a2; the graph holds the recursive taps negated, so that a section is one sum of products."""
    coef = graph.constant(f"{name}.coef", sections * np.array([1.0, 1.0, 1.0, -1.0, -1.0]), np.float64)
    state_in, state_out = graph.state(f"{name}.history", np.float64, (len(sections), 4, channels))
    graph.node("Biquad", [x, coef, state_in], [name, state_out], name)
    return name


def _running_z(graph: GraphBuilder, features: str, n_features: int, bins: int) -> str:
    """:func:`realm_edge.frontend.running_z`; the name of what the decoder reads."""
    if bins == 0:
        return features
    seen_in, seen_out = graph.state("zscore.seen", np.int32, (1,))
    mean_in, mean_out = graph.state("zscore.mean", np.float64, (n_features,))
    deviation_in, deviation_out = graph.state("zscore.deviation", np.float64, (n_features,))
    held_in, held_out = graph.state("zscore.held", np.float32, (n_features,))
    constants = [
        graph.constant("zscore.window", bins, np.int64),
        graph.constant("zscore.sd", ZSCORE_SD, np.float64),
        graph.constant("zscore.floor", ZSCORE_FLOOR, np.float64),
    ]
    inputs = [features, "valid", seen_in, mean_in, deviation_in, held_in, *constants]
    graph.node("RunningZ", inputs, [held_out, seen_out, mean_out, deviation_out], "zscore")
    return held_out


def _finished(graph: GraphBuilder, features: str, n_features: int, rate_hz: int, made_from: dict[str, str]) -> onnx.ModelProto:
    graph.node("Identity", [features], ["features"], "features", domain="")
    graph.output("features", np.float32, (n_features,), unit="front-end features", scale=1.0, offset=0.0)
    graph.output("valid", np.int32, (1,), unit="1 on a bin's last tick")
    return graph.build(kind="frontend", rate_hz=rate_hz, made_from=made_from)
