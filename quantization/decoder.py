"""Float decoder step graph to integer decoder step graph, node by node.

Every tensor gets one symmetric scale (value = stored * scale): int8 where a matrix product reads it, but for the z-scores of the features;
int16 elsewhere. What is added has a single scale, as the residual stream, so that adding needs no requantisation; the state of the
selective state space has one scale per head; what leaves a projection in parts (z, xBC, dt) has one scale a part.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from export.pointwise import is_pointwise
from export.stepgraph import GraphBuilder, metadata
from quantization.arithmetic import DECAY_SHIFT
from quantization.calibrate import Observed
from quantization.context import HEADROOM, DecoderContext
from quantization.fixedpoint import INT8_LIMIT, INT16_LIMIT, stored_scale
from quantization.formats import Formats, limits
from quantization.functions import functions
from quantization.operator import Quantiser
from quantization.operators import OF_EITHER_WIDTH, QUANTISERS
from quantization.operators.lstm_step import cell_scale
from quantization.operators.table import pointwise
from realm_edge.errors import UserError
from realm_edge.models.student import CLIP

# In int8 the z-scores of four electrodes' sorted units cost 0.006 of R2 (docs/results.md); all else is made of them.
ZSCORES = frozenset(["Normalise", "Affine"])
OF_INT8 = frozenset(["ChannelGate"])  # whose integer twin makes nothing else


def quantize_decoder(
    model: onnx.ModelProto, observed: Observed, feature_scale: ArrayLike, made_from: dict[str, str], formats: Formats | None = None
) -> onnx.ModelProto:
    """The integer twin of a float decoder.

    Args:
        model: from :mod:`export.decoder_graph`.
        observed: its tensors on training data.
        feature_scale: (n_features,), what one count of the integer features is worth: ``io.features.scale`` of the front end.
        made_from: hashes of the inputs, for the metadata.
        formats: what is left open; the defaults where it is None.

    Raises:
        UserError: a tensor whose range no single scale can hold, or an operator that has no integer counterpart.
    """
    about, limit, formats = metadata(model), limits(model, observed), formats or Formats()
    context = DecoderContext(
        graph=GraphBuilder("decoder", functions()),
        constants={i.name: numpy_helper.to_array(i).astype(np.float64) for i in model.graph.initializer},
        observed=observed,
        formats=formats,
        limit=limit,
        scale=_tensor_scales(model, observed, limit, formats),
        feature_scale=np.broadcast_to(
            np.asarray(feature_scale, np.float64), (model.graph.input[0].type.tensor_type.shape.dim[0].dim_value,)
        ),
        narrow=int8_tensors(model, formats),
        functions={function.name: function for function in model.functions},
    )
    n_features = len(context.feature_scale)
    context.graph.input("features", np.int16, (n_features,), unit="front-end features", scale=context.feature_scale.tolist(), offset=0.0)
    for node in model.graph.node:
        if is_pointwise(node):
            pointwise(context, node)
            continue
        if node.op_type not in _HANDLERS:
            raise UserError(f"decoder: operator '{node.op_type}' of node '{node.name}' has no integer counterpart")
        _HANDLERS[node.op_type](context, node)
    decoded = about["io"]["decoded"]
    dims = observed.tensors["decoded"].shape[1]
    scale = np.broadcast_to(np.asarray(decoded["scale"]) * context.scale["decoded"], (dims,))
    context.graph.output("decoded", np.int16, (dims,), **{**decoded, "scale": scale.tolist()})
    scales = {name: float(value) for name, value in context.scale.items() if np.ndim(value) == 0}
    return context.graph.build(kind="decoder", rate_hz=about["rate_hz"], scales=scales, made_from=made_from, warm_up_bins=observed.warm_up)


def int8_tensors(model: onnx.ModelProto, formats: Formats) -> frozenset[str]:
    """What matrix products read, and nothing else does, of operators that make int8.

    But for z-scores of features, and the input of graphs of others, which are int16 where linear layers alone read them; or with int16
    activations all that can be.
    """
    readers = {"Linear", "ChannelConv", "Fir"}
    read = {node.input[0] for node in model.graph.node if node.op_type in readers}
    others = {name for node in model.graph.node if node.op_type != "Linear" for name in node.input}
    beside = {name for node in model.graph.node for name in (node.input[1:] if node.op_type in readers else node.input)}
    makers = ZSCORES if formats.activations == "int8" else OF_EITHER_WIDTH
    made = {name for node in model.graph.node if node.op_type in OF_EITHER_WIDTH | OF_INT8 for name in node.output}
    wide = {name for node in model.graph.node if node.op_type in makers for name in node.output} - others
    return frozenset(read & made - beside - wide)


def _tensor_scales(model: onnx.ModelProto, observed: Observed, limit: dict[str, int], formats: Formats) -> dict[str, float | NDArray]:
    """One scale per tensor. Tensors that are tied share the widest; split tensors carry the scales of their parts."""
    narrow = int8_tensors(model, formats)
    scale: dict[str, float | NDArray] = {}
    for name in observed.tensors:
        if name in narrow:
            scale[name] = stored_scale(observed.usual_peak(name), INT8_LIMIT)
        else:
            scale[name] = stored_scale(HEADROOM * observed.peak(name), limit.get(name, INT16_LIMIT))
    nodes, by_part = model.graph.node, _split_by_part(model)
    for node in nodes:
        if node.op_type == "GruStep":  # adds its inputs, the second at most whole
            sums = sum(np.abs(observed.tensors[name]) for name in node.input[:2])
            scale.update(dict.fromkeys(node.input[:2], stored_scale(HEADROOM * float(np.max(sums)))))
        if node.op_type == "LstmStep":
            sums = observed.tensors[node.input[0]] + observed.tensors[node.input[1]]
            widest = max(HEADROOM * float(np.max(np.abs(sums))) / INT16_LIMIT, *(float(scale[name]) for name in node.input[:2]))
            scale.update(dict.fromkeys(node.input[:2], widest))
    groups = _tied(model, by_part)
    for group in groups:
        widest = max((float(scale[name]) for name in group if name in scale), default=0.0)
        scale.update(dict.fromkeys(group, widest))
    for name, fixed in _fixed(model, observed):
        both = {name, name.replace("next.", "state.", 1)}
        scale.update(dict.fromkeys(both.union(*(group for group in groups if both & group)), fixed))
    for node in nodes:
        if node.op_type == "Normalise" and node.output[0] not in narrow:  # float clips there
            scale[node.output[0]] = stored_scale(CLIP)
    for node in reversed(nodes):
        if node.op_type == "Split" and node.input[0] in by_part:
            parts = [np.full(observed.tensors[o].shape[1], scale[o]) for o in node.output]
            scale[node.input[0]] = np.concatenate(parts)
    return scale


def _split_by_part(model: onnx.ModelProto) -> frozenset[str]:
    """What is split, and can have a scale a part: it leaves a sum of products, and nothing reads it whole."""
    made = {node.output[0] for node in model.graph.node if node.op_type in ("Linear", "Conv")}
    splits = [node.input[0] for node in model.graph.node if node.op_type == "Split"]
    others = {name for node in model.graph.node if node.op_type != "Split" for name in node.input}
    return frozenset(name for name in splits if name in made and name not in others and splits.count(name) == 1)


def _tied(model: onnx.ModelProto, by_part: frozenset[str]) -> list[set[str]]:
    """Tensors that have one scale, as what joins them does not rescale: additions, copies, what is moved, states and what they become."""
    groups: list[set[str]] = []
    for node in model.graph.node:
        if node.op_type in ("Add", "Concat", "Store", "GruStep", "LstmStep"):
            names = {*node.input[:2], *(node.output if node.op_type in ("Add", "Concat") else ())}
        elif node.op_type in ("Identity", "Gather") or (node.op_type == "Split" and node.input[0] not in by_part):
            names = {node.input[0], *node.output}
        else:
            continue
        joined = [group for group in groups if group & names]
        groups = [group for group in groups if not group & names] + [names.union(*joined)]
    return groups


def _fixed(model: onnx.ModelProto, observed: Observed) -> Iterator[tuple[str, float]]:
    """Tensors whose scale an operator sets: hidden values and decays are Q15, cells have a power of two."""
    for node in model.graph.node:
        if node.op_type in ("GruStep", "LstmStep"):
            yield node.output[0], 2.0**-DECAY_SHIFT
        if node.op_type == "LstmStep":
            yield node.output[1], cell_scale(float(np.max(observed.state_peaks[node.output[1]])))
        if node.op_type == "LinearAttentionStep":
            yield node.input[3], 2.0**-DECAY_SHIFT


def _split(context: DecoderContext, node: onnx.NodeProto) -> None:
    sizes = context.const(node.input[1], context.constants[node.input[1]], np.int64)
    context.graph.node("Split", [node.input[0], sizes], node.output, node.name, domain="", axis=helper.get_node_attr_value(node, "axis"))


def _identity(context: DecoderContext, node: onnx.NodeProto) -> None:
    context.graph.node("Identity", node.input, node.output, node.name, domain="")


_HANDLERS: dict[str, Quantiser] = {**QUANTISERS, "Split": _split, "Identity": _identity}
