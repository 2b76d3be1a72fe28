"""What is left of the float filters' response in integers."""

import numpy as np
import pytest
from onnx import numpy_helper
from scipy import signal

from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from quantization.frontend import quantize_frontend, spike_format
from quantization.operators.biquad import COEFFICIENT_BITS, STEP, SUM_LIMIT, WORD_BITS, q_biquad
from quantization.response import responses
from realm_edge.frontend import design, design_spike
from realm_edge.settings import SIX_BANDS, Settings, SpikeSettings

TICKS = 10_000
ORDINARY = Settings(lfp=SIX_BANDS)  # 10 guard bits
LONG_BINS = Settings(bin_ms=100, lfp=SIX_BANDS.model_copy(update={"rate_hz": 2000}))  # 7 guard bits


def lfp_graph(settings):
    return lfp_frontend_graph(design(settings, np.ones(4, bool)), {})


def spike_graph(highpass_hz, rate_hz, threshold=-100):
    settings = Settings(spike=SpikeSettings(highpass_hz=highpass_hz, rate_hz=rate_hz))
    return spike_frontend_graph(design_spike(settings, np.full(4, threshold, np.int32)), {})


def highpass_gain(highpass_hz, rate_hz):
    return float(design_spike(Settings(spike=SpikeSettings(highpass_hz=highpass_hz, rate_hz=rate_hz)), np.array([-1])).highpass[0])


def coefficients(graph):
    """By filter of the integer front end."""
    (features,) = (o.type.tensor_type.shape.dim[0].dim_value for o in graph.graph.output if o.name == "features")
    model = quantize_frontend(graph, np.zeros((1, features), np.float32), {})
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    return {node.name: constants[node.input[1]] for node in model.graph.node if node.op_type == "QBiquad"}


@pytest.mark.parametrize("settings", [Settings(), ORDINARY, LONG_BINS], ids=["the presets'", "20 ms", "100 ms at 2 kHz"])
def test_lfp_filters_keep_their_response(settings):
    found = responses(lfp_graph(settings), TICKS)
    assert [r.name for r in found] == ["pre0", "pre1", *(f"bands {i}" for i in range(len(settings.lfp.bands_hz)))]
    for r in found:
        assert r.ripple_db < 0.002, r
        assert r.leak_db is None or r.leak_db < -80, r
        assert r.noise < 0.006 and r.small_noise < 0.05, r
        assert r.silence < 1 / 16 and r.constant < 1 / 16, r  # what the band power rounds to 0
    assert sum(r.leak_db is not None for r in found) > len(settings.lfp.bands_hz)


@pytest.mark.parametrize("highpass_hz, rate_hz", [(300.0, 30000), (250.0, 30000), (500.0, 20000)])
@pytest.mark.parametrize("threshold", [-20, -100, -1500])
def test_spike_filter_keeps_its_response(highpass_hz, rate_hz, threshold):
    (r,) = responses(spike_graph(highpass_hz, rate_hz, threshold), TICKS)
    assert r.ripple_db < 0.005 and r.leak_db is not None and r.leak_db < -90, r
    assert max(r.noise, r.small_noise) < 2e-4 * max(-threshold, 50), r
    assert r.silence < 1e-6 and r.constant < 1e-6, r


def test_second_order_feedback_is_where_first_order_adds_up():
    by_filter = {name: coef[:, 5:].tolist() for name, coef in coefficients(lfp_graph(ORDINARY)).items()}
    assert by_filter == {"pre0": [[1]], "pre1": [[1]], "bands": [[1]] * 6}
    by_filter = {name: coef[:, 5:].tolist() for name, coef in coefficients(lfp_graph(LONG_BINS)).items()}
    assert by_filter == {"pre0": [[2, -1]], "pre1": [[2, -1]], "bands": [[2, -1]] * 6}
    assert coefficients(spike_graph(300.0, 30000))["pre0"][0, 5:].tolist() == [1]


@pytest.mark.parametrize("settings", [Settings(), ORDINARY, LONG_BINS], ids=["the presets'", "first order", "second order"])
@pytest.mark.parametrize("seed", range(3))
def test_rounding_errors_stay_within_their_bound(settings, seed):
    """The sum of the absolute impulse response of (1 - z^-1)^n / A, in steps, whatever the input; a part of it is met."""
    coef = coefficients(lfp_graph(settings))["pre0"]
    rng = np.random.default_rng(seed)
    x = STEP * rng.integers(-(2 ** int(rng.integers(1, 23))), 2**22, (3000, 4)).astype(np.int32)
    x[1000:2000] //= 2**16 * STEP
    x[1000:2000] *= STEP
    x[2000:] = 0
    y, history, state = np.empty(x.shape, np.int64), np.zeros((4, 2), np.int32), np.zeros((4, 1, coef.shape[1] - 3), np.int32)
    for t, row in enumerate(x):
        out, history, state = q_biquad(row[:, None], coef, history, state, np.int64(2**28))
        y[t] = out[:, 0]
    assert np.abs(y).max() < 2**28
    b, a = coef[0, :3] / 2**COEFFICIENT_BITS, np.array([1.0, *(-coef[0, 3:5] / 2**COEFFICIENT_BITS)])
    error = np.abs(y - signal.lfilter(b, a, x, axis=0)).max() / STEP
    zeros = {1: [1.0, -1.0], 2: [1.0, -2.0, 1.0]}[coef.shape[1] - 5]
    bound = np.abs(signal.lfilter(zeros, a, np.eye(1, 200_000)[0])).sum()
    assert bound / 40 < error <= bound


def test_a_notch_passes_what_is_constant_as_it_is():
    """Its poles follow from its zeros, so that rounding leaves a gain of 1."""
    coef = coefficients(lfp_graph(ORDINARY))["pre1"][0]
    assert coef[1] == -coef[3] and coef[0] == coef[2]
    assert coef[:3].astype(np.int64).sum() == 2**COEFFICIENT_BITS - coef[3:5].astype(np.int64).sum() > 0


@pytest.mark.parametrize("highpass_hz", [100.0, 250.0, 300.0, 350.0, 700.0, 3000.0])
@pytest.mark.parametrize("rate_hz", [12000, 20000, 30000])
@pytest.mark.parametrize("threshold", [-1, -100, -32767])
def test_spike_filter_fits_its_words(highpass_hz, rate_hz, threshold):
    """For every input: rails of both signs in the worst order, after a common average that doubles them."""
    coef = [int(c) for c in coefficients(spike_graph(highpass_hz, rate_hz, threshold))["pre0"][0]]
    fmt = spike_format(np.array([threshold / highpass_gain(highpass_hz, rate_hz)]))
    sample = STEP * 2 ** (16 + fmt.guard)
    assert coef[:3] == [2**COEFFICIENT_BITS, -(2 ** (COEFFICIENT_BITS + 1)), 2**COEFFICIENT_BITS]
    assert 4 * sample < 2**31  # x - 2 x1 + x2
    errors = sum(map(abs, coef[5:])) << WORD_BITS
    assert sum(map(abs, coef[:3])) * sample + sum(map(abs, coef[3:5])) * fmt.limit + errors < SUM_LIMIT
    assert fmt.limit <= 2**29  # a difference of two outputs
