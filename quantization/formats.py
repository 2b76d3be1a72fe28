"""Which tensors of a decoder are int8, which stay within less than int16, and what quantising leaves open."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from quantization.arithmetic import TABLE_SEGMENTS
from quantization.calibrate import Observed
from quantization.fixedpoint import INT16_LIMIT
from quantization.observers import DEFAULT

STATE_SUM = 65535  # |C| <= STATE_SUM // d_state keeps the read-out's sum in int32


@dataclass(frozen=True)
class Formats:
    """:mod:`quantization.selection` chooses observers and wide tensors; tests/benchmarks/bench_quantization.py varies the rest."""

    observers: Mapping[str, str] = field(default_factory=dict)  # int8 tensor: name of its observer, where it is not the default
    wide: frozenset[str] = frozenset()  # tensors that matrix products read as int16
    per_channel_weights: bool = True  # one scale per output channel, or one per tensor
    table_segments: int = TABLE_SEGMENTS  # a power of two: the points of coarser tables are joined by straight lines

    def observer(self, tensor: str) -> str:
        """Name of the observer of an int8 tensor."""
        return self.observers.get(tensor, DEFAULT)


def factors(model: onnx.ModelProto) -> tuple[str, ...]:
    """The tensors that matrix products read, in graph order: int8, but for those in :attr:`Formats.wide`."""
    return tuple(dict.fromkeys(node.input[0] for node in model.graph.node if node.op_type in ("Linear", "ChannelConv", "Fir")))


def int8_tensors(model: onnx.ModelProto, formats: Formats) -> frozenset[str]:
    """Those of :func:`factors` that stay int8."""
    return frozenset(factors(model)) - formats.wide


def widenable(model: onnx.ModelProto) -> tuple[str, ...]:
    """Those of :func:`factors` that may be int16: what makes them can, and only linear layers read them."""
    made = {name for node in model.graph.node if node.op_type in ("Normalise", "Narrow", "LayerNorm", "GatedNorm") for name in node.output}
    others = {name for node in model.graph.node if node.op_type != "Linear" for name in node.input}
    return tuple(name for name in factors(model) if name in made - others)


def limits(model: onnx.ModelProto, observed: Observed) -> dict[str, int]:
    """C of the selective state space: so small that the sum over the state fits int32 whatever comes in."""
    steps = [node for node in model.graph.node if node.op_type == "SelectiveStep"]
    return {node.input[2]: min(INT16_LIMIT, STATE_SUM // observed.tensors[node.input[2]].shape[1]) for node in steps}
