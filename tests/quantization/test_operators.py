"""Every integer operator: the ONNX function in onnxruntime equals the numpy reference, every bit, over the whole range of its inputs."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from export.functions import INT8, INT16
from export.stepgraph import GraphBuilder, Stepper
from quantization import arithmetic, fixedpoint, frontend_arithmetic
from quantization.functions import functions
from quantization.operators import OPERATORS
from realm_edge.frontend import ZSCORE_FLOOR
from realm_edge.frontend import running_z as float_running_z

INT8_EDGES = np.array([-127, -1, 0, 1, 127])
INT16_EDGES = np.array([-32767, -256, -1, 0, 1, 255, 32767])


def draw(rng: np.random.Generator, dtype: type, shape: tuple[int, ...], limit: int) -> np.ndarray:
    """Random integers in [-limit, limit], a third of them at the ends or around zero."""
    values = rng.integers(-limit, limit + 1, shape)
    edges = rng.choice([-limit, -1, 0, 1, limit], shape)
    return np.where(rng.random(shape) < 1 / 3, edges, values).astype(dtype)


def power(rng: np.random.Generator, low: int, high: int) -> np.int64:
    return np.int64(2 ** int(rng.integers(low, high + 1)))


def result(rng):
    return {"to": int(rng.choice([INT8, INT16]))}


def normalise(rng):
    mult = draw(rng, np.int32, (9,), 2**30 - 1)
    return [draw(rng, np.int16, (9,), 32767), mult, draw(rng, np.int64, (9,), 2**46), power(rng, 0, 46)], result(rng)


def linear(rng):
    weight, bias = draw(rng, np.int8, (40, 7), 127), draw(rng, np.int32, (7,), 2**30)
    return [draw(rng, np.int8, (40,), 127), weight, bias, draw(rng, np.int32, (7,), 2**30 - 1), power(rng, 0, 46)], {}


def linear16(rng):
    (_, *constants), attributes = linear(rng)
    return [draw(rng, np.int16, (40,), 32767), *constants], attributes


def layer_norm(rng):
    x = draw(rng, np.int16, (24,), int(rng.choice([1, 50, 32767])))
    weight, bias = draw(rng, np.int32, (24,), 2**15 - 1), draw(rng, np.int32, (24,), 2**30)
    eps = np.int64(rng.choice([1, 1000, 2**46]))
    return [x, np.int64(24), np.int64(64), weight, bias, eps, power(rng, 0, 30)], result(rng)


def gated_norm(rng):
    y, gate = draw(rng, np.int16, (24,), int(rng.choice([3, 32767]))), draw(rng, np.int16, (24,), 32767)
    weight, eps = draw(rng, np.int32, (24,), 2**15 - 1), np.int64(rng.choice([1, 2**46]))
    return [y, gate, power(rng, 0, 15), weight, eps, power(rng, 0, 30)], result(rng)


def add(rng):
    return [draw(rng, np.int16, (9,), 32767), draw(rng, np.int16, (9,), 32767)], {}


def table(rng):
    rows = np.arange(3, dtype=np.int64) * 257
    return [draw(rng, np.int16, (3,), 32767), draw(rng, np.int16, (3 * 257,), 32767), rows], {}


def conv(rng):
    state, weight = draw(rng, np.int16, (3, 5), 32767), draw(rng, np.int8, (4, 5), 127)
    bias, mult = draw(rng, np.int32, (5,), 2**30), draw(rng, np.int32, (5,), 2**30 - 1)
    return [draw(rng, np.int16, (5,), 32767), state, weight, bias, mult, power(rng, 0, 46)], {}


def channel_conv(rng):
    taps, kinds, channels, maps = (int(rng.integers(low, high + 1)) for low, high in ((2, 4), (1, 7), (1, 6), (1, 8)))
    state, weight = draw(rng, np.int8, (taps - 1, kinds * channels), 127), draw(rng, np.int8, (taps * kinds, maps), 127)
    bias, mult = draw(rng, np.int32, (maps,), 2**30), draw(rng, np.int32, (maps,), 2**30 - 1)
    return [draw(rng, np.int8, (kinds * channels,), 127), state, weight, bias, mult, power(rng, 0, 46)], {}


def channel_attention(rng):
    channels, maps, reach = int(rng.integers(1, 9)), int(rng.integers(1, 9)), int(rng.choice([1, 3, 5]))
    f = np.int64(2 ** int(rng.integers(0, 13)))
    mean = draw(rng, np.int32, (channels,), int(maps * 32767 * f))
    shifts = [f, power(rng, 0, 10), power(rng, 0, 16)]
    weight, mult = draw(rng, np.int8, (reach,), 127), np.int64(rng.integers(0, 2**30))
    return [draw(rng, np.int16, (channels * maps,), 32767), mean, *shifts, weight, mult, power(rng, 0, 46)], {}


def channel_gate(rng):
    channels, maps = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    return [draw(rng, np.int16, (channels * maps,), 32767), np.abs(draw(rng, np.int16, (channels,), 32767)), power(rng, 0, 30)], {}


def selective_step(rng):
    heads, headdim, d_state = 2, 3, 8
    x, h = draw(rng, np.int16, (heads * headdim,), 32767), draw(rng, np.int16, (heads, headdim, d_state), 32767)
    b, c = draw(rng, np.int16, (d_state,), 32767), draw(rng, np.int16, (d_state,), 65535 // d_state)
    decay, dt = (np.abs(draw(rng, np.int16, (heads,), 32767)) for _ in range(2))
    mults = [draw(rng, np.int32, (heads,), 2**30 - 1) for _ in range(2)]
    return [x, b, c, decay, dt, h, power(rng, 0, 30), *mults, power(rng, 0, 46)], {}


def fir(rng):
    lags, n, dims = (int(rng.integers(low, high + 1)) for low, high in ((2, 6), (1, 9), (1, 3)))
    state, weight = draw(rng, np.int32, (lags - 1, dims), 2**29), draw(rng, np.int8, (lags * n, dims), 127)
    bias, mult = draw(rng, np.int32, (dims,), 2**30), draw(rng, np.int32, (dims,), 2**30 - 1)
    return [draw(rng, np.int8, (n,), 127), state, weight, bias, mult, power(rng, 0, 46)], {}


def gru_step(rng):
    width, limit = int(rng.integers(1, 9)), int(rng.choice([300, 32767]))
    x, recurrent = (draw(rng, np.int16, (3 * width,), limit) for _ in range(2))
    sigmoid, tanh = (draw(rng, np.int16, (257,), 32767) for _ in range(2))
    return [x, recurrent, draw(rng, np.int16, (width,), 32767), np.abs(sigmoid), tanh], {}


def common_average(rng):
    good = rng.integers(0, 2, 6).astype(np.int8)
    reciprocal = np.int64(rng.integers(0, 2**24))
    return [draw(rng, np.int16, (6,), 32767), good, reciprocal, power(rng, 16, 22), np.int64(rng.choice([1, 256]))], {}


def biquad(rng):
    sections, channels, k = int(rng.integers(1, 4)), 4, int(rng.choice([13, 14, 29]))
    limit = {13: 32767, 14: 2**19 - 1, 29: 2**25}[k]
    history = draw(rng, np.int32, (sections, 4, channels), limit)
    feedback = [[1], [2, -1]][rng.integers(0, 2)]
    error = rng.integers(0, 2**k, (sections, len(feedback), channels)).astype(np.int32)
    coef = draw(rng, np.int32, (sections, 5), 2**30 - 1 if k == 29 else 2**14)
    coef = np.concatenate([coef, np.tile(np.int32(feedback), (sections, 1))], axis=1)
    return [draw(rng, np.int32, (1, channels), limit), coef, np.concatenate([history, error], 1), np.int64(2**k), np.int64(limit)], {}


def bin_features(rng):
    channels, bands, ticks = 3, 2, 20
    y, z = draw(rng, np.int32, (1, channels), 2**25), draw(rng, np.int32, (bands, channels), 2**25)
    total = draw(rng, np.int32, (1, channels), 2**29)
    exponents = rng.integers(0, 47, (bands, channels))
    held = draw(rng, np.int16, (channels * (1 + bands),), 32767)
    phase = np.array([rng.choice([0, ticks - 2, ticks - 1])], np.int32)
    scalars = [np.int64(v) for v in (ticks, rng.integers(1, 2**24), 2**30, 2**5, 2**6, 3072, rng.choice([1, 4, 1024]))]
    return [y, z, phase, total, rng.integers(0, 2**exponents, dtype=np.int64), held, *scalars], {}


def spike_count(rng):
    y, threshold = draw(rng, np.int32, (1, 5), 100), draw(rng, np.int32, (5,), 100)
    below, held = rng.integers(0, 2, 5).astype(np.int8), draw(rng, np.int16, (5,), 32767)
    count = rng.choice([0, 1, 32766, 32767], 5).astype(np.int16)
    return [y, threshold, np.array([rng.choice([0, 18, 19])], np.int32), below, count, held, np.int64(20)], {}


def running_z(rng):
    n, window = 5, 2 ** int(rng.integers(1, 17))
    seen = np.array([rng.choice([0, 1, window // 2, window - 1, window])], np.int32)
    mean, deviation = draw(rng, np.int64, (n,), 2**39), rng.integers(0, 2 ** rng.integers(0, 41, n))
    floor = rng.integers(1, 2 ** rng.integers(1, 41, n), endpoint=True)
    tensors = [draw(rng, np.int16, (n,), 32767), rng.integers(0, 2, 1).astype(np.int32), seen, mean, deviation]
    return [*tensors, draw(rng, np.int16, (n,), 32767), np.int64(window), floor], {}


CASES = {
    "QNormalise": normalise,
    "QLinear": linear,
    "QLinear16": linear16,
    "QLayerNorm": layer_norm,
    "QGatedNorm": gated_norm,
    "QAdd": add,
    "QTable": table,
    "QConv": conv,
    "QChannelConv": channel_conv,
    "QChannelAttention": channel_attention,
    "QChannelGate": channel_gate,
    "QSelectiveStep": selective_step,
    "QFir": fir,
    "QGruStep": gru_step,
    "QCommonAverage": common_average,
    "QBiquad": biquad,
    "QBinFeatures": bin_features,
    "QSpikeCount": spike_count,
    "QRunningZ": running_z,
}


@cache
def session(op: str, signature: tuple, results: tuple, attributes: tuple) -> Stepper:
    graph = GraphBuilder(op, functions())
    names = [graph.input(f"in{i}", np.dtype(dtype).type, shape) for i, (dtype, shape) in enumerate(signature)]
    for i, (dtype, shape) in enumerate(results):
        graph.output(f"out{i}", np.dtype(dtype).type, shape)
    graph.node(op, names, [f"out{i}" for i in range(len(results))], **dict(attributes))
    return Stepper(graph.build())


def test_every_operator_has_a_case():
    assert set(CASES) == set(OPERATORS)


@pytest.mark.parametrize("op", CASES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_onnxruntime_equals_reference(op, seed):
    arrays, attributes = CASES[op](np.random.default_rng(seed))
    arrays = [np.asarray(a) for a in arrays]
    expected = OPERATORS[op](*arrays, **attributes)
    stepper = session(
        op, tuple((a.dtype.str, a.shape) for a in arrays), tuple((e.dtype.str, e.shape) for e in expected), tuple(attributes.items())
    )
    got = stepper.step({f"in{i}": a for i, a in enumerate(arrays)})
    for i, value in enumerate(expected):
        assert got[f"out{i}"].dtype == value.dtype
        np.testing.assert_array_equal(got[f"out{i}"], value)


@given(value=st.integers(-(2**60), 2**60), k=st.integers(0, 46))
def test_round_shift_is_round_half_up(value, k):
    got = int(arithmetic.round_shift(np.int64(value), np.int64(2**k)))
    assert got * 2**k - 2**k // 2 <= value < got * 2**k + (2**k + 1) // 2


@given(st.integers(1, 2**47))
def test_log2_is_within_a_unit(value):
    got = int(arithmetic.log2(np.array([value]))[0]) / 2**arithmetic.LOG2_FRACTION_BITS
    assert abs(got - np.log2(value)) < 1 / 2**arithmetic.LOG2_FRACTION_BITS


@given(code=st.integers(0, 2**20), log_bins=st.integers(0, 6))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_mean_power_settles_exactly(code, log_bins):
    """At the logarithm of the power that stays, and at 0 after silence: rounding leaves nothing behind."""
    none, power, held, one = np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int64), np.zeros(2, np.int16), np.int64(64)
    constants = [np.int64(v) for v in (1, 1, 2**20, 1, one, 3072, 2**log_bins)]
    for z, settled in ((code, code**2), (0, 0)):
        z = np.array([[z]], np.int32)
        for _ in range(60 * 2**log_bins):
            results = frontend_arithmetic.q_bin_features(none, z, np.zeros(1, np.int32), none, power, held, *constants)
            held, power = results[0], results[4]
        assert held[1] == arithmetic.log2(np.array([settled + one]))[0] - 3072


def test_running_z_is_close_to_the_float_definition():
    """Within a code (2^-10 sd) and 2e-4 of the value: the reciprocal's mantissa is cut to 14 bits and its table interpolated."""
    rng, scale = np.random.default_rng(5), 1 / 512
    x = np.rint(rng.normal([0, 3000, -2000, 0], [1, 500, 20, 0], (3000, 4))).astype(np.int16)
    x[1500:, 0] = 77
    seen, mean, held = np.zeros(1, np.int32), np.zeros(4, np.int64), np.zeros(4, np.int16)
    deviation, valid = mean, np.ones(1, np.int32)
    floor = np.full(4, round(ZSCORE_FLOOR / scale * 2**arithmetic.ZSCORE_STATE_BITS))
    got = []
    for row in x:
        held, seen, mean, deviation = frontend_arithmetic.q_running_z(row, valid, seen, mean, deviation, held, np.int64(64), floor)
        got.append(held)
    expected = float_running_z((x * scale).astype(np.float32), 64)
    z = np.array(got) / 2**arithmetic.ZSCORE_FRACTION_BITS
    assert np.all(np.abs(z - expected) <= 2.0**-10 + 2e-4 * np.abs(expected))
    assert not z[:, 3].any() and not z[2500:, 0].any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_transposed_filter_is_the_sum_over_lags(seed):
    """And forgets nothing: the partial sums are exact."""
    rng = np.random.default_rng(seed)
    lags, n, dims = 4, 3, 2
    weight, x = draw(rng, np.int8, (lags * n, dims), 127), draw(rng, np.int8, (20, n), 127)
    constants = [np.zeros(dims, np.int32), np.ones(dims, np.int32), np.int64(1)]
    state = np.zeros((lags - 1, dims), np.int32)
    padded = np.concatenate([np.zeros((lags - 1, n), np.int64), x])
    for at in range(len(x)):
        y, state = arithmetic.q_fir(x[at], state, weight, *constants)
        window = padded[at : at + lags][::-1].reshape(-1)  # newest bin first
        np.testing.assert_array_equal(y, arithmetic.saturate(window @ weight.astype(np.int64), 16))


