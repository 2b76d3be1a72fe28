"""Golden vectors of somebody else: what is no whole set of bins is refused where it is read, by the report as by the simulator."""

import numpy as np
import pytest

from quantization.golden import Golden
from realm_edge.errors import UserError

BINS = 9
WHOLE = {
    "first_bin": np.array(5),
    "warm_up": np.array(2),
    "samples": np.ones((20 * BINS, 3), np.int16),
    "features": np.ones((BINS, 3), np.int16),
    "decoded": np.ones((BINS, 2), np.int16),
    "frontend/state.a": np.ones((BINS, 4), np.int16),
    "decoder/state.b": np.ones((BINS, 1), np.int32),
    "starts": np.array([0, 4]),
}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("decoded", np.ones((BINS, 2)), r"'decoded' is float64\[9, 2\] for 9 bins"),
        ("decoded", np.ones(BINS, np.int16), r"'decoded' is int16\[9\]"),
        ("decoded", np.int16(3), "len"),
        ("features", np.ones((BINS - 1, 3), np.int16), r"'features' is int16\[8, 3\] for 9 bins"),
        ("samples", np.ones((20 * BINS + 1, 3), np.int16), r"'samples' is int16\[181, 3\] for 9 bins"),
        ("decoder/state.b", np.ones((BINS + 1, 1), np.int32), "a state is not of 9 bins"),
        ("starts", np.array([0, 4, 3]), "segments start at"),
        ("starts", np.array([1, 4]), "segments start at"),
        ("starts", np.array([0, BINS]), "segments start at"),
        ("starts", np.zeros((2, 2), int), "segments start at"),
        ("starts", np.zeros(0, int), "segments start at"),
        ("warm_up", np.array(-5), "segments start at"),
    ],
)
def test_what_is_no_whole_set_of_bins_is_refused(tmp_path, name, value, said):
    path = tmp_path / "lfp.npz"
    np.savez(path, **WHOLE)
    assert Golden.load(path).ticks_per_bin == 20
    np.savez(path, **(WHOLE | {name: value}))
    with pytest.raises(UserError, match=rf"lfp\.npz: not readable golden vectors \(.*{said}.*\); rerun 'realm-edge quantize'"):
        Golden.load(path)
