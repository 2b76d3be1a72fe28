"""Which tensors of a decoder are int8, which stay within less than int16, and what quantising leaves open."""

from dataclasses import dataclass

import onnx

from quantization.arithmetic import TABLE_SEGMENTS
from quantization.calibrate import Observed
from quantization.fixedpoint import INT16_LIMIT
from realm_edge.settings import Activations

MOVING = frozenset(["Gather", "Concat", "Split", "Identity"])  # operators whose results are elements of their inputs
STATE_SUM = 65535  # |C| <= STATE_SUM // d_state keeps the read-out's sum in int32


@dataclass(frozen=True)
class Formats:
    """Settings say what the activations are; tests/benchmarks/bench_quantization.py varies the rest."""

    activations: Activations = "int8"  # what linear layers read, but for the z-scores of the features, which are int16
    per_channel_weights: bool = True  # one scale per output channel, or one per tensor
    table_segments: int = TABLE_SEGMENTS  # a power of two: the points of coarser tables are joined by straight lines


def limits(model: onnx.ModelProto, observed: Observed) -> dict[str, int]:
    """What is read out of a state with (C of the selective state space, queries): so small that the sum fits int32 whatever comes in."""
    found = {}
    for node in model.graph.node:
        if node.op_type == "SelectiveStep":
            found[node.input[2]] = min(INT16_LIMIT, STATE_SUM // observed.tensors[node.input[2]].shape[1])
        if node.op_type == "LinearAttentionStep":
            d_k = observed.tensors[node.input[1]].shape[1] // len(observed.state_peaks[node.output[1]])
            found[node.input[0]] = min(INT16_LIMIT, STATE_SUM // d_k)
    for node in reversed(model.graph.node):  # what only moves elements has the limit of what it is made of
        for name in node.output:
            if name in found and node.op_type in MOVING:
                found |= {x: min(found[name], found.get(x, INT16_LIMIT)) for x in node.input if x in observed.tensors}
    return found
