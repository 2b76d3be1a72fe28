"""Wiener filter and accuracy on data whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from realm_edge import wiener
from realm_edge.errors import UserError
from realm_edge.metrics import accuracy, score_test_part
from realm_edge.session import Session


def delayed(bins=1500, delay=3, noise=0.1):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((bins, 4)).astype(np.float32)
    targets = np.zeros((bins, 2), np.float32)
    targets[delay:, 0] = inputs[:-delay, 1]
    targets[:, 1] = inputs[:, 0] - inputs[:, 2]
    return inputs, targets + noise * rng.standard_normal(targets.shape).astype(np.float32)


def test_lagged_puts_the_newest_bin_first_and_zeros_before_the_start():
    x = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    assert wiener.lagged(x, 2).tolist() == [[1, 2, 0, 0], [3, 4, 1, 2], [5, 6, 3, 4]]


def test_finds_the_lag_that_the_data_have():
    inputs, targets = delayed()
    fitted = wiener.fit(inputs, targets, 1000, 1200, (1, 2, 5, 20))
    assert fitted.lags == 5  # fewer miss the delayed input, more only add noise
    scored = accuracy(targets[1200:], wiener.predict(fitted, inputs)[1200:])
    assert min(scored.r2) > 0.95
    assert fitted.parameters == 5 * 4 * 2 + 2


def test_equals_ridge_and_is_causal():
    inputs, targets = delayed()
    fitted = wiener.fit(inputs, targets, 1000, 1200, (5,))
    columns = wiener.lagged(inputs, 5)
    reference = Ridge(alpha=fitted.alpha).fit(columns[:1000], targets[:1000])
    predicted = wiener.predict(fitted, inputs)
    np.testing.assert_allclose(predicted, reference.predict(columns), atol=1e-4)
    changed = inputs.copy()
    changed[700:] += 1
    np.testing.assert_array_equal(wiener.predict(fitted, changed)[:700], predicted[:700])


def test_never_reads_the_test_part_and_skips_unknown_bins():
    inputs, targets = delayed()
    expected = wiener.fit(inputs, targets, 1000, 1200, (1, 5))
    spoiled_inputs, spoiled_targets = inputs.copy(), targets.copy()
    spoiled_inputs[1200:], spoiled_targets[1200:] = np.inf, np.inf
    fitted = wiener.fit(spoiled_inputs, spoiled_targets, 1000, 1200, (1, 5))
    assert (fitted.lags, fitted.alpha) == (expected.lags, expected.alpha)
    np.testing.assert_array_equal(fitted.weights, expected.weights)

    gaps = targets.copy()
    gaps[100:200, 0] = np.nan
    without = wiener.fit(inputs, gaps, 1000, 1200, (5,))
    columns = wiener.lagged(inputs, 5)
    kept = np.r_[0:100, 200:1000]
    reference = Ridge(alpha=without.alpha).fit(columns[kept], targets[kept])
    np.testing.assert_allclose(without.weights, reference.coef_.T, atol=1e-4)


def test_one_axis():
    inputs, targets = delayed()
    fitted = wiener.fit(inputs, targets[:, 1:], 1000, 1200, (1,))
    assert wiener.predict(fitted, inputs).shape == (1500, 1)
    assert accuracy(targets[1200:, 1:], wiener.predict(fitted, inputs)[1200:]).r2[0] > 0.95


def test_no_more_inputs_than_half_the_training_bins():
    inputs, targets = delayed()
    assert wiener.fit(inputs, targets, 40, 1200, (2, 6, 20)).lags == 2  # 4 inputs x 6 lags > 20; without the rule, 6 would win
    assert wiener.fit(inputs, targets, 48, 1200, (2, 6, 20)).lags == 6


def test_nothing_known_to_learn_from():
    inputs, targets = delayed()
    targets[1000:1200] = np.nan
    with pytest.raises(UserError, match="no bin with known behaviour"):
        wiener.fit(inputs, targets, 1000, 1200, (1,))


def test_accuracy_by_hand():
    true = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [np.nan, 5.0]])
    predicted = np.array([[1.0, 1.0], [2.0, 0.0], [4.0, 1.0], [9.0, 9.0]])
    got = accuracy(true, predicted)
    assert got.bins == 3
    assert got.r2 == pytest.approx((1 - 1 / 2, 1 - 3 / (2 / 3)))
    assert got.r == pytest.approx((np.corrcoef([1, 2, 3], [1, 2, 4])[0, 1], -1.0))
    assert got.as_json(("x", "y"))["r2_by_axis"] == pytest.approx({"x": 0.5, "y": -3.5})


def test_the_test_part_is_scored_with_a_second_of_history_too():
    """Bins of 0.25 s: the fourth of a segment is the first with a second behind it."""
    targets = np.arange(20.0)[:, None] ** 2
    targets[17] = np.nan
    one = Session(
        name="s", heldout=True, synthetic=True, targets=targets, target_names=("x",), target_unit="m", train_end=4, validation_end=6,
        lfp=None, good_channels=np.ones(1, bool), features=None, counts=None, spike_source="none", spike_threshold=None, broadband=None,
        starts=np.array([0, 3, 11, 14]),
    )  # fmt: skip
    predicted = targets + np.arange(20)[:, None] % 3
    predicted[17] = 0
    got = score_test_part(one, predicted, 0.25)
    late = [6, 7, 8, 9, 10, 18, 19]  # of the segments from 3 and 14; that of 11 to 13 is too short, 17 is unknown
    known = [k for k in range(6, 20) if k != 17]
    assert (got["bins"], got["bins_with_history"]) == (len(known), len(late))
    assert got["r2"] == pytest.approx(r2_score(targets[known], predicted[known]))
    assert got["r2_with_history"] == pytest.approx(r2_score(targets[late], predicted[late])) and got["r2_with_history"] != got["r2"]
    short = score_test_part(replace(one, starts=np.arange(0, 20, 2)), predicted, 0.25)
    assert short == got | {"r2_with_history": None, "bins_with_history": 0}
    whole = score_test_part(replace(one, starts=np.zeros(1, np.int64)), predicted, 0.25)
    assert whole["r2_with_history"] == whole["r2"] and whole["bins_with_history"] == whole["bins"]


def test_a_constant_prediction_has_no_correlation_and_a_constant_truth_no_score():
    true = np.array([[1.0], [2.0], [3.0]])
    assert accuracy(true, np.full((3, 1), 2.0)).r == (0.0,)
    assert accuracy(true, np.full((3, 1), 2.0)).r2 == (0.0,)
    with pytest.raises(UserError, match="axis 0 is constant"):
        accuracy(np.ones((3, 1)), true)
    with pytest.raises(UserError, match="only 1 bins"):
        accuracy(np.array([[1.0], [np.nan]]), np.zeros((2, 1)))
