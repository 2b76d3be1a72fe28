"""What each format of a quantised decoder costs: a table with one row per tensor, measured on training bins."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from export.stepgraph import Stepper, metadata, with_outputs
from quantization.calibrate import Observed
from quantization.decoder import int8_tensors
from quantization.fixedpoint import INT8_LIMIT, INT16_LIMIT
from quantization.formats import Formats, limits
from quantization.golden import float_decoded
from quantization.inputs import stored as in_counts
from quantization.summaries import Row
from quantization.weights import weight_scale
from realm_edge.metrics import nrmse

STRETCHES, STRETCH_BINS = 4, 150  # of the training part, evenly spread

Arrays = dict[str, NDArray]


@dataclass(frozen=True)
class Stretches:
    """Stretches of training bins, joined, that decoders are compared on, each from the zero state; int8 reads what float reads, rounded."""

    features: NDArray[np.float32]  # (bins, n_features)
    stored: NDArray[np.int16]  # the same in units of the integer front end

    @staticmethod
    def of(features: NDArray[np.float32], feature_scale: ArrayLike) -> "Stretches":
        """From features (bins, n_features) of the training part, those that count one after the other; all of them where they are few."""
        bins = min(STRETCH_BINS, len(features) // STRETCHES)
        starts = np.linspace(0, len(features) - bins, STRETCHES).astype(int)
        chosen = features[(starts[:, None] + np.arange(bins)).ravel()]
        return Stretches(chosen, in_counts(chosen, feature_scale))


@dataclass(frozen=True)
class _Format:
    dtype: str
    scale: NDArray[np.float64]  # broadcasts against the values
    limit: int


def tensor_table(
    model: onnx.ModelProto, decoder: onnx.ModelProto, observed: Observed, formats: Formats, stretches: Stretches
) -> tuple[Row, ...]:
    """A row for each activation and state that float and integer decoder both have, and for each int8 weight.

    Args:
        model: from :mod:`export.decoder_graph`.
        decoder: the integer twin that :func:`quantization.decoder.quantize_decoder` made with ``observed`` and ``formats``.
        stretches: what both run over.
    """
    activations, states = _activations(model, decoder, observed, formats), _states(decoder)
    exact = _trace(model, stretches.features, tuple(activations))
    stored = _trace(decoder, stretches.stored, tuple(activations))
    rows = []
    for name, form in {**activations, **states}.items():
        if name == "features":
            alone = float_decoded(model, (stretches.stored * form.scale).astype(np.float32))
        else:
            alone = float_decoded(_rounded(model, name, form), stretches.features)
        rows.append(
            Row(
                tensor=name,
                kind="state" if name in states else "activation",
                dtype=form.dtype,
                shape=stored[name].shape[1:],
                scale=(float(form.scale.min()), float(form.scale.max())),
                saturated=_saturated(stored[name], exact[name], form),
                sqnr_db=_sqnr(exact[name], stored[name] * form.scale),
                nrmse_alone=nrmse(alone, exact["decoded"]),
            )
        )
    return (*rows, *_weights(model, decoder, formats, stretches, exact["decoded"]))


def _activations(model: onnx.ModelProto, decoder: onnx.ModelProto, observed: Observed, formats: Formats) -> dict[str, _Format]:
    """Formats in graph order. Left out is what a split or an identity gives another name without rounding it again."""
    about, narrow, limit = metadata(decoder), int8_tensors(model, formats), limits(model, observed)
    left_out = {node.input[0] for node in model.graph.node if node.op_type in ("Identity", "Split")}
    forms = {"features": _Format("int16", np.array(about["io"]["features"]["scale"]), INT16_LIMIT)}
    for name in (name for name in observed.tensors if name not in left_out):
        scale = np.array(about["scales"][name])
        if name in narrow:
            forms[name] = _Format("int8", scale, INT8_LIMIT)
        else:
            forms[name] = _Format("int16", scale, limit.get(name, INT16_LIMIT))
    return forms


def _states(decoder: onnx.ModelProto) -> dict[str, _Format]:
    return {
        state["out"]: _Format(
            state["dtype"],
            np.array(state["scale"]).reshape(-1, *[1] * (len(state["shape"]) - 1)),
            np.iinfo(state["dtype"]).max,
        )
        for state in metadata(decoder)["states"]
    }


def _trace(model: onnx.ModelProto, features: NDArray, tensors: tuple[str, ...]) -> Arrays:
    """Values (bins, ...) of tensors and next states over features (bins, n_features), from the zero state."""
    inner = [tensor for tensor in tensors if tensor not in ("features", "decoded")]
    stepper = Stepper(with_outputs(model, inner), inner)
    kept: dict[str, list[NDArray]] = {}
    for row in features:
        out = stepper.step({"features": row})
        states = {name.replace("state.", "next.", 1): value for name, value in stepper.state.items()}
        for key, value in {"features": row, **out, **states}.items():
            kept.setdefault(key, []).append(value)
    return {key: np.array(values) for key, values in kept.items()}


def _rounded(model: onnx.ModelProto, name: str, form: _Format) -> onnx.ModelProto:
    """A copy of a float graph in which whoever reads ``name`` reads it rounded and clipped to ``form``."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = copy.graph.node
    at = next(i for i, node in enumerate(nodes) if name in node.output)
    exact, codes, clipped = (f"{name}.{what}" for what in ("exact", "codes", "clipped"))
    nodes[at].output[list(nodes[at].output).index(name)] = exact
    constants = {"scale": form.scale, "least": -form.limit, "most": form.limit}
    scale, least, most = (f"{name}.{what}" for what in constants)
    copy.graph.initializer.extend(numpy_helper.from_array(np.asarray(v, np.float32), f"{name}.{k}") for k, v in constants.items())
    steps = [("Div", [exact, scale], codes), ("Round", [codes], f"{codes}.whole"), ("Clip", [f"{codes}.whole", least, most], clipped)]
    for offset, (op, inputs, output) in enumerate([*steps, ("Mul", [clipped, scale], name)], start=1):
        nodes.insert(at + offset, helper.make_node(op, inputs, [output]))
    return copy


