"""The operators of the integer step graphs by their ONNX names."""

from collections.abc import Callable

from numpy.typing import NDArray

from quantization.arithmetic import (
    q_add,
    q_channel_attention,
    q_channel_conv,
    q_channel_gate,
    q_conv,
    q_fir,
    q_gated_norm,
    q_gru_step,
    q_layer_norm,
    q_linear,
    q_normalise,
    q_selective_step,
    q_table,
)
from quantization.frontend_arithmetic import q_bin_features, q_biquad, q_common_average, q_running_z, q_spike_count

OPERATORS: dict[str, Callable[..., tuple[NDArray, ...]]] = {
    "QNormalise": q_normalise,
    "QLinear": q_linear,
    "QLinear16": q_linear,  # of int16: another ONNX function, the same numbers
    "QLayerNorm": q_layer_norm,
    "QGatedNorm": q_gated_norm,
    "QAdd": q_add,
    "QTable": q_table,
    "QConv": q_conv,
    "QChannelConv": q_channel_conv,
    "QChannelAttention": q_channel_attention,
    "QChannelGate": q_channel_gate,
    "QSelectiveStep": q_selective_step,
    "QFir": q_fir,
    "QGruStep": q_gru_step,
    "QCommonAverage": q_common_average,
    "QBiquad": q_biquad,
    "QBinFeatures": q_bin_features,
    "QSpikeCount": q_spike_count,
    "QRunningZ": q_running_z,
}
