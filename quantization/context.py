"""What the quantisers of the operators share while a float graph is walked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from export.functions import INT8, INT16
from export.stepgraph import GraphBuilder
from quantization.calibrate import Observed
from quantization.formats import Formats

HEADROOM = 1.5  # of int16 tensors over the largest value seen in calibration
MULTIPLIER_BITS = 30
NORM_WEIGHT_BITS = 15  # times a Q15 value stays in int32


@dataclass
class DecoderContext:
    """What the quantisers of a decoder's nodes share."""

    graph: GraphBuilder
    constants: dict[str, NDArray]
    observed: Observed
    formats: Formats
    limit: dict[str, int]  # tensors that must stay within less than int16
    scale: dict[str, float | NDArray]  # tensor: its scale, or one scale per element
    feature_scale: NDArray[np.float64]
    narrow: frozenset[str]  # the int8 tensors
    functions: Mapping[str, onnx.FunctionProto] = field(default_factory=dict)  # of the float graph

    def type_of(self, tensor: str) -> int:
        """Its ONNX element type."""
        return INT8 if tensor in self.narrow else INT16

    def const(self, name: str, value: ArrayLike, dtype: type) -> str:
        return self.graph.constant(name, value, dtype)

    def scalar(self, name: str, value: int) -> str:
        return self.graph.constant(name, value, np.int64)


@dataclass(frozen=True)
class SignalFormat:
    """How filtered samples are kept: in steps of 2^-guard ADC counts, saturated at ``limit``."""

    guard: int
    limit: int  # of stored values
    rounding: float  # ADC counts that first-order feedback may let a section's rounding errors add up to

    @property
    def fraction(self) -> int:
        """Fraction bits of stored values: a step is 4 of their units (:mod:`quantization.operators.biquad`)."""
        return self.guard + 2


@dataclass
class FrontendContext:
    """What the quantisers of a front end's nodes share."""

    graph: GraphBuilder
    constants: dict[str, NDArray]
    features: NDArray[np.float32]  # (bins, n_features) of the training part, before any running z-score
    fmt: SignalFormat
    channels: int
    ticks: int  # a bin
    gain: float  # of the filtered samples that the filters leave out
    scale: list[float] = field(default_factory=list)  # of the features: set by what makes them

    def const(self, name: str, value: ArrayLike, dtype: type) -> str:
        return self.graph.constant(name, value, dtype)

    def scalars(self, prefix: str, **values: int) -> list[str]:
        """int64 constants ``prefix.name``, in the order they are given in."""
        return [self.graph.constant(f"{prefix}.{name}", value, np.int64) for name, value in values.items()]
