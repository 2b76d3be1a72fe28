"""Wiener filter and accuracy on data whose answers are known."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from realm_edge import wiener
from realm_edge.errors import UserError
from realm_edge.metrics import accuracy, nrmse, score_test_part
from realm_edge.session import Session

STARTS = (0, 300, 305, 1100)


def delayed(bins=1500, delay=1, noise=0.1):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((bins, 4)).astype(np.float32)
    targets = np.zeros((bins, 2), np.float32)
    targets[delay:, 0] = inputs[:-delay, 1]
    targets[:, 1] = inputs[:, 0] - inputs[:, 2]
    return inputs, targets + noise * rng.standard_normal(targets.shape).astype(np.float32)


def windows(inputs, edges, starts=(0,)):
    """Bin by bin and window by window: the mean of the inputs, zeros before the segment."""
    rows = []
    for k in range(len(inputs)):
        first = max(start for start in starts if start <= k)
        past = [inputs[k - lag] if k - lag >= first else np.zeros(inputs.shape[1]) for lag in range(edges[-1])]
        rows.append(np.concatenate([np.mean(past[a:b], axis=0) for a, b in itertools.pairwise(edges)]))
    return np.array(rows)


def decoded(columns, targets, rest, block, alpha):
    """A block by the ridge of scikit-learn, fitted on the rest."""
    return Ridge(alpha=alpha).fit(columns[rest], targets[rest]).predict(columns[block]).reshape(len(block), -1)


def held_out_error(columns, targets, alpha, lags):
    """Mean squared error over five blocks, by scikit-learn, with as many bins as lags left out around each."""
    at, errors = np.arange(len(columns)), []
    for block in np.array_split(at, 5):
        rest = at[(at <= block[0] - lags) | (at >= block[-1] + lags)]
        errors.append((decoded(columns, targets, rest, block, alpha) - targets[block]) ** 2)
    return np.concatenate(errors).mean()


def test_finds_the_lags_that_the_data_have():
    inputs, targets = delayed()
    fitted = wiener.fit(inputs, targets, 1200)
    assert fitted.lags == 2  # fewer miss the delayed input, more only add noise
    scored = accuracy(targets[1200:], wiener.predict(fitted, inputs)[1200:])
    assert min(scored.r2) > 0.95
    assert fitted.parameters == 2 * 4 * 2 + 2


def test_lags_double_until_the_longest_is_not_the_best():
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((20_000, 2)).astype(np.float32)
    total = np.cumsum(inputs[:, :1], axis=0)
    targets = (total - np.concatenate((np.zeros((128, 1)), total[:-128]))) / 10 + 0.3 * rng.standard_normal((20_000, 1))
    fitted = wiener.fit(inputs, targets.astype(np.float32), 16_000)
    assert fitted.lags == 128  # far behind the filters that are tried at once, and not the last that is tried
    assert accuracy(targets[16_000:], wiener.predict(fitted, inputs)[16_000:]).r2[0] > 0.9
    taps = fitted.weights.reshape(128, 2)
    np.testing.assert_allclose(taps[:, 0], 0.1, atol=0.03)
    assert np.abs(taps[:, 1]).max() < 0.03


@pytest.mark.parametrize(("edges", "starts"), [((0, 1, 2, 4), (0,)), (range(6), (0,)), ((0, 1, 2, 4, 8), STARTS)])
def test_equals_ridge_on_means_over_windows(edges, starts):
    inputs, targets = delayed()
    fitted = wiener.fit_windows(inputs, targets, 1200, edges, starts)
    columns = windows(inputs, edges, starts)
    reference = Ridge(alpha=fitted.alpha).fit(columns[:1200], targets[:1200])
    np.testing.assert_allclose(wiener.predict(fitted, inputs, starts), reference.predict(columns), atol=1e-4)
    exact = held_out_error(columns[:1200], targets[:1200], fitted.alpha, edges[-1])
    assert fitted.held_out_loss == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize(("scale", "noise", "expected"), [(1.0, 30.0, "large"), (0.1, 0.1, "small")])
def test_the_penalty_is_never_at_the_end_of_the_grid(scale, noise, expected):
    inputs, targets = delayed(noise=noise)
    fitted = wiener.fit_windows(inputs * np.float32(scale), targets, 1200, (0, 1, 2))
    columns = windows(inputs * scale, (0, 1, 2))[:1200]
    losses = [held_out_error(columns, targets[:1200], fitted.alpha * factor, 2) for factor in (0.1, 1.0, 10.0)]
    gain = wiener.GAIN * targets[:1200].var()
    assert losses[1] <= min(losses[0], losses[2]) + 2 * gain
    first = [10.0**power for power in wiener.FIRST_PENALTIES]
    assert fitted.alpha >= first[-1] if expected == "large" else fitted.alpha < first[0]


def test_what_cannot_be_decoded_is_answered_with_the_mean():
    rng = np.random.default_rng(3)
    inputs, targets = rng.standard_normal((1500, 4)).astype(np.float32), rng.standard_normal((1500, 1)).astype(np.float32)
    fitted = wiener.fit(inputs, targets, 1200)
    assert np.std(wiener.predict(fitted, inputs)) < 0.1
    np.testing.assert_allclose(fitted.intercept, targets[:1200].mean(axis=0), atol=0.01)


def test_nothing_leaks_from_a_block_into_the_fit_that_decodes_it():
    """Targets that are a slow random walk, inputs without information: with shared inputs across the edge of a block lags would pay."""
    rng = np.random.default_rng(4)
    inputs = rng.standard_normal((1000, 3)).astype(np.float32)
    targets = np.cumsum(rng.standard_normal((1000, 1)), axis=0).astype(np.float32)
    targets /= targets.std()
    fitted = wiener.fit_windows(inputs, targets, 1000, range(41))
    exact = held_out_error(windows(inputs, range(41)), targets, fitted.alpha, 40)
    assert fitted.held_out_loss == pytest.approx(exact, rel=1e-4)
    at, errors = np.arange(1000), []
    columns = windows(inputs, range(41))
    for block in np.array_split(at, 5):
        rest = np.setdiff1d(at, block)
        errors.append((decoded(columns, targets, rest, block, fitted.alpha) - targets[block]) ** 2)
    assert abs(np.concatenate(errors).mean() / exact - 1) > 1e-3  # without the margin it would be another figure


def test_is_causal_and_never_reads_past_the_training_part():
    inputs, targets = delayed()
    expected = wiener.fit(inputs, targets, 1200)
    spoiled_inputs, spoiled_targets = inputs.copy(), targets.copy()
    spoiled_inputs[1200:], spoiled_targets[1200:] = np.inf, np.inf
    fitted = wiener.fit(spoiled_inputs, spoiled_targets, 1200)
    assert (fitted.lags, fitted.alpha) == (expected.lags, expected.alpha)
    np.testing.assert_array_equal(fitted.weights, expected.weights)

    predicted, changed = wiener.predict(fitted, inputs), inputs.copy()
    changed[700:] += 1
    np.testing.assert_array_equal(wiener.predict(fitted, changed)[:700], predicted[:700])


def test_skips_unknown_bins():
    inputs, targets = delayed()
    targets[100:200, 0] = np.nan
    without = wiener.fit_windows(inputs, targets, 1000, range(6))
    kept = np.r_[0:100, 200:1000]
    reference = Ridge(alpha=without.alpha).fit(windows(inputs, range(6))[kept], targets[kept])
    np.testing.assert_allclose(without.weights, reference.coef_.T, atol=1e-4)


def test_segments_are_decoded_as_if_each_were_alone():
    inputs, targets = delayed()
    fitted = wiener.fit_windows(inputs, targets, 1200, range(9), STARTS)
    together = wiener.predict(fitted, inputs, STARTS)
    alone = [wiener.predict(fitted, inputs[a:b]) for a, b in zip(STARTS, (*STARTS[1:], 1500), strict=True)]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    assert not np.array_equal(together, wiener.predict(fitted, inputs))
    assert not np.array_equal(fitted.weights, wiener.fit_windows(inputs, targets, 1200, range(9)).weights)
    # Starts behind the training part change nothing.
    np.testing.assert_array_equal(fitted.weights, wiener.fit_windows(inputs, targets, 1200, range(9), (*STARTS, 1300)).weights)


def test_one_axis():
    inputs, targets = delayed()
    fitted = wiener.fit(inputs, targets[:, 1:], 1200)
    assert wiener.predict(fitted, inputs).shape == (1500, 1)
    assert accuracy(targets[1200:, 1:], wiener.predict(fitted, inputs)[1200:]).r2[0] > 0.95


def test_no_more_columns_than_half_the_training_bins():
    inputs, targets = delayed(delay=1)
    assert wiener.fit(inputs, targets, 15).lags == 1  # 4 inputs x 2 windows > 7; without the rule, 2 would win
    assert wiener.fit(inputs, targets, 16).lags == 2


def test_no_more_lags_than_a_block_of_bins(monkeypatch):
    tried = []

    def noted(*arguments):
        tried.append(arguments[3][-1])
        return fit_windows(*arguments)

    fit_windows = wiener.fit_windows
    monkeypatch.setattr(wiener, "fit_windows", noted)
    wiener.fit(*delayed(delay=12), 60)
    assert tried == [1, 2, 4, 8]  # 60 bins make blocks of 12


def test_too_little_to_learn_from():
    inputs, targets = delayed()
    targets[9:] = np.nan
    with pytest.raises(UserError, match=r"only 9 bins of known behaviour in the training part, and ridge with 1 lag\(s\) needs 10"):
        wiener.fit(inputs, targets, 1200)


def test_accuracy_by_hand():
    true = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [np.nan, 5.0]])
    predicted = np.array([[1.0, 1.0], [2.0, 0.0], [4.0, 1.0], [9.0, 9.0]])
    got = accuracy(true, predicted)
    assert got.bins == 3
    assert got.r2 == pytest.approx((1 - 1 / 2, 1 - 3 / (2 / 3)))
    assert got.r == pytest.approx((np.corrcoef([1, 2, 3], [1, 2, 4])[0, 1], -1.0))
    assert got.scores(("x", "y")).r2_by_axis == pytest.approx({"x": 0.5, "y": -3.5})


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
    assert (got.bins, got.bins_with_history) == (len(known), len(late))
    assert got.r2 == pytest.approx(r2_score(targets[known], predicted[known]))
    assert got.r2_with_history == pytest.approx(r2_score(targets[late], predicted[late])) and got.r2_with_history != got.r2
    short = score_test_part(replace(one, starts=np.arange(0, 20, 2)), predicted, 0.25)
    assert short == got.model_copy(update={"r2_with_history": None, "bins_with_history": 0})
    whole = score_test_part(replace(one, starts=np.zeros(1, np.int64)), predicted, 0.25)
    assert whole.r2_with_history == whole.r2 and whole.bins_with_history == whole.bins


def test_a_constant_prediction_has_no_correlation_and_a_constant_truth_no_score():
    true = np.array([[1.0], [2.0], [3.0]])
    assert accuracy(true, np.full((3, 1), 2.0)).r == (0.0,)
    assert accuracy(true, np.full((3, 1), 2.0)).r2 == (0.0,)
    with pytest.raises(UserError, match="axis 0 is constant"):
        accuracy(np.ones((3, 1)), true)
    with pytest.raises(UserError, match="only 1 bins"):
        accuracy(np.array([[1.0], [np.nan]]), np.zeros((2, 1)))


def test_an_error_of_5_percent_an_axis_reads_as_5_percent():
    """Whatever the axes' means and sizes are; pooled, the distance of their means would count as spread."""
    rng = np.random.default_rng(0)
    exact = rng.normal([0.0, 500.0, -30.0], [1.0, 20.0, 0.1], (2000, 3))
    values = exact + 0.05 * exact.std(axis=0) * rng.choice([-1, 1], exact.shape)
    assert nrmse(values, exact) == pytest.approx(0.05)
    one_axis = exact.copy()
    one_axis[:, 1] += 0.3 * exact[:, 1].std()
    assert nrmse(one_axis, exact) == pytest.approx(0.3 / np.sqrt(3))
    with pytest.raises(UserError, match="axis 1 of the decoder's output never changes"):
        nrmse(values, np.stack([exact[:, 0], np.ones(2000), exact[:, 2]], axis=1))
