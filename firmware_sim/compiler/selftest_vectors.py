"""Golden vectors of a bundle's self-test: input that a few lines of C compute as well, and what the reference makes of it.

No recording is in a bundle: one would take flash (38 kB for a bin of 32 channels at 30 kS/s), and belongs to whoever it was taken from.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from firmware_sim.bundle import blocks_in
from quantization.reference import ReferenceStepper

MOST_BINS, LEAST_BINS = 100, 16
_TICKS = 2400  # of a run, where that leaves enough bins


@dataclass(frozen=True)
class Extent:
    """How much input a self-test has.

    Attributes:
        inputs: int16 of a tick.
        ticks: of a bin.
    """

    inputs: int
    ticks: int

    @property
    def bins(self) -> int:
        """As many as fit :data:`_TICKS`: small cores run them three times within seconds, and the reference is plain numpy."""
        return max(LEAST_BINS, min(MOST_BINS, _TICKS // self.ticks))

    @property
    def reset_bin(self) -> int:
        """Before which state is reset."""
        return self.bins * 3 // 4

    @property
    def blocks(self) -> int:
        """Of a bin; those in which the simulated firmware takes its samples, so that cycles can be compared."""
        return blocks_in(self.ticks)


@dataclass(frozen=True)
class Vectors:
    """Expected outputs (bins, outputs), and the features (bins, features) of a front end, None where there is none."""

    decoded: NDArray[np.int16]
    features: NDArray[np.int16] | None

    @property
    def features_crc32(self) -> int:
        """CRC-32/ISO-HDLC of the features as they lie in memory."""
        return 0 if self.features is None else zlib.crc32(self.features.astype("<i2").tobytes())


def make_input(extent: Extent) -> NDArray[np.int16]:
    """Noise over a level, of which each bin has other sizes, from most of the range of int16 down to a few counts: (bins * ticks, inputs).

    The C of ``templates/selftest.c`` computes the same.
    """
    bins = np.arange(extent.bins, dtype=np.uint32)
    sizes = _mixed(np.uint32(0x80000000) + bins)
    noise, level = (((sizes >> s) & 7) + ((sizes >> (s + 3)) & 3) for s in (0, 8))
    ticks = np.arange(extent.bins * extent.ticks * extent.inputs, dtype=np.uint32).reshape(extent.bins, extent.ticks, extent.inputs)
    levels = np.uint32(0xC0000000) + np.arange(extent.bins * extent.inputs, dtype=np.uint32).reshape(extent.bins, 1, extent.inputs)
    made = _spread(ticks, noise[:, None, None]) + _spread(levels, level[:, None, None])
    return made.astype(np.int16).reshape(-1, extent.inputs)


def _mixed(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """MurmurHash3's finaliser, behind a product that parts neighbours; modulo 2**32."""
    x = x * np.uint32(0x9E3779B1)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def _spread(index: NDArray[np.uint32], shift: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Divided as C divides: towards zero."""
    value = (_mixed(index) >> np.uint32(16)).astype(np.int64) - 32768
    return np.sign(value) * (np.abs(value) // (np.int64(2) << shift.astype(np.int64)))


def expected(frontend: onnx.ModelProto | None, decoder: onnx.ModelProto, extent: Extent) -> Vectors:
    """What the integer reference makes of :func:`make_input`.

    Args:
        frontend: int8 step graph; None where the input are features.
        decoder: int8 step graph.
    """
    samples = make_input(extent)
    features = samples if frontend is None else np.array(list(_features(frontend, samples, extent)), np.int16)
    return Vectors(np.array(list(_decoded(decoder, features, extent)), np.int16), None if frontend is None else features)


def _features(model: onnx.ModelProto, samples: NDArray[np.int16], extent: Extent) -> Iterator[NDArray]:
    stepper = ReferenceStepper(model)
    for tick, sample in enumerate(samples):
        if tick == extent.reset_bin * extent.ticks:
            stepper.reset()
        made = stepper.step({"sample": sample})
        if made["valid"][0]:
            yield made["features"]


def _decoded(model: onnx.ModelProto, features: NDArray[np.int16], extent: Extent) -> Iterator[NDArray]:
    stepper = ReferenceStepper(model)
    for bin_, row in enumerate(features):
        if bin_ == extent.reset_bin:
            stepper.reset()
        yield stepper.step({"features": row})["decoded"]