def _weights(
    model: onnx.ModelProto, decoder: onnx.ModelProto, formats: Formats, stretches: Stretches, decoded: NDArray[np.float32]
) -> Iterator[Row]:
    scales, float_weights = metadata(decoder)["scales"], {i.name: i for i in model.graph.initializer}
    codes = {i.name: i for i in decoder.graph.initializer if i.data_type == onnx.TensorProto.INT8}
    for node in model.graph.node:
        name = f"{node.name}.weight"
        if name not in codes:
            continue
        source = next(i for i in node.input if i in float_weights)
        exact, stored = (numpy_helper.to_array(i).astype(np.float64) for i in (float_weights[source], codes[name]))
        if node.op_type == "ChannelAttention":
            scale = np.array(max(float(np.max(np.abs(exact))) / INT8_LIMIT, float(np.finfo(np.float32).tiny)))
        else:
            bias = numpy_helper.to_array(float_weights[node.input[list(node.input).index(source) + 1]]).astype(np.float64)
            scale = weight_scale(exact, bias, scales[node.input[0]], formats)
        replaced = onnx.ModelProto()
        replaced.CopyFrom(model)
        target = next(i for i in replaced.graph.initializer if i.name == source)
        target.CopyFrom(numpy_helper.from_array((stored * scale).astype(np.float32), source))
        yield Row(
            tensor=name,
            kind="weight",
            dtype="int8",
            shape=stored.shape,
            scale=(float(scale.min()), float(scale.max())),
            saturated=None,
            sqnr_db=_sqnr(exact, stored * scale),
            nrmse_alone=nrmse(float_decoded(replaced, stretches.features), decoded),
        )


def _saturated(stored: NDArray, exact: NDArray, form: _Format) -> float:
    """Share of the values at the rail whose float counterparts lie beyond it: z-scores may reach the rail because float clips there."""
    at_rail = np.abs(stored.astype(np.int64)) >= form.limit
    return float(np.mean(at_rail & (np.abs(exact) > (form.limit + 0.5) * form.scale)))


def _sqnr(exact: NDArray, approximate: ArrayLike) -> float | None:
    signal, noise = float(np.sum(np.square(exact, dtype=np.float64))), float(np.sum((exact - approximate) ** 2.0))
    return 10 * float(np.log10(signal / noise)) if signal > 0 and noise > 0 else None
