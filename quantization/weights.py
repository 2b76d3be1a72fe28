"""int8 weights: their scales, and the constants of a sum of products that requantises."""

import numpy as np
import onnx
from numpy.typing import NDArray

from quantization.context import MULTIPLIER_BITS, DecoderContext
from quantization.fixedpoint import INT8_LIMIT, fixed_point
from quantization.formats import Formats


def weights(context: DecoderContext, node: onnx.NodeProto, weight: NDArray, bias: NDArray) -> list[str]:
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
