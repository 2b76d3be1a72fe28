"""Real numbers to the constants of the integer arithmetic, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantization.fixedpoint import MAX_SHIFT, fixed_point, norm_eps, stored_scale, table
from realm_edge.errors import UserError


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5).filter(lambda values: max(map(abs, values)) > 1e-3), st.integers(14, 30))
def test_multipliers_are_as_fine_as_their_bits_allow(values, bits):
    multipliers, k = fixed_point(values, bits, "x")
    largest = np.abs(multipliers).max()
    assert np.abs(multipliers / 2.0**k - values).max() <= 0.5 / 2.0**k
    assert largest < 2**bits and (k == MAX_SHIFT or largest >= 2 ** (bits - 2))


def test_what_no_multiplier_can_hold():
    with pytest.raises(UserError, match=r"x: multiplier 1e\+03 needs more than 8 bits"):
        fixed_point(1e3, 8, "x")
    with pytest.raises(UserError, match="x: not a finite multiplier"):
        fixed_point([1.0, np.nan], 8, "x")
    assert fixed_point(0.0, 8, "x", max_shift=30) == (0, 30)


def test_scales_reach_as_far_as_the_largest_value():
    assert stored_scale(16383.5) == 0.5 and stored_scale(254.0, 127) == 2.0 and stored_scale(0.0, 127) == 1 / 127


def test_a_table_has_the_functions_values_at_its_points():
    points = table(lambda x: 3 * x - 1, 2.0**-10, 2.0**-8, limit=20_000)
    codes = np.arange(-128, 129) * 256
    np.testing.assert_array_equal(points, np.clip(np.rint((3 * codes * 2.0**-10 - 1) * 256), -20_000, 20_000))
    assert points.dtype == np.int16 and len(points) == 257


def test_eps_is_in_squared_counts_summed_over_n():
    assert norm_eps(1e-5, 24, 2.0**-10, "x") == round(24 * 1e-5 * 2**20)
    assert norm_eps(1e-5, 24, 10.0, "x") == 1  # a silent input gives 0 and not a division by 0
    with pytest.raises(UserError, match="smaller than the norm's eps by far"):
        norm_eps(1e-5, 24, 1e-12, "x")
