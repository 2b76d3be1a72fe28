"""Drives the step graphs of a stream over bins."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import Stepper
from quantization.ladder import SideBySide

Steps = Stepper | SideBySide


@dataclass(frozen=True)
class Int8Chain:
    """The int8 step graphs of a stream."""

    frontend: onnx.ModelProto | None  # None: the implant gets features from elsewhere
    decoder: onnx.ModelProto


def feature_rows(frontend: Steps, blocks: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.int16]]:
    """The features (n,) of each bin; ``blocks`` are its samples (ticks, channels).

    A bin whose samples and entering states are those of the bin before has its outputs and states too, and is not stepped
    again: this is what makes a minute of silence at 30 kHz short.
    """
    last: NDArray | None = None
    entered, row = frontend.state, np.empty(0, np.int16)
    for block in blocks:
        state = frontend.state
        stands_still = last is not None and np.array_equal(block, last) and all(np.array_equal(state[k], entered[k]) for k in state)
        if not stands_still:
            last, entered = block, state
            for sample in block:
                row = frontend.step({"sample": sample})["features"]
        yield row


def decoded_rows(decoder: Steps, rows: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.int16]]:
    """Outputs (dims,) of a decoder over feature rows (n,)."""
    for row in rows:
        yield decoder.step({"features": row})["decoded"]
