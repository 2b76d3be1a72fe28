"""Float decoder step graph to integer decoder step graph, node by node.

Every tensor gets one symmetric scale (value = stored * scale): int8 where a matrix product reads it, but for those that the
selection widens, int16 elsewhere. The residual stream keeps a single scale, so that adding needs no requantisation; the state of
the selective state space has one scale a head; what leaves a projection in parts (z, xBC, dt) has one scale a part.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper
from scipy.special import expit

from export.functions import INT8, INT16
from export.stepgraph import GraphBuilder, metadata
from quantization.activations import gelu, silu
from quantization.arithmetic import DECAY_SHIFT, SUM_OF_SQUARES_BITS, TABLE_SEGMENTS
from quantization.calibrate import Observed
from quantization.fixedpoint import INT8_LIMIT, INT16_LIMIT, fixed_point, stored_scale, table
from quantization.formats import Formats, int8_tensors, limits
from quantization.functions import functions
from quantization.observers import OBSERVERS
from realm_edge.errors import UserError
from realm_edge.models.student import CLIP

HEADROOM = 1.5  # of int16 tensors over the largest value seen in calibration
MULTIPLIER_BITS = 30
NORM_WEIGHT_BITS = 15  # times a Q15 value stays in int32


@dataclass
class _Context:
    """What the handlers share while they walk the float graph."""

    graph: GraphBuilder
    constants: dict[str, NDArray]
    observed: Observed
    formats: Formats
    limit: dict[str, int]  # tensors that must stay within less than int16
    scale: dict[str, float | NDArray]  # tensor: its scale, or one scale an element
    feature_scale: NDArray[np.float64]
    narrow: frozenset[str]  # the int8 tensors

    def type_of(self, tensor: str) -> int:
        """Its ONNX element type."""
        return INT8 if tensor in self.narrow else INT16

    def const(self, name: str, value: ArrayLike, dtype: type) -> str:
        return self.graph.constant(name, value, dtype)

    def scalar(self, name: str, value: int) -> str:
        return self.graph.constant(name, value, np.int64)


def quantize_decoder(
    model: onnx.ModelProto, observed: Observed, feature_scale: ArrayLike, made_from: dict[str, str], formats: Formats | None = None
) -> onnx.ModelProto:
    """The integer twin of a float decoder.

    Args:
        model: from :mod:`export.decoder_graph`.
        observed: its tensors on training data.
        feature_scale: (n_features,), what one count of the integer features is worth: ``io.features.scale`` of the front end.
        made_from: hashes of the inputs, for the metadata.
        formats: what is left open; the default choices where it is None.

    Raises:
        UserError: a tensor whose range no single scale can hold, or an operator that has no integer counterpart.
    """
    about, limit, formats = metadata(model), limits(model, observed), formats or Formats()
    context = _Context(
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


def _tensor_scales(model: onnx.ModelProto, observed: Observed, limit: dict[str, int], formats: Formats) -> dict[str, float | NDArray]:
    """One scale a tensor; tensors that an addition or an identity ties share theirs, split tensors carry those of their parts."""
    narrow = int8_tensors(model, formats)
    scale: dict[str, float | NDArray] = {}
    for name, values in observed.tensors.items():
        if name in narrow:
            scale[name] = stored_scale(OBSERVERS[formats.observer(name)](values, INT8_LIMIT), INT8_LIMIT)
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


def _normalise(context: _Context, node: onnx.NodeProto) -> None:
    mean, inv_std = (context.constants[name] for name in node.input[1:])
    gain = inv_std / float(context.scale[node.output[0]])
    _standardise(context, node, "features", gain * context.feature_scale, -mean * gain, MULTIPLIER_BITS)


def _narrow(context: _Context, node: onnx.NodeProto) -> None:
    """From the Q15 of hidden values to what a matrix product reads."""
    n = context.observed.tensors[node.output[0]].shape[1]
    gain = np.full(n, 2.0**-DECAY_SHIFT / float(context.scale[node.output[0]]))
    _standardise(context, node, node.input[0], gain, np.zeros(n), NORM_WEIGHT_BITS)


def _standardise(context: _Context, node: onnx.NodeProto, x: str, gain: NDArray, offset: NDArray, bits: int) -> None:
    mult, k = fixed_point(gain, bits, node.name)
    names = [
        context.const(f"{node.name}.mult", mult, np.int32),
        context.const(f"{node.name}.bias", np.rint(offset * 2.0**k), np.int64),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QNormalise", [x, *names], node.output, node.name, to=context.type_of(node.output[0]))


def _linear(context: _Context, node: onnx.NodeProto) -> None:
    x, weight, bias = node.input[0], context.constants[node.input[1]], context.constants[node.input[2]]
    op = "QLinear16" if x in context.formats.wide else "QLinear"
    context.graph.node(op, [x, *_weights(context, node, weight, bias)], node.output, node.name)


def _weights(context: _Context, node: onnx.NodeProto, weight: NDArray, bias: NDArray) -> list[str]:
    """int8 weights (terms, out), int32 bias and multiplier, and the shift, of a sum of products that requantises from input to output."""
    scale_in, scale_out = float(context.scale[node.input[0]]), context.scale[node.output[0]]
    scale_w = weight_scale(weight, bias, scale_in, context.formats)  # (out,)
    mult, k = fixed_point(scale_in * scale_w / scale_out, MULTIPLIER_BITS, node.name)
    return [
        context.const(f"{node.name}.weight", np.rint(weight / scale_w), np.int8),
        context.const(f"{node.name}.bias", np.rint(bias / (scale_in * scale_w)), np.int32),
        context.const(f"{node.name}.mult", mult, np.int32),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]


def weight_scale(weight: NDArray, bias: NDArray, scale_in: float, formats: Formats) -> NDArray[np.float64]:
    """Scale of each output channel's weights, (out,): its largest weight at 127, and coarse enough for an int32 bias."""
    largest = np.max(np.abs(weight), axis=0) / INT8_LIMIT
    scale = np.maximum(np.maximum(largest, np.abs(bias) / (scale_in * 2.0**30)), np.finfo(np.float32).tiny)
    return scale if formats.per_channel_weights else np.full_like(scale, scale.max())


