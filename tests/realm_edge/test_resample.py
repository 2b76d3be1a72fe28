import weakref

import numpy as np
import pytest

from realm_edge.errors import UserError
from realm_edge.resample import blocks_to_rate, new_length, to_counts, to_rate

RATES = [4800, 24414.0625, 2000, 30_000, 500, 997.1234567]


def tone(frequency, rate, seconds=4.0):
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)[:, None]


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_keeps_amplitude_and_is_late_by_the_returned_delay(rate):
    y, delay = to_rate(tone(100.0, rate), rate, 1000)
    assert abs(len(y) - 4000) <= 1
    t = np.arange(len(y)) / 1000 - delay
    np.testing.assert_allclose(y[200:, 0], np.sin(2 * np.pi * 100.0 * t)[200:], atol=2e-3)
    assert 0 < delay < 0.02


@pytest.mark.parametrize("rate", [4800, 24414.0625, 2000])
def test_what_would_fold_onto_the_pass_band_is_stopped(rate):
    y, _ = to_rate(tone(870.0, rate), rate, 1000)  # would fold to 130 Hz
    assert np.abs(y[100:]).max() < 2e-3


@pytest.mark.parametrize("rate", RATES)
def test_the_future_does_not_change_the_past(rate):
    x = np.random.default_rng(0).standard_normal((round(2 * rate), 2))
    changed = x.copy()
    moment = round(1.2 * rate)
    changed[moment:] += 10.0
    before, after = to_rate(x, rate, 1000)[0], to_rate(changed, rate, 1000)[0]
    first = np.flatnonzero((before != after).any(axis=1))[0]
    assert 0 <= first / 1000 - moment / rate < 2e-3  # and is seen at once, however little


def test_equal_rates_are_the_identity():
    x = np.random.default_rng(0).integers(-100, 100, (50, 3), dtype=np.int16)
    y, delay = to_rate(x, 1000.0, 1000)
    np.testing.assert_array_equal(y, x)
    assert delay == 0.0
    assert len(to_rate(x, 1000.0002, 1000)[0]) == 50  # the rate of timestamps, within a part per million


@pytest.mark.parametrize("rate", [*RATES, 1000.0])
@pytest.mark.parametrize("lengths", [[7], [1, 1, 2, 3], [0, 4000], [1000, 313, 60, 20_000], [5000] * 4], ids=str)
def test_blocks_equal_the_whole(rate, lengths):
    x = np.random.default_rng(0).integers(-3000, 3000, (sum(lengths), 2), dtype=np.int16)
    whole, delay = to_rate(x, rate, 1000)
    parts, same_delay = blocks_to_rate(np.split(x, np.cumsum(lengths)[:-1]), rate, 1000)
    made = list(parts)
    assert len(made) == len(lengths) and same_delay == delay
    np.testing.assert_array_equal(np.concatenate(made), whole)  # to the last bit: the same sums in the same order
    assert len(whole) == new_length(len(x), rate, 1000)


def test_blocks_are_let_go_of():
    given = []

    def blocks():
        for _ in range(20):
            block = np.zeros((50_000, 1), np.int16)
            given.append(weakref.ref(block))
            yield block
            del block
            assert sum(each() is not None for each in given) <= 1  # the resampler's loop variable

    made = sum(len(part) for part in blocks_to_rate(blocks(), 24414.0625, 1000)[0])
    assert made == new_length(1_000_000, 24414.0625, 1000) and len(given) == 20


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), 1e9])
def test_odd_rates_are_refused(rate):
    with pytest.raises(UserError, match="rate"):
        to_rate(np.zeros((10, 1)), rate, 1000)


def test_counts_round_and_saturate():
    np.testing.assert_array_equal(to_counts(np.array([0.4, 0.6, -1.6, 4e4, -4e4])), [0, 1, -2, 32767, -32768])
