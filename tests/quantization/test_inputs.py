"""What a stream without a front end feeds its decoder."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantization.fixedpoint import INT16_LIMIT
from quantization.inputs import input_scale, stored
from realm_edge.models.student import CLIP
from realm_edge.settings import Settings, SpikeSettings
from realm_edge.streams import LFP, SPIKE


@given(arrays.arrays(np.float32, (40, 3), elements=st.floats(-1e6, 1e6, width=32)))
def test_a_feature_is_known_to_half_a_count_as_far_as_the_decoder_looks(training):
    scale = np.array(input_scale(LFP, Settings(), training))
    known = training.astype(np.float64)
    reach = np.abs(known.mean(axis=0)) + CLIP * known.std(axis=0)
    assert scale.shape == (3,) and (scale > 0).all()
    np.testing.assert_allclose(scale[reach > 0], reach[reach > 0] / INT16_LIMIT)
    # 40 values lie within sqrt(39) < 8 standard deviations of their mean: none of them saturates.
    assert (np.abs(stored(training, scale) * scale - known) <= 0.5 * scale + 1e-6 * np.abs(known)).all()


def test_what_lies_beyond_saturates_and_a_silent_feature_stays_zero():
    training = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    scale = input_scale(LFP, Settings(), training)
    np.testing.assert_array_equal(stored(np.array([[8.0, 0.0], [-900.0, 0.0]], np.float32), scale), [[32767, 0], [-32767, 0]])


def test_counts_are_stored_as_they_are_and_their_z_scores_as_the_front_end_has_them():
    counts = np.array([[0.0, 3.0]], np.float32)
    assert input_scale(SPIKE, Settings(), counts) == [1.0, 1.0]
    scored = input_scale(SPIKE, Settings(spike=SpikeSettings(zscore_bins=64)), counts)
    assert scored[0] < 1.0 and np.log2(scored[0]) % 1 == 0