def _layer_norm(context: _Context, node: onnx.NodeProto) -> None:
    x, out = node.input[0], node.output[0]
    weight, bias, eps = (context.constants[name] for name in node.input[1:])
    n = len(weight)
    g = int(np.ceil(np.log2(n))) + 1  # n x - sum(x) fits 16 bits after it
    scale_c = float(context.scale[x]) * 2**g / n
    real = np.stack([weight * np.sqrt(n) / 2**15, bias / 2**15]) / float(context.scale[out])
    _, k = fixed_point(real, NORM_WEIGHT_BITS, node.name, max_shift=30)  # bias * 2^15 stays below 2^30 as well
    names = [
        context.scalar(f"{node.name}.n", n),
        context.scalar(f"{node.name}.two_g", 2**g),
        context.const(f"{node.name}.weight", np.rint(real[0] * 2.0**k), np.int32),
        context.const(f"{node.name}.bias", np.rint(real[1] * 2.0 ** (k + 15)), np.int32),
        context.scalar(f"{node.name}.eps", _eps(float(eps), n, scale_c, node.name)),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QLayerNorm", [x, *names], [out], node.name, to=context.type_of(out))


def _eps(eps: float, n: int, scale: float, what: str) -> int:
    """eps of a norm in squared counts, summed over n; at least 1, so that a silent input gives 0 and not a division by 0."""
    counts = max(1, round(n * eps / scale**2))
    if counts >= 2 ** (SUM_OF_SQUARES_BITS - 1):
        raise UserError(f"{what}: its input is smaller than the norm's eps by far ({scale:.3g} a count); the model is not trained")
    return counts


def _activation(context: _Context, node: onnx.NodeProto) -> None:
    function = {"Silu": silu, "Gelu": gelu}[node.op_type]
    _tabulated(context, function, node.input[0], node.output[0], node.name, float(context.scale[node.output[0]]))


def _tabulated(context: _Context, function: Callable, x: str, out: str, name: str, scale_out: float) -> None:
    points = table(function, float(context.scale[x]), scale_out, context.limit.get(out, INT16_LIMIT), context.formats.table_segments)
    names = [context.const(f"{name}.table", points, np.int16), context.scalar(f"{name}.base", 0)]
    context.graph.node("QTable", [x, *names], [out], f"{name}.{function.__name__}")


def _conv(context: _Context, node: onnx.NodeProto) -> None:
    x, state_in, weight, bias = node.input[0], node.input[1], context.constants[node.input[2]], context.constants[node.input[3]]
    shape = (len(weight) - 1, weight.shape[1])
    state = context.graph.state(state_in.removeprefix("state."), np.int16, shape, scale=float(context.scale[x]))
    context.graph.node("QConv", [x, state[0], *_weights(context, node, weight, bias)], [node.output[0], state[1]], node.name)


def _channel_conv(context: _Context, node: onnx.NodeProto) -> None:
    x, state_in, weight, bias = node.input[0], node.input[1], context.constants[node.input[2]], context.constants[node.input[3]]
    n_features = context.observed.tensors[x].shape[1]
    shape = (len(weight) * context.observed.tensors[node.output[0]].shape[1] // (n_features * weight.shape[1]) - 1, n_features)
    state = context.graph.state(state_in.removeprefix("state."), np.int8, shape, scale=float(context.scale[x]))
    context.graph.node("QChannelConv", [x, state[0], *_weights(context, node, weight, bias)], [node.output[0], state[1]], node.name)


def _channel_attention(context: _Context, node: onnx.NodeProto) -> None:
    x, mean, out = node.input[0], node.input[1], node.output[0]
    weight, leak = context.constants[node.input[2]], float(context.constants[node.input[3]])
    seen = context.observed.tensors[x]
    channels = context.observed.tensors[out].shape[1]
    maps = seen.shape[1] // channels
    f = 30 - int(np.ceil(np.log2(maps * INT16_LIMIT)))  # what is taken from the mean or added stays in int32
    scale_mean = float(context.scale[x]) / (maps * 2**f)
    # A mean over time is no larger than what it is a mean of.
    widest = HEADROOM * float(np.max(np.abs(seen.reshape(-1, channels, maps).mean(axis=2)))) / scale_mean
    r = max(0, int(np.ceil(np.log2(max(widest, 1.0) / INT16_LIMIT))))
    scale_w = max(float(np.max(np.abs(weight))) / INT8_LIMIT, float(np.finfo(np.float32).tiny))
    mult, k = fixed_point(scale_mean * 2**r * scale_w / float(context.scale[out]), MULTIPLIER_BITS, node.name)
    state = context.graph.state(mean.removeprefix("state."), np.int32, (channels,), scale=scale_mean)
    names = [
        context.scalar(f"{node.name}.two_f", 2**f),
        context.scalar(f"{node.name}.two_leak", round(1 / leak)),
        context.scalar(f"{node.name}.two_r", 2**r),
        context.const(f"{node.name}.weight", np.rint(weight / scale_w), np.int8),
        context.scalar(f"{node.name}.mult", int(mult)),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QChannelAttention", [x, state[0], *names], [out, state[1]], node.name)


def _channel_gate(context: _Context, node: onnx.NodeProto) -> None:
    """The table of the sigmoid is scaled so that the product needs a shift only."""
    x, logit, out = node.input[0], node.input[1], node.output[0]
    gain = float(context.scale[x]) / float(context.scale[out])
    _, k = fixed_point(gain, 16, node.name, max_shift=30)  # a gate is at most 1
    gate = f"{node.name}.gate"
    _tabulated(context, expit, logit, gate, gate, 1 / (gain * 2.0**k))
    context.graph.node("QChannelGate", [x, gate, context.scalar(f"{node.name}.two_k", 2**k)], [out], node.name)


def _selective_step(context: _Context, node: onnx.NodeProto) -> None:
    """Tables for decay and dt, then the step; see :func:`quantization.arithmetic.q_selective_step` for the scales."""
    x, b, c, dt_raw, h = node.input[:5]
    dt_bias, a, d = (context.constants[name] for name in node.input[5:])
    seen = context.observed.tensors
    heads = len(a)
    dt_seen = np.logaddexp(0.0, seen[dt_raw] + dt_bias)  # (bins, heads)
    u_peak = np.max(np.abs(dt_seen[:, :, None] * seen[x].reshape(len(seen[x]), heads, -1)), axis=(0, 2))  # (heads,)
    scale_x, scale_b, scale_c = (float(context.scale[name]) for name in (x, b, c))
    h_peak = context.observed.state_peaks[node.output[1]].astype(np.float64)
    # u * B is added to h * 2^15: the scale of u follows from those of h and B, so h must also be wide enough for u.
    scale_h = np.maximum(HEADROOM * h_peak, HEADROOM * u_peak * INT16_LIMIT * scale_b) / INT16_LIMIT
    scale_h = np.maximum(scale_h, np.finfo(np.float32).tiny)
    scale_u = scale_h / (2.0**DECAY_SHIFT * scale_b)

    scale_dt = float(context.scale[dt_raw])
    gain = scale_x / scale_u  # (heads,)
    _, k_u = fixed_point(HEADROOM * dt_seen.max(axis=0) * gain, 15, f"{node.name}.dt", max_shift=30)
    base = context.const(f"{node.name}.rows", np.arange(heads) * (TABLE_SEGMENTS + 1), np.int64)
    rows = range(heads)

    def decay_of(head: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        return lambda v: np.exp(np.logaddexp(0.0, v + dt_bias[head]) * a[head])

    def step_of(head: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        return lambda v: np.logaddexp(0.0, v + dt_bias[head]) * gain[head]

    segments = context.formats.table_segments
    decay = [table(decay_of(i), scale_dt, 2.0**-DECAY_SHIFT, segments=segments) for i in rows]
    steps = [table(step_of(i), scale_dt, 2.0**-k_u, segments=segments) for i in rows]
    for what, points in (("decay", decay), ("dt", steps)):
        name = f"{node.name}.{what}"
        context.graph.node("QTable", [dt_raw, context.const(f"{name}.table", np.concatenate(points), np.int16), base], [name], name)

    scale_y = float(context.scale[node.output[0]])
    gains = np.stack([scale_h * scale_c / scale_y, d * scale_x / scale_y])
    mult, k_y = fixed_point(gains, MULTIPLIER_BITS, node.name)
    shape = (heads, seen[x].shape[1] // heads, seen[b].shape[1])
    state = context.graph.state(h.removeprefix("state."), np.int16, shape, scale=scale_h.tolist())
    names = [
        context.scalar(f"{node.name}.two_u", 2**k_u),
        context.const(f"{node.name}.y_mult", mult[0], np.int32),
        context.const(f"{node.name}.d_mult", mult[1], np.int32),
        context.scalar(f"{node.name}.two_y", 2**k_y),
    ]
    inputs = [x, b, c, f"{node.name}.decay", f"{node.name}.dt", state[0], *names]
    context.graph.node("QSelectiveStep", inputs, [node.output[0], state[1]], node.name)


def _gated_norm(context: _Context, node: onnx.NodeProto) -> None:
    y, z, weight, eps = node.input[0], node.input[1], context.constants[node.input[2]], float(context.constants[node.input[3]])
    seen = context.observed.tensors
    gate_seen = seen[z] * expit(seen[z])
    scale_y, scale_gate = float(context.scale[y]), stored_scale(HEADROOM * float(np.max(np.abs(gate_seen))))
    gate = f"{node.name}.gate"
    _tabulated(context, silu, z, gate, gate, scale_gate)
    widest = HEADROOM * float(np.max(np.abs(seen[y] * gate_seen))) / (scale_y * scale_gate)  # in units of the product
    k_v = max(0, int(np.ceil(np.log2(max(widest, 1.0) / INT16_LIMIT))))
    scale_v = scale_y * scale_gate * 2.0**k_v
    n = len(weight)
    mult, k = fixed_point(weight * np.sqrt(n) / 2**15 / float(context.scale[node.output[0]]), NORM_WEIGHT_BITS, node.name, max_shift=30)
    names = [
        context.scalar(f"{node.name}.two_v", 2**k_v),
        context.const(f"{node.name}.weight", mult, np.int32),
        context.scalar(f"{node.name}.eps", _eps(eps, n, scale_v, node.name)),
        context.scalar(f"{node.name}.two_k", 2**k),
    ]
    context.graph.node("QGatedNorm", [y, gate, *names], node.output, node.name, to=context.type_of(node.output[0]))


def _fir(context: _Context, node: onnx.NodeProto) -> None:
    x, state_in, weight, bias = node.input[0], node.input[1], context.constants[node.input[2]], context.constants[node.input[3]]
    names = _weights(context, node, weight, bias)
    mult, two_k = (context.graph.constants[name] for name in names[2:])
    shape = (len(weight) // context.observed.tensors[x].shape[1] - 1, len(bias))
    scale = (mult / two_k * context.scale[node.output[0]]).tolist()
    state = context.graph.state(state_in.removeprefix("state."), np.int32, shape, scale=scale)
    context.graph.node("QFir", [x, state[0], *names], [node.output[0], state[1]], node.name)


def _gru_step(context: _Context, node: onnx.NodeProto) -> None:
    x, recurrent, h = node.input
    tables = [
        context.const(f"{node.name}.{what}", table(function, float(context.scale[x]), 2.0**-DECAY_SHIFT), np.int16)
        for what, function in (("sigmoid", expit), ("tanh", np.tanh))
    ]
    shape = (context.observed.tensors[x].shape[1] // 3,)
    state = context.graph.state(h.removeprefix("state."), np.int16, shape, scale=2.0**-DECAY_SHIFT)
    context.graph.node("QGruStep", [x, recurrent, state[0], *tables], [state[1]], node.name)


def _split(context: _Context, node: onnx.NodeProto) -> None:
    sizes = context.const(node.input[1], context.constants[node.input[1]], np.int64)
    context.graph.node("Split", [node.input[0], sizes], node.output, node.name, domain="", axis=helper.get_node_attr_value(node, "axis"))


def _add(context: _Context, node: onnx.NodeProto) -> None:
    context.graph.node("QAdd", node.input, node.output, node.name)


def _identity(context: _Context, node: onnx.NodeProto) -> None:
    context.graph.node("Identity", node.input, node.output, node.name, domain="")


_HANDLERS = {
    "Normalise": _normalise,
    "Linear": _linear,
    "LayerNorm": _layer_norm,
    "Silu": _activation,
    "Gelu": _activation,
    "Conv": _conv,
    "ChannelConv": _channel_conv,
    "ChannelAttention": _channel_attention,
    "ChannelGate": _channel_gate,
    "SelectiveStep": _selective_step,
    "GatedNorm": _gated_norm,
    "Fir": _fir,
    "Narrow": _narrow,
    "GruStep": _gru_step,
    "Split": _split,
    "Add": _add,
    "Identity": _identity,
}
