"""What integers change in the front ends' filters: frequency response, noise and limit cycles against float, by running both."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy import signal

from export.stepgraph import metadata
from quantization.frontend import quantize_frontend
from quantization.operators.biquad import STEP, q_biquad

AMPLITUDE = 8192  # of the sines that the response is measured with, ADC counts; half of where the filters saturate, if that is less
NOISE_SD = 100  # of the broadband input, ADC counts
FALLS_SILENT_SD = (1, 10, 100, 3000)  # of the noises that give way to zeros
CONSTANTS = (1, -3, 1000)
STOPBAND_DB = -20.0  # below the float filter's peak


@dataclass(frozen=True)
class Response:
    """One section's output, from the ADC on, in integers against float.

    Attributes:
        name: of the node, and the section where it has several.
        hz: lowest and highest measured frequency of the passband, where float is within 3 dB of its peak.
        ripple_db: largest difference of the two gains in the passband.
        leak_db: largest difference of the two complex gains where float is at least 20 dB below its peak, over the peak; of a section
            that has no such frequency in the measured range, None.
        noise: root mean square of the difference, ADC counts, for white noise of 100 counts.
        small_noise: the same for sines of one count in the passband: the largest.
        silence: largest difference, ADC counts, long after noise has given way to zeros.
        constant: largest difference, ADC counts, long after a constant began.
    """

    name: str
    hz: tuple[float, float]
    ripple_db: float
    leak_db: float | None
    noise: float
    small_noise: float
    silence: float
    constant: float


def responses(frontend: onnx.ModelProto, ticks: int = 40_000) -> list[Response]:
    """Measure every filter of a front end.

    Args:
        frontend: float graph of :mod:`export.frontend_graph`; the integer one is made here.
        ticks: samples; the second half is evaluated, two periods of the lowest frequency. Its last half counts as long after.
    """
    features = sum(o.type.tensor_type.shape.dim[0].dim_value for o in frontend.graph.output if o.name == "features")
    model = quantize_frontend(frontend, np.zeros((1, features), np.float32), {})
    rate = float(metadata(frontend)["rate_hz"])
    exact = _constants(frontend)
    frequencies = _frequencies(exact, rate, ticks)
    units = _units(frontend, model)
    limit = min(int(_constants(model)[n.input[4]]) for n in model.graph.node if n.op_type == "QBiquad")
    samples = _stimuli(frequencies / rate, ticks, min(AMPLITUDE, limit * min(units.values()) / 2))
    integer = _run_integer(model, samples)
    found = []
    values = {next(n for n in frontend.graph.node if n.op_type == "Biquad").input[0]: samples.astype(np.float64)}
    for node in frontend.graph.node:
        if node.op_type != "Biquad":
            continue
        sections = _sos(exact[node.input[1]])
        for i, section in enumerate(sections):
            name = node.name if len(sections) == 1 else f"{node.name} {i}"
            values[node.output[0]] = signal.sosfilt(section[None], values[node.input[0]], axis=0)
            y = values[node.output[0]][ticks // 2 :]
            found.append(_compare(name, frequencies, rate, samples[ticks // 2 :], y, integer[node.output[0]][:, i] * units[node.output[0]]))
    return found


def _constants(model: onnx.ModelProto) -> dict[str, NDArray]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def _sos(coef: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sections ``b0 b1 b2 -a1 -a2`` as scipy wants them."""
    return np.insert(coef * [1.0, 1.0, 1.0, -1.0, -1.0], 3, 1.0, axis=1)


def _units(frontend: onnx.ModelProto, model: onnx.ModelProto) -> dict[str, float]:
    """ADC counts a stored unit, by filter: the high-pass leaves its gain to the bands or to the thresholds."""
    guard = next(int(_constants(model)[n.input[4]]) for n in model.graph.node if n.op_type == "QCommonAverage")
    gain = float(_constants(frontend)["pre0.coef"][0, 0])
    filters = [n.output[0] for n in frontend.graph.node if n.op_type == "Biquad"]
    return {name: (1.0 if name == "bands" else gain) / (guard * STEP) for name in filters}