def test_gru_step_is_close_to_torch():
    """Within what 257 points of sigmoid and tanh and 15 bits of state leave, over 300 steps."""
    torch.manual_seed(0)
    width, scale = 16, 8.0 / 32767
    cell = torch.nn.GRUCell(5, width)
    sigmoid, tanh = (fixedpoint.table(function, scale, 2.0**-15) for function in (expit, np.tanh))
    exact, h = torch.zeros(width), np.zeros(width, np.int16)
    for x in torch.randn(300, 5):
        with torch.no_grad():
            entering, recurrent = cell.weight_ih @ x + cell.bias_ih, cell.weight_hh @ exact + cell.bias_hh
            exact = cell(x, exact)
        codes = [np.rint(part.numpy() / scale).astype(np.int16) for part in (entering, recurrent)]
        (h,) = arithmetic.q_gru_step(*codes, h, sigmoid, tanh)
        assert np.abs(h * 2.0**-15 - exact.numpy()).max() < 1e-3
    assert np.abs(exact.numpy()).max() > 0.2


@given(st.lists(st.integers(-32768, 32768), min_size=1, max_size=64), st.integers(1, 2**46))
def test_unit_scale_is_the_norm(values, eps):
    c = np.array(values, dtype=np.int64)
    exact = c / np.sqrt(np.sum(c.astype(float) ** 2) + eps) * 2**15
    mantissa_cut = 0.5 / 4096  # m is rounded down to 12 bits, and 1/sqrt halves a relative error
    assert np.max(np.abs(arithmetic.unit_scale(c, np.int64(eps)) - exact)) <= 0.5 + 2**15 * (mantissa_cut + 6e-5)


@given(st.integers(-(2**40), 2**40))
def test_saturation_is_symmetric(value):
    for bits in (8, 16):
        assert int(arithmetic.saturate(np.int64(-value), bits)) == -int(arithmetic.saturate(np.int64(value), bits))
