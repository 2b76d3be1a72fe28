"""The student as a float32 step graph: features of one bin in, standardised behaviour out, states explicit."""

import numpy as np
import onnx
from numpy.typing import NDArray

from export import graph_parts
from export.functions import functions
from export.stepgraph import GraphBuilder
from realm_edge.models.student import Student, StudentState
from realm_edge.models.tokenizer import LEAK_BITS, ChannelState

EPS = 1e-5  # of LayerNorm and RMSNorm alike


def decoder_graph(
    student: Student, bin_rate_hz: float, target_names: tuple[str, ...], unit: str, made_from: dict[str, str]
) -> onnx.ModelProto:
    """The graph of :meth:`realm_edge.models.student.Student.step` for one stream: ``features`` (n,) to ``decoded`` (dims,).

    ``decoded * scale + offset`` (metadata ``io``) is the behaviour in ``unit``. Node names are those of the torch modules.
    """
    settings = student.settings
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in student.state_dict().items()}
    graph = GraphBuilder("decoder", functions())

    def constant(name: str, value: NDArray | float) -> str:
        return graph.constant(name, value, np.float32)

    def linear(name: str, x: str) -> str:
        weight = weights[f"{name}.weight"]
        return graph_parts.linear(graph, name, x, weight, weights.get(f"{name}.bias", np.zeros(len(weight))))

    def layer_norm(name: str, x: str) -> str:
        affine = [constant(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        graph.node("LayerNorm", [x, *affine, constant(f"{name}.eps", EPS)], [name], name)
        return name

    x = graph_parts.normalised(graph, weights["feature_mean"], weights["feature_inv_std"])
    if settings.tokenizer == "channel":
        x = _channel_maps(graph, weights, x)
    x = layer_norm("token_norm", linear("tokenizer", x))

    for i in range(settings.n_layer):
        block, mixer = f"blocks.{i}", f"blocks.{i}.mixer"
        d_inner, n = settings.d_inner, settings.d_state
        projected = linear(f"{mixer}.in_proj", layer_norm(f"{block}.norm", x))
        z, xbc, dt = (f"{mixer}.{part}" for part in ("z", "xbc", "dt"))
        sizes = graph.constant(f"{mixer}.in_split", [d_inner, d_inner + 2 * n, settings.nheads], np.int64)
        graph.node("Split", [projected, sizes], [z, xbc, dt], f"{mixer}.in_split", domain="", axis=0)

        conv_in, conv_out = graph.state(f"block{i}.conv", np.float32, (settings.d_conv - 1, d_inner + 2 * n))
        taps = constant(f"{mixer}.conv1d.weight", weights[f"{mixer}.conv1d.weight"][:, 0].T)  # (taps, conv_dim)
        conv = f"{mixer}.conv1d"
        graph.node("Conv", [xbc, conv_in, taps, constant(f"{conv}.bias", weights[f"{conv}.bias"])], [conv, conv_out], conv)
        raw = [f"{mixer}.{part}_raw" for part in "xBC"]
        sizes = graph.constant(f"{mixer}.conv_split", [d_inner, n, n], np.int64)
        graph.node("Split", [conv, sizes], raw, f"{mixer}.conv_split", domain="", axis=0)
        active = [f"{mixer}.{part}" for part in "xBC"]
        for before, after in zip(raw, active, strict=True):
            graph.node("Silu", [before], [after], after)

        h_in, h_out = graph.state(f"block{i}.h", np.float32, (settings.nheads, settings.headdim, n))
        heads = [
            constant(f"{mixer}.dt_bias", weights[f"{mixer}.dt_bias"]),
            constant(f"{mixer}.A", -np.exp(weights[f"{mixer}.A_log"])),
            constant(f"{mixer}.D", weights[f"{mixer}.D"]),
        ]
        y = f"{mixer}.ssm"
        graph.node("SelectiveStep", [*active, dt, h_in, *heads], [y, h_out], y)
        norm = f"{mixer}.norm"
        graph.node("GatedNorm", [y, z, constant(f"{norm}.weight", weights[f"{norm}.weight"]), constant(f"{norm}.eps", EPS)], [norm], norm)
        graph.node("Add", [x, linear(f"{mixer}.out_proj", norm)], [block], f"{block}.residual", domain="")
        x = block

    head = linear("head", layer_norm("final_norm", x))
    graph_parts.behaviour(graph, head, target_names, unit, weights["target_std"], weights["target_mean"])
    return graph.build(kind="decoder", rate_hz=bin_rate_hz, made_from=made_from)


def _channel_maps(graph: GraphBuilder, weights: dict[str, NDArray], x: str) -> str:
    """:class:`realm_edge.models.tokenizer.CausalMaps`."""
    conv, attention = weights["maps.conv.weight"], weights["maps.attention.weight"].ravel()  # (maps, kinds, taps), (reach,)
    n_maps, kinds, taps = conv.shape
    n_features = len(weights["feature_mean"])
    history = graph.state("tokenizer.history", np.float32, (taps - 1, n_features))
    mean = graph.state("tokenizer.mean", np.float32, (n_features // kinds,))
    constants = [
        graph.constant("maps.conv.weight", conv.transpose(2, 1, 0).reshape(taps * kinds, n_maps), np.float32),
        graph.constant("maps.conv.bias", weights["maps.conv.bias"], np.float32),
    ]
    graph.node("ChannelConv", [x, history[0], *constants], ["maps.conv", history[1]], "maps.conv")
    graph.node("Gelu", ["maps.conv"], ["maps.gelu"], "maps.gelu", domain="")
    constants = [graph.constant("maps.attention.weight", attention, np.float32), graph.constant("maps.leak", 2.0**-LEAK_BITS, np.float32)]
    graph.node("ChannelAttention", ["maps.gelu", mean[0], *constants], ["maps.attention", mean[1]], "maps.attention")
    graph.node("ChannelGate", ["maps.gelu", "maps.attention"], ["maps"], "maps")
    return "maps"


def state_arrays(state: StudentState) -> dict[str, NDArray]:
    """A student's state for one stream (batch 1) under the names and in the shapes of the graph's state inputs."""
    arrays = {f"state.tokenizer.{name}": tensor for name, tensor in zip(ChannelState._fields, state.tokenizer, strict=False)}
    for i, block in enumerate(state.blocks):
        arrays[f"state.block{i}.h"] = block.ssm
        arrays[f"state.block{i}.conv"] = block.conv[:, :, 1:].transpose(1, 2)
    return {name: tensor[0].numpy() for name, tensor in arrays.items()}
