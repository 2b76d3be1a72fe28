"""Segments of a session, and what starts anew with them."""

import numpy as np

from realm_edge.frontend import design, design_spike, lfp_features, spike_counts
from realm_edge.segments import bounds, history, learnt_from, with_history, within
from realm_edge.settings import SIX_BANDS, Settings, changed

STARTS = np.array([0, 3, 10])


def test_bounds_history_and_parts():
    assert list(bounds(STARTS, 12)) == [(0, 3), (3, 10), (10, 12)]
    assert list(bounds((0,), 5)) == [(0, 5)]
    assert history(STARTS, 12).tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert within(STARTS, 2, 11).tolist() == [0, 1, 8]
    assert within(STARTS, 3, 9).tolist() == [0]


def test_a_bin_has_history_once_a_second_of_its_segment_is_over():
    known = with_history(np.array([0, 60]), 120, 0.02)
    assert np.flatnonzero(known).tolist() == [*range(49, 60), *range(109, 120)]


def test_every_segment_of_the_lfp_front_end_starts_at_rest():
    settings = changed(Settings(lfp=SIX_BANDS), {"lfp": {"zscore_bins": 4}})
    frontend = design(settings, np.ones(5, bool))
    lfp = np.random.default_rng(0).integers(-500, 500, (12 * settings.lfp_samples_per_bin, 5)).astype(np.int16)
    parts = [lfp_features(frontend, lfp[a * 20 : b * 20]) for a, b in bounds(STARTS, 12)]
    np.testing.assert_array_equal(lfp_features(frontend, lfp, STARTS), np.concatenate(parts))
    assert not np.array_equal(lfp_features(frontend, lfp), np.concatenate(parts))


def test_every_segment_of_the_spike_front_end_starts_at_rest_whatever_the_blocks():
    settings = changed(Settings(lfp=SIX_BANDS), {"spike": {"zscore_bins": 4}})
    frontend = design_spike(settings, np.array([-80, -60], np.int32))
    samples = settings.spike_samples_per_bin
    x = np.random.default_rng(1).integers(-100, 100, (12 * samples, 2)).astype(np.int16)
    parts = [spike_counts(frontend, [x[a * samples : b * samples]]) for a, b in bounds(STARTS, 12)]
    for blocks in ([x], np.split(x, 12), [x[: 5 * samples], x[5 * samples :]]):
        np.testing.assert_array_equal(spike_counts(frontend, blocks, STARTS), np.concatenate(parts))


def test_nothing_is_learnt_from_segments_that_are_void_as_a_whole():
    valid = np.ones(12, bool)
    valid[3:10] = False
    valid[11] = False  # a single bin of a segment: its inputs are good, its behaviour is unknown
    kept, starts = learnt_from(STARTS, valid, 12)
    assert np.flatnonzero(kept).tolist() == [0, 1, 2, 10, 11] and starts.tolist() == [0, 3]
    kept, starts = learnt_from(STARTS, None, 11)
    assert kept.all() and starts.tolist() == [0, 3, 10]
