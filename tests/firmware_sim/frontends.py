"""Integer front ends of chosen shape, and states that they could be in."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from export.stepgraph import GraphBuilder
from quantization.functions import functions
from quantization.operators.biquad import STEP, WORD_BITS

ONE = 2**30  # of a coefficient
REFERENCE_BITS = 20
HIGHPASS = np.array([ONE, -2 * ONE, ONE, 2 * ONE - 95_000_000, -ONE + 91_000_000])
SOFT_HIGHPASS = np.array([ONE - 5000, -2 * ONE + 10000, ONE - 5000, 2 * ONE - 10001, -ONE + 9999])
NOTCH = np.array([ONE - 9_000_000, -2 * ONE + 300_000_000, ONE - 9_000_000, 2 * ONE - 300_000_000, -ONE + 18_000_000])
OTHER_NOTCH = np.array([ONE - 77, -2 * ONE + 300_000_000, ONE - 77, 2 * ONE - 300_000_100, -ONE + 154])
LOWPASS = np.array([2**27, 3 * 2**26, 2**27 + 1, ONE, -ONE // 2])
DIFFERENCE = np.array([ONE, 0, -ONE, ONE - 7, -ONE // 4])
BANDS = np.array([[2**26, 0, -(2**26), 2**31 - 80_000_000, -ONE + 2**27], [2**28, 0, -(2**28), -(2**29), -(2**28)], [3, 0, -3, 1, -1]])


@dataclass(frozen=True)
class FrontEnd:
    """What :meth:`model` has.

    Attributes:
        good: 0 or 1 of each channel.
        filters: (5,) coefficients of each section in a row, times 2^30.
        feedback: of errors, of each filter, then of the bands.
        bands: (bands, 5), or None: spikes are counted.
        guard: bits; ``limit`` clips filtered samples.
        z_bits, power_bits: dropped from a band's sample and from the power of a bin.
        window: bins of a running z-score, or 0.
    """

    good: tuple[int, ...] = (1, 1, 1)
    averaged: bool = True
    filters: tuple[NDArray[np.int64], ...] = (HIGHPASS, NOTCH)
    feedback: tuple[tuple[int, ...], ...] = ((1,), (1,), (1,))
    bands: NDArray[np.int64] | None = None
    ticks: int = 20
    guard: int = 10
    limit: int = 2**28
    power_bins: int = 1
    z_bits: int = 0
    power_bits: int = 15
    window: int = 0

    @property
    def channels(self) -> int:
        return len(self.good)

    @property
    def features(self) -> int:
        return self.channels * (1 if self.bands is None else 1 + len(self.bands))

    def model(self) -> onnx.ModelProto:
        graph = GraphBuilder("frontend", functions())
        good, guard = np.array(self.good, np.int8), 2**self.guard
        reciprocal = round(guard * 2**REFERENCE_BITS / max(1, sum(self.good))) if self.averaged else 0
        graph.input("sample", np.int16, (self.channels,), unit="ADC counts", scale=1.0, offset=0.0)
        names = [graph.constant("reference.good", good, np.int8), *scalars(graph, "reference", reciprocal, 2**REFERENCE_BITS, guard)]
        graph.node("QCommonAverage", ["sample", *names], ["referenced"], "reference")
        y = "referenced"
        for i, section in enumerate(self.filters):
            y = _bank(graph, f"pre{i}", y, section[None], self.feedback[i], self.channels, self.limit)
        if self.bands is None:
            held = self._counts(graph, y)
        else:
            z = _bank(graph, "bands", y, self.bands, self.feedback[len(self.filters)], self.channels, self.limit)
            held = self._features(graph, y, z)
        if self.window:
            held = self._running_z(graph, held)
        n = self.features
        graph.node("Identity", [held], ["features"], "features", domain="")
        graph.output("features", np.int16, (n,), unit="front-end features", scale=[0.5] * n, offset=0.0)
        graph.output("valid", np.int32, (1,), unit="1 on a bin's last tick")
        return graph.build(rate_hz=50.0 * self.ticks, kind="frontend")

    def _counts(self, graph: GraphBuilder, y: str) -> str:
        n = self.channels
        threshold = graph.constant("bins.threshold", -self.limit // 64 + np.arange(n), np.int32)
        phase, below, count, held = (
            graph.state(f"bins.{name}", dtype, (size,))
            for name, dtype, size in (("phase", np.int32, 1), ("below", np.int8, n), ("count", np.int16, n), ("held", np.int16, n))
        )
        inputs = [y, threshold, phase[0], below[0], count[0], held[0], *scalars(graph, "bins", self.ticks)]
        graph.node("QSpikeCount", inputs, [held[1], "valid", phase[1], below[1], count[1]], "bins")
        return held[1]

    def _features(self, graph: GraphBuilder, y: str, z: str) -> str:
        assert self.bands is not None
        shape = (self.channels, len(self.bands))
        phase, held = graph.state("bins.phase", np.int32, (1,)), graph.state("bins.held", np.int16, (self.features,))
        total, power = graph.state("bins.total", np.int32, (shape[0], 1)), graph.state("bins.power", np.int64, shape)
        constants = (self.ticks, 2**23 + 1, 2**30, 2**self.z_bits, 2**self.power_bits, 2**9, 3072, self.power_bins)
        inputs = [y, z, phase[0], total[0], power[0], held[0], *scalars(graph, "bins", *constants)]
        graph.node("QBinFeatures", inputs, [held[1], "valid", phase[1], total[1], power[1]], "bins")
        return held[1]

    def _running_z(self, graph: GraphBuilder, features: str) -> str:
        n = self.features
        seen, mean, deviation, held = (
            graph.state(f"zscore.{name}", dtype, (size,))
            for name, dtype, size in (("seen", np.int32, 1), ("mean", np.int64, n), ("deviation", np.int64, n), ("held", np.int16, n))
        )
        floor = graph.constant("zscore.floor", np.full(n, 2**20), np.int64)
        inputs = [features, "valid", seen[0], mean[0], deviation[0], held[0], *scalars(graph, "zscore", self.window), floor]
        graph.node("QRunningZ", inputs, [held[1], seen[1], mean[1], deviation[1]], "zscore")
        return held[1]

    def states(self, rng: np.random.Generator, phase: int) -> dict[str, NDArray]:
        """Any that filters and sums could be in after ``phase`` samples of a bin, extremes more often than by chance.

        What a filter read before is what the one before it made.
        """
        n, found = self.channels, {"state.bins.phase": np.array([phase], np.int32)}
        before = STEP * draw(rng, -(2 ** (16 + self.guard)), 2 ** (16 + self.guard), (n, 2))
        shapes = [(f"pre{i}", 1) for i in range(len(self.filters))] + ([] if self.bands is None else [("bands", len(self.bands))])
        for (name, sections), feedback in zip(shapes, self.feedback, strict=False):
            outputs = draw(rng, -self.limit, self.limit - 1, (n, sections, 2))
            errors = draw(rng, -(2**31), 2**31 - 1, (n, sections, len(feedback)))
            found[f"state.{name}.history"] = before.astype(np.int32)
            found[f"state.{name}.sections"] = np.concatenate([outputs, errors], axis=-1).astype(np.int32)
            before = outputs[:, 0]
        if self.bands is None:
            found["state.bins.below"] = rng.integers(0, 2, n).astype(np.int8)
            found["state.bins.count"] = draw(rng, 0, 32767, (n,)).astype(np.int16)
        else:
            total = phase * (self.limit // STEP)
            found["state.bins.total"] = draw(rng, -total, total, (n, 1)).astype(np.int32)
            largest = (self.power_bins - 1) * self.ticks + phase
            found["state.bins.power"] = draw(rng, 0, largest * (self.limit >> self.z_bits) ** 2, (n, len(self.bands)))
        return found


def draw(rng: np.random.Generator, low: int, high: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Uniform integers of every size, and the ends."""
    spread = rng.integers(low, high, shape, endpoint=True) >> rng.integers(0, WORD_BITS - 2, shape)
    return np.choose(rng.integers(0, 8, shape), [np.full(shape, low), np.full(shape, high), *[spread] * 6])


def scalars(graph: GraphBuilder, name: str, *values: int) -> list[str]:
    return [graph.constant(f"{name}.{i}", value, np.int64) for i, value in enumerate(values)]


def _bank(graph: GraphBuilder, name: str, x: str, coef: NDArray[np.int64], feedback: tuple[int, ...], channels: int, limit: int) -> str:
    coef = np.concatenate([coef, np.tile(feedback, (len(coef), 1))], axis=1)
    history = graph.state(f"{name}.history", np.int32, (channels, 2))
    state = graph.state(f"{name}.sections", np.int32, (channels, len(coef), 2 + len(feedback)))
    inputs = [x, graph.constant(f"{name}.coef", coef, np.int32), history[0], state[0], *scalars(graph, name, limit)]
    graph.node("QBiquad", inputs, [name, history[1], state[1]], name)
    return name
