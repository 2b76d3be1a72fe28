"""Every integer operator: the ONNX function in onnxruntime equals the numpy reference, every bit, over the whole range of its inputs."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from export.stepgraph import GraphBuilder, Stepper
from quantization import arithmetic, fixedpoint
from quantization.functions import functions
from quantization.operator import draw_ints
from quantization.operators import OPERATORS
from quantization.operators.bin_features import q_bin_features
from quantization.operators.fir import q_fir
from quantization.operators.gru_step import q_gru_step
from quantization.operators.running_z import q_running_z
from realm_edge.frontend import ZSCORE_FLOOR
from realm_edge.frontend import running_z as float_running_z


@cache
def session(op: str, signature: tuple, results: tuple, attributes: tuple) -> Stepper:
    graph = GraphBuilder(op, functions())
    names = [graph.input(f"in{i}", np.dtype(dtype).type, shape) for i, (dtype, shape) in enumerate(signature)]
    for i, (dtype, shape) in enumerate(results):
        graph.output(f"out{i}", np.dtype(dtype).type, shape)
    graph.node(op, names, [f"out{i}" for i in range(len(results))], **dict(attributes))
    return Stepper(graph.build())


@pytest.mark.parametrize("op", OPERATORS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_onnxruntime_equals_reference(op, seed):
    arrays, attributes = OPERATORS[op].draw(np.random.default_rng(seed))
    arrays = [np.asarray(a) for a in arrays]
    expected = OPERATORS[op].arithmetic(*arrays, **attributes)
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
    constants = [np.int64(v) for v in (1, 1, 2**20, 1, 1, one, 3072, 2**log_bins)]
    for z, settled in ((code, code**2), (0, 0)):
        z = np.array([[z]], np.int32)
        for _ in range(60 * 2**log_bins):
            results = q_bin_features(none, z, np.zeros(1, np.int32), none, power, held, *constants)
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
        held, seen, mean, deviation = q_running_z(row, valid, seen, mean, deviation, held, np.int64(64), floor)
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
    weight, x = draw_ints(rng, np.int8, (lags * n, dims), 127), draw_ints(rng, np.int8, (20, n), 127)
    constants = [np.zeros(dims, np.int32), np.ones(dims, np.int32), np.int64(1)]
    state = np.zeros((lags - 1, dims), np.int32)
    padded = np.concatenate([np.zeros((lags - 1, n), np.int64), x])
    for at in range(len(x)):
        y, state = q_fir(x[at], state, weight, *constants)
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
        (h,) = q_gru_step(*codes, h, sigmoid, tanh)
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
