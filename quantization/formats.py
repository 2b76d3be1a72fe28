"""What quantising a decoder leaves open."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantization.arithmetic import TABLE_SEGMENTS
from quantization.observers import DEFAULT


@dataclass(frozen=True)
class Formats:
    """Only the observers are chosen, by :mod:`quantization.selection`; the rest is varied by tests/benchmarks/bench_quantization.py."""

    observers: Mapping[str, str] = field(default_factory=dict)  # int8 tensor: name of its observer, where it is not the default
    per_channel_weights: bool = True  # one scale an output channel, or one a tensor
    table_segments: int = TABLE_SEGMENTS  # a power of two: the points of coarser tables are joined by straight lines

    def observer(self, tensor: str) -> str:
        """Name of the observer of an int8 tensor."""
        return self.observers.get(tensor, DEFAULT)
