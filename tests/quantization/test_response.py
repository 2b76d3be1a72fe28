"""What is left of the float filters' response in integers."""

import numpy as np
import pytest
from onnx import numpy_helper
from scipy import signal

from export.frontend_graph import lfp_frontend_graph, spike_frontend_graph
from quantization.frontend import quantize_frontend, spike_format
from quantization.operators.biquad import q_biquad
from quantization.response import responses
from realm_edge.frontend import design, design_spike
from realm_edge.settings import LfpSettings, Settings, SpikeSettings

TICKS = 10_000
ORDINARY, LONG_BINS = Settings(), Settings(bin_ms=100, lfp=LfpSettings(rate_hz=2000))  # 8 and 7 guard bits


def lfp_graph(settings):
    return lfp_frontend_graph(design(settings, np.ones(4, bool)), {})


def spike_graph(highpass_hz, rate_hz, threshold=-100):
    settings = Settings(spike=SpikeSettings(highpass_hz=highpass_hz, rate_hz=rate_hz))
    return spike_frontend_graph(design_spike(settings, np.full(4, threshold, np.int32)), {})


def highpass_gain(highpass_hz, rate_hz):
    return float(design_spike(Settings(spike=SpikeSettings(highpass_hz=highpass_hz, rate_hz=rate_hz)), np.array([-1])).highpass[0])


def coefficients(graph, features):
    """(coef, k) by filter of the integer front end."""
    model = quantize_frontend(graph, np.zeros((1, features), np.float32), {})
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    filters = [node for node in model.graph.node if node.op_type == "QBiquad"]
    return {node.name: (constants[node.input[1]], int(np.log2(constants[node.input[3]]))) for node in filters}


@pytest.mark.parametrize("settings", [ORDINARY, LONG_BINS], ids=["20 ms", "100 ms at 2 kHz"])
def test_lfp_filters_keep_their_response(settings):
    found = responses(lfp_graph(settings), TICKS)
    assert [r.name for r in found] == ["pre0", "pre1", *(f"bands {i}" for i in range(6))]
    for r in found:
        assert r.ripple_db < 0.002, r
        assert r.leak_db is None or r.leak_db < -80, r
        assert r.noise < 0.02 and r.small_noise < 0.02, r
        assert r.silence < 1 / 16 and r.constant < 1 / 16, r  # what the band power rounds to 0
    assert sum(r.leak_db is not None for r in found) >= 7


@pytest.mark.parametrize("highpass_hz, rate_hz", [(300.0, 30000), (250.0, 30000), (500.0, 20000)])
@pytest.mark.parametrize("threshold", [-20, -100, -1500])
def test_spike_filter_keeps_its_response(highpass_hz, rate_hz, threshold):
    (r,) = responses(spike_graph(highpass_hz, rate_hz, threshold), TICKS)
    assert r.ripple_db < 0.005 and r.leak_db is not None and r.leak_db < -90, r
    assert max(r.noise, r.small_noise) < 2e-4 * max(-threshold, 50), r
    assert r.silence < 1e-6 and r.constant < 1e-6, r


def test_second_order_feedback_is_where_first_order_adds_up():
    by_filter = {name: coef[:, 5:].tolist() for name, (coef, _) in coefficients(lfp_graph(ORDINARY), 28).items()}
    assert by_filter == {"pre0": [[2, -1]], "pre1": [[2, -1]], "bands": [[1]] * 6}
    assert coefficients(lfp_graph(LONG_BINS), 28)["bands"][0][:, 5:].tolist() == [[2, -1]] * 6
    assert coefficients(spike_graph(300.0, 30000), 4)["pre0"][0][0, 5:].tolist() == [1]


@pytest.mark.parametrize("seed", range(3))
def test_rounding_errors_stay_within_their_bound(seed):
    """The sum of the absolute impulse response of (1 - z^-1)^2 / A, in units of the last bit, whatever the input; a third of it is met."""
    coef, k = coefficients(lfp_graph(ORDINARY), 28)["pre0"]
    rng = np.random.default_rng(seed)
    x = rng.integers(-(2 ** int(rng.integers(1, 23))), 2**22, (3000, 4)).astype(np.int32)
    x[1000:2000] //= 2**16
    x[2000:] = 0
    y, state = np.empty(x.shape, np.int64), np.zeros((1, 6, 4), np.int32)
    for t, row in enumerate(x):
        y[t], state = q_biquad(row[None], coef, state, np.int64(2**k), np.int64(2**25))
    assert np.abs(y).max() < 2**25
    b, a = coef[0, :3] / 2**k, np.array([1.0, *(-coef[0, 3:5] / 2**k)])
    error = np.abs(y - signal.lfilter(b, a, x, axis=0)).max()
    bound = np.abs(signal.lfilter([1.0, -2.0, 1.0], a, np.eye(1, 20000)[0])).sum()
    assert bound / 3 < error <= bound < 3


@pytest.mark.parametrize("highpass_hz", [100.0, 250.0, 300.0, 350.0, 700.0, 3000.0])
@pytest.mark.parametrize("rate_hz", [12000, 20000, 30000])
@pytest.mark.parametrize("threshold", [-1, -100, -32767])
def test_spike_filter_fits_32_bits(highpass_hz, rate_hz, threshold):
    """For every input: rails of both signs in the worst order, after a common average that doubles them."""
    (coef, k), limit = coefficients(spike_graph(highpass_hz, rate_hz, threshold), 4)["pre0"], 2**19 - 1
    guard = spike_format(np.array([threshold / highpass_gain(highpass_hz, rate_hz)])).guard
    taps, sample = [int(c) for c in coef[0, :5]], 2 ** (16 + guard)
    whole = [(c + 2 ** (k - 1)) >> k for c in taps]
    x, x1, x2, r1, r2 = (c - (w << k) for c, w in zip(taps, whole, strict=True))
    assert whole[:3] == [1, -2, 1] and (x, x1, x2) == (0, 0, 0)
    assert 4 * sample + sum(map(abs, whole[3:])) * limit < 2**31
    lowest, low = (r2 & -r2) or 2**k, abs(r1 + r2) * limit + 2**k
    apart = max(low, abs(r2) // lowest * 2 * limit + low // lowest + 1)
    assert min(apart, (abs(r1) + abs(r2)) * limit + 2**k) < 2**31
    finer = abs(r1 + r2) * 2 * limit + 2 ** (k + 1)
    assert k == 28 or finer >= 2**30  # and no bit of the sum, which is the gain at 0 Hz, is left unused
