"""The classic decoders as float32 step graphs: features of one bin in, standardised behaviour out, states explicit."""

import numpy as np
import onnx

from export.functions import functions
from export.graph_parts import behaviour, linear, normalised
from export.stepgraph import GraphBuilder
from realm_edge.baselines.recurrent import Recurrent
from realm_edge.training.segments import Statistics
from realm_edge.wiener import Wiener


def wiener_graph(
    wiener: Wiener, statistics: Statistics, bin_rate_hz: float, target_names: tuple[str, ...], unit: str, made_from: dict[str, str]
) -> onnx.ModelProto:
    """The filter of :func:`realm_edge.wiener.predict` as a step graph with the ends of :func:`export.decoder_graph.decoder_graph`.

    Its state ``filter.sums`` (lags - 1, dims) is what earlier bins add to the coming outputs; a filter of one lag has none.

    Args:
        statistics: those of the inputs and targets that the filter was fitted on.
    """
    graph = GraphBuilder("decoder", functions())
    x = normalised(graph, statistics.input_mean, statistics.input_inv_std)
    dims = len(target_names)
    if wiener.lags == 1:
        linear(graph, "filter", x, wiener.weights.T, wiener.intercept)
    else:
        sums = graph.state("filter.sums", np.float32, (wiener.lags - 1, dims))
        constants = [
            graph.constant("filter.weight", wiener.weights, np.float32),
            graph.constant("filter.bias", wiener.intercept, np.float32),
        ]
        graph.node("Fir", [x, sums[0], *constants], ["filter", sums[1]], "filter")
    behaviour(graph, "filter", target_names, unit, statistics.target_std, statistics.target_mean)
    return graph.build(kind="decoder", rate_hz=bin_rate_hz, made_from=made_from)


def gru_graph(
    decoder: Recurrent, statistics: Statistics, bin_rate_hz: float, target_names: tuple[str, ...], unit: str, made_from: dict[str, str]
) -> onnx.ModelProto:
    """A decoder of kind "gru" as a step graph; see :func:`wiener_graph`. Its state ``gru.h`` (width,) starts at zero, as in torch."""
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in decoder.state_dict().items()}
    width = weights["head.weight"].shape[1]
    graph = GraphBuilder("decoder", functions())
    x = normalised(graph, statistics.input_mean, statistics.input_inv_std)
    before, after = graph.state("gru.h", np.float32, (width,))
    entering = linear(graph, "gru.input", x, weights["cell.weight_ih_l0"], weights["cell.bias_ih_l0"])
    graph.node("Narrow", [before], ["gru.before"], "gru.before")
    recurrent = linear(graph, "gru.recurrent", "gru.before", weights["cell.weight_hh_l0"], weights["cell.bias_hh_l0"])
    graph.node("GruStep", [entering, recurrent, before], [after], "gru")
    graph.node("Narrow", [after], ["gru.hidden"], "gru.hidden")
    head = linear(graph, "head", "gru.hidden", weights["head.weight"], weights["head.bias"])
    behaviour(graph, head, target_names, unit, statistics.target_std, statistics.target_mean)
    return graph.build(kind="decoder", rate_hz=bin_rate_hz, made_from=made_from)
