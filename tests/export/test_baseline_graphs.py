"""Rungs 1 and 2 of the ladder for the classic decoders: float step graphs in onnxruntime against what is fitted."""

import numpy as np
import pytest
import torch

from export.baseline_graphs import gru_graph, wiener_graph
from export.stepgraph import Stepper, metadata
from realm_edge.baselines.recurrent import Recurrent
from realm_edge.training.segments import Statistics
from realm_edge.wiener import Wiener, predict

BINS, N, DIMS = 60, 12, 2
STATISTICS = Statistics(
    *(np.linspace(low, high, n, dtype=np.float32) for low, high, n in ((-1, 2, N), (0, 3, N), (4, 5, DIMS), (1, 9, DIMS)))
)


def features() -> np.ndarray:
    """Wide enough that some are clipped."""
    return np.random.default_rng(2).normal(0, 3, (BINS, N)).astype(np.float32)


def standardised(rows: np.ndarray) -> np.ndarray:
    return np.clip((rows - STATISTICS.input_mean) * STATISTICS.input_inv_std, -8, 8)


@pytest.mark.parametrize("lags", [1, 2, 7])
def test_wiener_graph_equals_the_filter(lags):
    rng, rows = np.random.default_rng(lags), features()
    wiener = Wiener(lags, 1.0, 0.0, rng.normal(0, 1, (lags * N, DIMS)).astype(np.float32), np.array([0.3, -2], np.float32))
    model = wiener_graph(wiener, STATISTICS, 50.0, ("vx", "vy"), "mm/s", {"train": "x"})
    stepper = Stepper(model)
    got = np.array([stepper.step({"features": row})["decoded"] for row in rows])
    expected = predict(wiener, standardised(rows))
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())
    assert {name: state.shape for name, state in stepper.state.items()} == ({"state.filter.sums": (lags - 1, DIMS)} if lags > 1 else {})
    about = metadata(model)
    assert (about["io"]["decoded"]["scale"], about["io"]["decoded"]["offset"]) == ([1.0, 9.0], [4.0, 5.0])
    assert about["made_from"] == {"train": "x"}


@torch.no_grad()
def test_gru_graph_equals_torch():
    torch.manual_seed(0)
    decoder, rows = Recurrent("gru", 16, N, DIMS).eval(), features()
    stepper, state = Stepper(gru_graph(decoder, STATISTICS, 50.0, ("vx", "vy"), "mm/s", {})), None
    for row in rows:
        out, state = decoder(torch.from_numpy(standardised(row))[None, None], state)
        np.testing.assert_allclose(stepper.step({"features": row})["decoded"], out[0, 0].numpy(), atol=1e-5)
        np.testing.assert_allclose(stepper.state["state.gru.h"], state[0, 0].numpy(), atol=1e-5)
