"""Float front-end step graph to integer front-end step graph."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy import signal

from export.stepgraph import GraphBuilder, metadata
from quantization.arithmetic import LOG2_FRACTION_BITS, SUM_OF_SQUARES_BITS, ZSCORE_FRACTION_BITS, ZSCORE_STATE_BITS, round_shift
from quantization.fixedpoint import fixed_point, stored_scale
from quantization.functions import functions

POWER_FRACTION_BITS = 3  # of the band-passed signal before it is squared
LMP_HEADROOM = 2.0  # over the largest mean seen in calibration
IMPULSE_SAMPLES = 2**18  # of a filter's response: 9 s at 30 kHz
SPIKE_THRESHOLDS = 16  # beyond which a filtered sample saturates: it is an artefact
MAX_SPIKE_GUARD = 10  # of a sample of 17 bits (after the common average), four of which add up in int32


@dataclass(frozen=True)
class SignalFormat:
    """How filtered samples are kept: ADC counts with ``guard`` fraction bits, saturated at ``limit``."""

    guard: int  # fraction bits
    limit: int  # largest stored value
    accumulator_bits: int  # of a filter's sums of products: 31 lets 32-bit cores stay in one register
    rounding: float  # ADC counts that first-order feedback may let a section's rounding errors add up to


def lfp_format(ticks: int) -> SignalFormat:
    """8 guard bits, fewer where the sum over a bin of ``ticks`` samples would leave int32; twice full scale fits."""
    limit = (2**31 - 1) // ticks
    guard = min(8, int(np.floor(np.log2(limit))) - 16)
    return SignalFormat(guard, min(limit, 2 ** (17 + guard)), accumulator_bits=62, rounding=0.25)


def spike_format(threshold: NDArray[np.float64]) -> SignalFormat:
    """20 bits for at least :data:`SPIKE_THRESHOLDS` times the largest threshold, in counts at the filter's output, and at most full scale.

    How many crossings are counted otherwise than in float depends on rounding noise over the signal's own: so the signal sets the unit.
    """
    counts = min(15, int(np.ceil(np.log2(SPIKE_THRESHOLDS * np.max(np.abs(threshold))))))
    guard = min(MAX_SPIKE_GUARD, 19 - counts)
    return SignalFormat(guard, 2**19 - 1, accumulator_bits=31, rounding=2.0)


def quantize_frontend(model: onnx.ModelProto, features: NDArray[np.float32], made_from: dict[str, str]) -> onnx.ModelProto:
    """The integer twin of a float front end.

    Args:
        model: from :mod:`export.frontend_graph`.
        features: (bins, n_features) of the training part before any running z-score, to choose the scale of the local motor potential.
        made_from: hashes of the inputs, for the metadata.
    """
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    ticks = int(constants["bins.ticks"])
    is_lfp = any(node.op_type == "BinFeatures" for node in model.graph.node)
    if is_lfp:
        fmt = lfp_format(ticks)
    else:
        constants = _gain_in_threshold(constants)
        fmt = spike_format(constants["bins.threshold"])
    graph = GraphBuilder(model.graph.name, functions())
    channels = len(constants["reference.good"])
    graph.input("sample", np.int16, (channels,), unit="ADC counts", scale=1.0, offset=0.0)
    for node in model.graph.node:
        if node.op_type == "CommonAverage":
            _reference(graph, node, constants, fmt)
        elif node.op_type == "Biquad":
            _biquad(graph, node, constants, fmt)
        elif node.op_type == "BinFeatures":
            scale = _bin_features(graph, node, constants, features, ticks, fmt)
        elif node.op_type == "SpikeCount":
            scale = _spike_count(graph, node, constants, ticks, channels, fmt)
        elif node.op_type == "RunningZ":
            scale = _running_z(graph, node, constants, scale)
        elif node.op_type == "Identity":
            graph.node("Identity", node.input, node.output, node.name, domain="")
    graph.output("features", np.int16, (len(scale),), unit="front-end features", scale=scale, offset=0.0)
    graph.output("valid", np.int32, (1,), unit="1 on a bin's last tick")
    return graph.build(kind="frontend", rate_hz=metadata(model)["rate_hz"], made_from=made_from)


def _scalars(graph: GraphBuilder, prefix: str, **values: int) -> list[str]:
    return [graph.constant(f"{prefix}.{name}", value, np.int64) for name, value in values.items()]


def _reference(graph: GraphBuilder, node: onnx.NodeProto, constants: dict[str, NDArray], fmt: SignalFormat) -> None:
    good, mean_weight = constants[node.input[1]], float(constants[node.input[2]])
    reciprocal, k = fixed_point(mean_weight * 2**fmt.guard, 24, node.name, max_shift=22)
    names = [graph.constant(f"{node.name}.good", good, np.int8)]
    names += _scalars(graph, node.name, reciprocal=int(reciprocal), two_k=2**k, guard=2**fmt.guard)
    graph.node("QCommonAverage", ["sample", *names], [node.output[0]], node.name)


def _biquad(graph: GraphBuilder, node: onnx.NodeProto, constants: dict[str, NDArray], fmt: SignalFormat) -> None:
    real = constants[node.input[1]]
    feedback = _feedback(real, fmt)
    coef, k = _coefficients(real, fmt, sum(map(abs, feedback)))
    channels = len(constants["reference.good"])
    state_in, state_out = graph.state(f"{node.name}.history", np.int32, (len(coef), 4 + len(feedback), channels))
    coef = np.concatenate([coef, np.tile(feedback, (len(coef), 1))], axis=1)
    names = [graph.constant(f"{node.name}.coef", coef, np.int32), state_in]
    names += _scalars(graph, node.name, two_k=2**k, limit=fmt.limit)
    graph.node("QBiquad", [node.input[0], *names], [node.output[0], state_out], node.name)


def _gain_in_threshold(constants: dict[str, NDArray]) -> dict[str, NDArray]:
    """High-pass and thresholds of the spike front end, both over b0: the same crossings, and only the poles' taps are no integers."""
    coef = constants["pre0.coef"]
    gain = float(coef[0, 0])
    return {**constants, "pre0.coef": coef / [gain, gain, gain, 1.0, 1.0], "bins.threshold": constants["bins.threshold"] / gain}


