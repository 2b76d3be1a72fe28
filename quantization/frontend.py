"""Float front-end step graph to integer front-end step graph."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.stepgraph import GraphBuilder, metadata
from quantization.context import FrontendContext, SignalFormat
from quantization.functions import functions
from quantization.operators import QUANTISERS
from quantization.operators.biquad import INPUT_BITS
from realm_edge.errors import UserError

SPIKE_THRESHOLDS = 16  # beyond which a filtered sample saturates: it is an artefact
MAX_GUARD = 10  # a sum of products below 2^61 (quantization/operators/biquad.py) holds inputs of 29 bits


def lfp_format(ticks: int) -> SignalFormat:
    """As many guard bits as let the sum over a bin of ``ticks`` samples stay within int32.

    Raises:
        UserError: no number of guard bits does.
    """
    guard = min(MAX_GUARD, int(np.floor(np.log2((2**31 - 1) / ticks))) - INPUT_BITS)
    if guard < 0:
        raise UserError(
            f"front end: a bin of {ticks} samples is too long for 32 bits: use shorter bins (bin_ms) or a lower rate (lfp.rate_hz)"
        )
    return SignalFormat(guard, 2 ** (INPUT_BITS + guard + 2), rounding=0.5)


def spike_format(threshold: NDArray[np.float64]) -> SignalFormat:
    """20 bits for at least :data:`SPIKE_THRESHOLDS` times the largest threshold, in counts at the filter's output, and at most full scale.

    How many crossings are counted otherwise than in float depends on rounding noise over the signal's own: so the signal sets the unit.
    """
    counts = min(15, int(np.ceil(np.log2(SPIKE_THRESHOLDS * np.max(np.abs(threshold))))))
    guard = min(MAX_GUARD, 19 - counts)
    return SignalFormat(guard, 2**21, rounding=2.0)


def quantize_frontend(model: onnx.ModelProto, features: NDArray[np.float32], made_from: dict[str, str]) -> onnx.ModelProto:
    """The integer twin of a float front end.

    Args:
        model: from :mod:`export.frontend_graph`.
        features: (bins, n_features) of the training part before any running z-score, to choose the scale of the local motor potential.
        made_from: hashes of the inputs, for the metadata.

    Raises:
        UserError: an operator that has no integer counterpart.
    """
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    ticks = int(constants["bins.ticks"])
    is_lfp = any(node.op_type == "BinFeatures" for node in model.graph.node)
    gain, constants = _gain_left_out(constants)
    fmt = lfp_format(ticks) if is_lfp else spike_format(constants["bins.threshold"])
    channels = len(constants["reference.good"])
    context = FrontendContext(GraphBuilder(model.graph.name, functions()), constants, features, fmt, channels, ticks, gain)
    context.graph.input("sample", np.int16, (channels,), unit="ADC counts", scale=1.0, offset=0.0)
    for node in model.graph.node:
        if node.op_type == "Identity":
            context.graph.node("Identity", node.input, node.output, node.name, domain="")
        elif node.op_type in QUANTISERS:
            QUANTISERS[node.op_type](context, node)
        else:
            raise UserError(f"front end: operator '{node.op_type}' of node '{node.name}' has no integer counterpart")
    context.graph.output("features", np.int16, (len(context.scale),), unit="front-end features", scale=context.scale, offset=0.0)
    context.graph.output("valid", np.int32, (1,), unit="1 on a bin's last tick")
    return context.graph.build(kind="frontend", rate_hz=metadata(model)["rate_hz"], made_from=made_from)


def _gain_left_out(constants: dict[str, NDArray]) -> tuple[float, dict[str, NDArray]]:
    """The high-pass over its b0, and what reads filtered samples times it: the taps for the inputs are 1, -2 and 1 then.

    What the bands make is as large as before, and the same samples cross thresholds. The mean of a bin is still to be multiplied by the
    gain, which is returned.
    """
    coef = constants["pre0.coef"]
    gain = float(coef[0, 0])
    changed = {"pre0.coef": coef / [gain, gain, gain, 1.0, 1.0]}
    if "bands.coef" in constants:
        changed["bands.coef"] = constants["bands.coef"] * [gain, gain, gain, 1.0, 1.0]
    else:
        changed["bins.threshold"] = constants["bins.threshold"] / gain
    return gain, {**constants, **changed}