def _frequencies(constants: dict[str, NDArray], rate: float, ticks: int) -> NDArray[np.float64]:
    """32 from four periods in ``ticks`` to almost half the rate, and those of all poles and zeros, where responses bend."""
    low, high = 4 * rate / ticks, 0.45 * rate
    sections = np.concatenate([_sos(c) for name, c in constants.items() if name.endswith(".coef")])
    roots = np.concatenate([np.roots(polynomial) for s in sections for polynomial in (s[:3], s[3:])])
    corners = np.abs(np.angle(roots)) * rate / (2 * np.pi)
    return np.union1d(np.geomspace(low, high, 32), corners[(corners > low) & (corners < high)])


def _stimuli(cycles: NDArray[np.float64], ticks: int, amplitude: float) -> NDArray[np.int64]:
    """(ticks, n + n + 1 + 4 + 3): large sines, sines of one count, noise, noises that fall silent, constants; ADC counts."""
    sines = np.sin(2 * np.pi * np.outer(np.arange(ticks), cycles))
    noise = np.random.default_rng(0).normal(0, (NOISE_SD, *FALLS_SILENT_SD), (ticks, 1 + len(FALLS_SILENT_SD)))
    noise[ticks // 4 :, 1:] = 0
    constants = np.broadcast_to(np.array(CONSTANTS), (ticks, len(CONSTANTS)))
    return np.rint(np.concatenate([amplitude * sines, sines, noise, constants], axis=1)).astype(np.int64)


def _run_integer(model: onnx.ModelProto, samples: NDArray[np.int64]) -> dict[str, NDArray[np.int32]]:
    """Outputs of every filter in the second half, (ticks, sections, n)."""
    constants, ticks, n = _constants(model), len(samples), samples.shape[1]
    guard = next(constants[node.input[4]] for node in model.graph.node if node.op_type == "QCommonAverage")
    filters = [node for node in model.graph.node if node.op_type == "QBiquad"]
    coefs = {node.output[0]: constants[node.input[1]] for node in filters}
    histories = {name: np.zeros((n, 2), np.int32) for name in coefs}
    states = {name: np.zeros((n, len(coef), coef.shape[1] - 3), np.int32) for name, coef in coefs.items()}
    kept = {name: np.empty((ticks - ticks // 2, len(coef), n), np.int32) for name, coef in coefs.items()}
    for t in range(ticks):
        values = {filters[0].input[0]: (samples[t][:, None] * guard * STEP).astype(np.int32)}
        for node in filters:
            name, x, limit = node.output[0], values[node.input[0]], constants[node.input[4]]
            values[name], histories[name], states[name] = q_biquad(x, coefs[name], histories[name], states[name], limit)
            if t >= ticks // 2:
                kept[name][t - ticks // 2] = values[name].T
    return kept


def _compare(name: str, hz: NDArray, rate: float, x: NDArray, exact: NDArray, integer: NDArray) -> Response:
    n = len(hz)
    window = np.hanning(len(x))[:, None] * np.exp(-2j * np.pi * np.outer(np.arange(len(x)), hz / rate))
    entering = np.sum(window * x[:, :n], axis=0)
    gain, integer_gain = (np.sum(window * y[:, :n], axis=0) / entering for y in (exact, integer))
    below_peak = _db(gain / np.abs(gain).max())
    passband, stopband = below_peak > -3, below_peak < STOPBAND_DB
    error = integer - exact
    rms, late = np.sqrt(np.mean(error**2, axis=0)), slice(len(x) // 2, None)
    silent, constant = slice(2 * n + 1, -len(CONSTANTS)), slice(-len(CONSTANTS), None)
    return Response(
        name,
        (float(hz[passband].min()), float(hz[passband].max())),
        float(np.abs(_db(integer_gain / gain))[passband].max()),
        float(_db((integer_gain - gain) / np.abs(gain).max())[stopband].max()) if stopband.any() else None,
        float(rms[2 * n]),
        float(rms[n : 2 * n][passband].max()),
        float(np.abs(error[late, silent]).max()),
        float(np.abs(error[late, constant]).max()),
    )


def _db(gain: NDArray) -> NDArray[np.float64]:
    decibel: NDArray[np.float64] = 20 * np.log10(np.abs(gain))
    return decibel