def _feedback(real: NDArray[np.float64], fmt: SignalFormat) -> tuple[int, ...]:
    """Coefficients of the fed-back rounding errors: second order where first order bounds what they do to an output too loosely.

    Of sections (n, 5) with -a1, -a2 last. An error of less than 1 reaches the output through (1 - z^-1) / A, or (1 - z^-1)^2 / A, so
    the sum of that filter's absolute impulse response bounds its effect whatever the input is.
    """
    impulse = np.zeros(IMPULSE_SAMPLES)
    impulse[0] = 1.0
    reaches = [np.abs(signal.lfilter([1.0, -1.0], [1.0, -section[3], -section[4]], impulse)).sum() for section in real]
    return (1,) if max(reaches) < fmt.rounding * 2**fmt.guard else (2, -1)


def _coefficients(real: NDArray[np.float64], fmt: SignalFormat, errors: int) -> tuple[NDArray[np.int64], int]:
    """Coefficients and shift: as fine as int32 and the accumulator allow, the sum of the poles' taps more so than each of them.

    Where poles lie near 1 it is that sum that sets the corner, and its rounding that moves the response most.
    """
    _, most = fixed_point(real, 30, "filter coefficients", max_shift=29)
    for k in range(most, 0, -1):
        for j in range(k):
            coef = _rounded(real, k, j)
            if _fits(coef, k, j, fmt, errors):
                return coef, k
    raise ValueError(f"no filter coefficients whose products stay below 2^{fmt.accumulator_bits}")


def _fits(coef: NDArray[np.int64], k: int, j: int, fmt: SignalFormat, errors: int) -> bool:
    """Whether a kernel's sums stay within the accumulator (:mod:`firmware_sim.compiler.kernels.filters`), whatever comes in.

    What is a whole multiple of 2^k in a coefficient needs no accumulator. Of the rest r, r1 y1 + r2 y2 = (r1 + r2) y1 + r2 (y2 - y1),
    and with r2 a multiple of 2^j the second product is added without its j lowest bits. ``errors`` is how often an error of at most 2^k
    is fed back.
    """
    rest = coef - round_shift(coef, 2**k) * 2**k
    fine = np.abs(rest[:, :3]).sum(axis=1) * 2 ** (16 + fmt.guard) + errors * 2**k
    if j == 0:
        largest = fine + np.abs(rest[:, 3:]).sum(axis=1) * fmt.limit
    else:
        fine += np.abs(rest[:, 3:].sum(axis=1)) * fmt.limit
        largest = np.maximum(fine, (np.abs(rest[:, 4]) >> j) * 2 * fmt.limit + (fine >> j) + 1)
    return bool(np.max(largest) < 2**fmt.accumulator_bits)


