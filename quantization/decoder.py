"""Float decoder step graph to integer decoder step graph, node by node.

Every tensor gets one symmetric scale (value = stored * scale): int8 where a matrix product reads it, but for the z-scores of the features;
int16 elsewhere. The residual stream keeps a single scale, so that adding needs no requantisation; the state of the selective state space
has one scale per head; what leaves a projection in parts (z, xBC, dt) has one scale a part.
"""

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from export.stepgraph import GraphBuilder, metadata
from quantization.calibrate import Observed
from quantization.context import HEADROOM, DecoderContext
from quantization.fixedpoint import INT8_LIMIT, INT16_LIMIT, stored_scale
from quantization.formats import Formats, limits
from quantization.functions import functions
from quantization.operator import Quantiser
from quantization.operators import OF_EITHER_WIDTH, QUANTISERS
from realm_edge.errors import UserError
from realm_edge.models.student import CLIP

# In int8 the z-scores of four electrodes' sorted units cost 0.006 of R2 (docs/results.md); all else is made of them.
ZSCORES = frozenset(["Normalise"])


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
    )
    n_features = len(context.feature_scale)
    context.graph.input("features", np.int16, (n_features,), unit="front-end features", scale=context.feature_scale.tolist(), offset=0.0)
    for node in model.graph.node:
        if node.op_type not in _HANDLERS:
            raise UserError(f"decoder: operator '{node.op_type}' of node '{node.name}' has no integer counterpart")
        _HANDLERS[node.op_type](context, node)
    decoded = about["io"]["decoded"]
    scale = np.asarray(decoded["scale"]) * context.scale["decoded"]
    context.graph.output("decoded", np.int16, (len(scale),), **{**decoded, "scale": scale.tolist()})
    scales = {name: float(value) for name, value in context.scale.items() if np.ndim(value) == 0}
    return context.graph.build(kind="decoder", rate_hz=about["rate_hz"], scales=scales, made_from=made_from, warm_up_bins=observed.warm_up)


def int8_tensors(model: onnx.ModelProto, formats: Formats) -> frozenset[str]:
    """What matrix products read, but what of it is int16: z-scores of features, or with int16 activations all that can be.

    That is what comes from an operator that makes either width and goes to linear layers alone.
    """
    read = {node.input[0] for node in model.graph.node if node.op_type in ("Linear", "ChannelConv", "Fir")}
    others = {name for node in model.graph.node if node.op_type != "Linear" for name in node.input}
    makers = ZSCORES if formats.activations == "int8" else OF_EITHER_WIDTH
    return frozenset(read - ({name for node in model.graph.node if node.op_type in makers for name in node.output} - others))


def _tensor_scales(model: onnx.ModelProto, observed: Observed, limit: dict[str, int], formats: Formats) -> dict[str, float | NDArray]:
    """One scale per tensor; tensors that an addition or an identity ties share theirs, split tensors carry those of their parts."""
    narrow = int8_tensors(model, formats)
    scale: dict[str, float | NDArray] = {}
    for name in observed.tensors:
        if name in narrow:
            scale[name] = stored_scale(observed.usual_peak(name), INT8_LIMIT)
        else:
            scale[name] = stored_scale(HEADROOM * observed.peak(name), limit.get(name, INT16_LIMIT))
    residual = {name for node in model.graph.node if node.op_type == "Add" for name in [*node.input, *node.output]}
    if residual:
        widest = max(float(scale[name]) for name in residual)
        scale.update(dict.fromkeys(residual, widest))
    for node in model.graph.node:
        if node.op_type == "Normalise" and node.output[0] not in narrow:  # float clips there
            scale[node.output[0]] = stored_scale(CLIP)
        if node.op_type == "GruStep":  # adds its inputs, the second at most whole
            sums = sum(np.abs(observed.tensors[name]) for name in node.input[:2])
            scale.update(dict.fromkeys(node.input[:2], stored_scale(HEADROOM * float(np.max(sums)))))
    for node in model.graph.node:
        if node.op_type == "Identity":
            scale[node.input[0]] = scale[node.output[0]]
    for node in reversed(model.graph.node):
        if node.op_type == "Split":
            parts = [np.full(observed.tensors[o].shape[1], scale[o]) for o in node.output]
            scale[node.input[0]] = np.concatenate(parts)
    return scale


def _split(context: DecoderContext, node: onnx.NodeProto) -> None:
    sizes = context.const(node.input[1], context.constants[node.input[1]], np.int64)
    context.graph.node("Split", [node.input[0], sizes], node.output, node.name, domain="", axis=helper.get_node_attr_value(node, "axis"))


def _identity(context: DecoderContext, node: onnx.NodeProto) -> None:
    context.graph.node("Identity", node.input, node.output, node.name, domain="")


_HANDLERS: dict[str, Quantiser] = {**QUANTISERS, "Split": _split, "Identity": _identity}
