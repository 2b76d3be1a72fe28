"""One TIR function per operator of the integer step graphs, specialised by shapes, constants and proven bounds.

:mod:`quantization.arithmetic` defines what each computes; the names here are those of its operators.
"""

from collections.abc import Callable

from firmware_sim.compiler.kernels.baselines import q_fir, q_gru_step
from firmware_sim.compiler.kernels.channels import q_channel_attention, q_channel_conv, q_channel_gate
from firmware_sim.compiler.kernels.elementwise import q_add, q_normalise, q_table
from firmware_sim.compiler.kernels.filters import q_biquad, q_common_average
from firmware_sim.compiler.kernels.interface import Kernel, Node
from firmware_sim.compiler.kernels.linear import q_conv, q_linear, q_linear16
from firmware_sim.compiler.kernels.norms import q_gated_norm, q_layer_norm
from firmware_sim.compiler.kernels.readout import q_bin_features, q_spike_count
from firmware_sim.compiler.kernels.selective import q_selective_step
from firmware_sim.compiler.kernels.zscore import q_running_z

BUILDERS: dict[str, Callable[[Node], Kernel]] = {
    "QNormalise": q_normalise,
    "QLinear": q_linear,
    "QLinear16": q_linear16,
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