def _rounded(real: NDArray[np.float64], k: int, j: int) -> NDArray[np.int64]:
    """Sections (n, 5) times 2^k, each polynomial's sum rounded as one number, the last tap to a multiple of 2^j.

    The sums are the gains at 0 Hz. Taps rounded one by one can let what a high-pass has to stop leak: of a constant, 10 % at 350 Hz
    and 30 kHz with 11 bits.
    """
    coef = np.rint(real * 2.0**k).astype(np.int64)
    coef[:, 4] = np.rint(real[:, 4] * 2.0 ** (k - j)).astype(np.int64) << j
    for middle, rest in ((1, (0, 2)), (3, (4,))):
        taps = [middle, *rest]
        coef[:, middle] = np.rint(real[:, taps].sum(axis=1) * 2.0**k).astype(np.int64) - coef[:, list(rest)].sum(axis=1)
    return coef


def _bin_features(
    graph: GraphBuilder, node: onnx.NodeProto, constants: dict[str, NDArray], features: NDArray[np.float32], ticks: int, fmt: SignalFormat
) -> list[float]:
    channels = len(constants["reference.good"])
    bands = features.shape[1] // channels - 1
    fraction = min(POWER_FRACTION_BITS, fmt.guard)
    while ticks * (fmt.limit >> (fmt.guard - fraction)) ** 2 >= 2 ** (SUM_OF_SQUARES_BITS - 1):
        fraction -= 1
    lmp_scale = stored_scale(LMP_HEADROOM * float(np.max(np.abs(features[:, :channels]))))
    mean_mult, k = fixed_point(1.0 / (ticks * 2**fmt.guard * lmp_scale), 24, node.name, max_shift=30)
    y, z = node.input[0], node.input[1]
    phase_in, phase_out = graph.state("bins.phase", np.int32, (1,))
    total_in, total_out = graph.state("bins.total", np.int32, (1, channels))
    power_in, power_out = graph.state("bins.power", np.int64, (bands, channels))
    held_in, held_out = graph.state("bins.held", np.int16, (channels * (1 + bands),))
    scalars = _scalars(
        graph,
        node.name,
        ticks=ticks,
        mean_mult=int(mean_mult),
        two_mean=2**k,
        two_z=2 ** (fmt.guard - fraction),
        one=2 ** (2 * fraction),
        log_offset=2 * fraction * 2**LOG2_FRACTION_BITS,
        power_bins=int(constants[node.input[7]]),
    )
    inputs = [y, z, phase_in, total_in, power_in, held_in, *scalars]
    graph.node("QBinFeatures", inputs, [held_out, "valid", phase_out, total_out, power_out], node.name)
    return [lmp_scale] * channels + [2.0**-LOG2_FRACTION_BITS] * (channels * bands)


def _spike_count(
    graph: GraphBuilder, node: onnx.NodeProto, constants: dict[str, NDArray], ticks: int, channels: int, fmt: SignalFormat
) -> list[float]:
    threshold = graph.constant("bins.threshold", np.rint(constants[node.input[1]] * 2**fmt.guard), np.int32)
    phase_in, phase_out = graph.state("bins.phase", np.int32, (1,))
    below_in, below_out = graph.state("bins.below", np.int8, (channels,))
    count_in, count_out = graph.state("bins.count", np.int16, (channels,))
    held_in, held_out = graph.state("bins.held", np.int16, (channels,))
    inputs = [node.input[0], threshold, phase_in, below_in, count_in, held_in, *_scalars(graph, node.name, ticks=ticks)]
    graph.node("QSpikeCount", inputs, [held_out, "valid", phase_out, below_out, count_out], node.name)
    return [1.0] * channels


def _running_z(graph: GraphBuilder, node: onnx.NodeProto, constants: dict[str, NDArray], scale: list[float]) -> list[float]:
    window, floor = int(constants[node.input[6]]), float(constants[node.input[8]])
    n = len(scale)
    seen_in, seen_out = graph.state("zscore.seen", np.int32, (1,))
    mean_in, mean_out = graph.state("zscore.mean", np.int64, (n,))
    deviation_in, deviation_out = graph.state("zscore.deviation", np.int64, (n,))
    held_in, held_out = graph.state("zscore.held", np.int16, (n,))
    # No deviation of an int16 exceeds 2^16 codes.
    floors = np.rint(np.minimum(floor / np.array(scale), 2.0**16) * 2.0**ZSCORE_STATE_BITS)
    names = [*_scalars(graph, node.name, window=window), graph.constant(f"{node.name}.floor", floors, np.int64)]
    inputs = [node.input[0], "valid", seen_in, mean_in, deviation_in, held_in, *names]
    graph.node("QRunningZ", inputs, [held_out, seen_out, mean_out, deviation_out], node.name)
    return [2.0**-ZSCORE_FRACTION_BITS] * n
