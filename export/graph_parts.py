"""What the float step graphs of all decoders share: how features enter, a linear layer, how behaviour leaves."""

import numpy as np
from numpy.typing import ArrayLike

from export.stepgraph import GraphBuilder


def normalised(graph: GraphBuilder, mean: ArrayLike, inv_std: ArrayLike) -> str:
    """The input ``features``, and their z-scores under the statistics (n,) of training; the name of the latter."""
    x = graph.input("features", np.float32, np.shape(mean), unit="front-end features", scale=1.0, offset=0.0)
    statistics = [graph.constant(name, value, np.float32) for name, value in (("feature_mean", mean), ("feature_inv_std", inv_std))]
    graph.node("Normalise", [x, *statistics], ["normalised"], "normalise")
    return "normalised"


def linear(graph: GraphBuilder, name: str, x: str, weight: ArrayLike, bias: ArrayLike) -> str:
    """A layer of torch: weight (out, in), bias (out,). Its name is that of its output."""
    constants = [graph.constant(f"{name}.weight", np.transpose(weight), np.float32), graph.constant(f"{name}.bias", bias, np.float32)]
    graph.node("Linear", [x, *constants], [name], name)
    return name


def behaviour(graph: GraphBuilder, x: str, target_names: tuple[str, ...], unit: str, std: ArrayLike, mean: ArrayLike) -> None:
    """The output ``decoded`` (dims,): ``decoded * std + mean`` (metadata ``io``) is the behaviour in ``unit``."""
    graph.node("Identity", [x], ["decoded"], "decoded", domain="")
    scale, offset = (np.asarray(value).tolist() for value in (std, mean))
    graph.output("decoded", np.float32, (len(target_names),), names=list(target_names), unit=unit, scale=scale, offset=offset)
