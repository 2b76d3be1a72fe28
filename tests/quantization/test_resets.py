"""Segments: integer graphs, golden vectors and their scores start anew at each."""

import dataclasses

import numpy as np
import pytest

from export.stepgraph import metadata
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.drive import Int8Chain
from quantization.frontend import quantize_frontend
from quantization.golden import Golden, in_units, run_decoder, run_frontend
from quantization.ladder import compare
from quantization.recorded import float_features
from quantization.scores import score
from quantization.stream import make_golden
from realm_edge.frontend import design, lfp_features
from realm_edge.metrics import accuracy
from realm_edge.progress import Silent
from realm_edge.segments import bounds, with_history
from realm_edge.session import Session
from realm_edge.settings import SIX_BANDS, Settings
from realm_edge.streams import LFP

SETTINGS = Settings(lfp=SIX_BANDS.model_copy(update={"power_bins": 8, "zscore_bins": 64}))  # of scored_chain
STARTS = (0, 120, 380, 401, 402, 470, 520, 560, 599)  # of 600 bins; the test part begins at 500
VALIDATION_END, WARM_UP = 500, 150


def test_a_run_with_resets_is_the_runs_of_its_segments(int8_graph):
    model, rows = int8_graph
    is_frontend = "valid" in [output.name for output in model.graph.output]
    run = run_frontend if is_frontend else run_decoder
    whole, whole_states = run(model, rows)
    bins = len(whole)
    ticks = round(metadata(model)["rate_hz"] / 50) if is_frontend else 1
    starts = (0, 1, 2, bins // 2, bins // 2 + 1, bins - 1)
    outputs, states = run(model, rows, starts)
    parts = [run(model, rows[start * ticks : stop * ticks]) for start, stop in bounds(starts, bins)]
    np.testing.assert_array_equal(outputs, np.concatenate([part for part, _ in parts]))
    for name, values in states.items():
        np.testing.assert_array_equal(values, np.concatenate([part[name] for _, part in parts]), err_msg=name)
        assert values.dtype == whole_states[name].dtype
    for start in starts[1:]:  # each of them matters
        assert any((values[start] != whole_states[name][start]).any() for name, values in states.items())
    assert compare(model, rows, [start * ticks for start in starts]) == len(rows)


@pytest.fixture(scope="module")
def session(scored_chain) -> Session:
    bins = len(scored_chain.features)
    t = np.arange(bins)[:, None]
    return Session(
        name="trials", heldout=True, synthetic=True, targets=np.sin(t / [9.0, 13.0]).astype(np.float32), target_names=("vx", "vy"),
        target_unit="mm/s", train_end=400, validation_end=VALIDATION_END, lfp=scored_chain.samples,
        good_channels=np.array([True, True, False, True, True, True]), features=scored_chain.features, counts=None, spike_source="none",
        spike_threshold=None, broadband=None, starts=np.array(STARTS),
    )  # fmt: skip


@pytest.fixture(scope="module")
def graphs(scored_chain) -> Int8Chain:
    """Calibrated as the stage does it on a recording with pauses."""
    frontend = design(SETTINGS, np.array([True, True, False, True, True, True]))
    plain = lfp_features(dataclasses.replace(frontend, zscore_bins=0), scored_chain.samples, STARTS)
    integers = quantize_frontend(scored_chain.frontend, plain, {})
    observed = observe(scored_chain.decoder, lfp_features(frontend, scored_chain.samples, STARTS), 15, starts=STARTS)
    return Int8Chain(integers, quantize_decoder(scored_chain.decoder, observed, metadata(integers)["io"]["features"]["scale"], {}))


@pytest.fixture(scope="module")
def golden(graphs, session) -> Golden:
    return made(graphs, session)


def made(graphs: Int8Chain, session: Session) -> Golden:
    return make_golden(SETTINGS, LFP, session, graphs.frontend, graphs.decoder, Silent())


def test_golden_vectors_carry_the_resets_of_their_bins(golden, graphs, tmp_path):
    assert (golden.first_bin, golden.warm_up, len(golden.decoded), golden.ticks_per_bin) == (350, WARM_UP, 250, 20)
    assert golden.starts.tolist() == [0, 30, 51, 52, 120, 170, 210, 249]
    last = golden.samples[249 * 20 :]
    features, states = run_frontend(graphs.frontend, last)
    decoded, _ = run_decoder(graphs.decoder, features)
    np.testing.assert_array_equal(golden.decoded[249:], decoded)
    np.testing.assert_array_equal(golden.features[249:], features)
    for name, values in states.items():
        np.testing.assert_array_equal(golden.frontend_states[name][249:], values, err_msg=name)
    golden.save(tmp_path / "golden.npz")
    np.testing.assert_array_equal(Golden.load(tmp_path / "golden.npz").starts, golden.starts)


def test_without_pauses_golden_vectors_are_what_they_were(graphs, session, tmp_path):
    one = dataclasses.replace(session, starts=np.array([0]))
    plain = made(graphs, one)
    features, _ = run_frontend(graphs.frontend, session.lfp[350 * 20 :])
    np.testing.assert_array_equal(plain.features, features)
    np.testing.assert_array_equal(plain.decoded, run_decoder(graphs.decoder, features)[0])
    plain.save(tmp_path / "golden.npz")
    with np.load(tmp_path / "golden.npz") as file:
        assert "starts" not in file
    assert Golden.load(tmp_path / "golden.npz").starts.tolist() == [0]


def test_float_features_of_the_scores_start_anew_too(golden, session):
    features = float_features(LFP, session, SETTINGS, golden.samples, golden.starts)
    for start, stop in bounds(golden.starts, len(golden.decoded)):
        np.testing.assert_array_equal(features[start:stop], float_features(LFP, session, SETTINGS, golden.samples[start * 20 : stop * 20]))


def test_scores_of_all_bins_and_of_those_with_a_second_of_history(golden, session, graphs, scored_chain):
    def scored(golden: Golden, session: Session) -> dict:
        wiener = session.targets[VALIDATION_END:] * 0.5
        return score(golden, scored_chain.decoder, graphs.decoder, LFP, session, SETTINGS, wiener)

    scores = scored(golden, session)
    assert (scores.scored_bins, scores.warm_up_bins, scores.resets) == (100, WARM_UP, 7)
    int8, true = in_units(golden.decoded, graphs.decoder)[WARM_UP:], session.targets[VALIDATION_END:]
    old = with_history(STARTS, session.bins, 0.02)[VALIDATION_END:]
    assert old.sum() == 1 and scores.with_history is None  # 19 bins behind the start at 470, then segments below a second
    assert scores.r2.int8 == pytest.approx(np.mean(accuracy(true, int8).r2))
    # Float starts anew where int8 does: else the bins behind a reset would differ by far more than rounding.
    assert scores.nrmse_int8_float < 0.05
    late = dataclasses.replace(golden, starts=np.array([0]))
    assert scored(late, session).nrmse_int8_float > 2 * scores.nrmse_int8_float

    longer = dataclasses.replace(session, starts=np.array([0, 510]))
    again = made(graphs, longer)
    alone = scored(again, longer).with_history
    int8 = in_units(again.decoded, graphs.decoder)[WARM_UP:]
    chosen = np.r_[0:10, 59:100]
    assert alone.scored_bins == len(chosen) == with_history((0, 510), session.bins, 0.02)[VALIDATION_END:].sum()
    assert alone.r2.int8 == pytest.approx(np.mean(accuracy(true[chosen], int8[chosen]).r2))
    assert alone.r2.wiener == pytest.approx(np.mean(accuracy(true[chosen], true[chosen] * 0.5).r2))

    whole = dataclasses.replace(session, starts=np.array([0]))
    one = made(graphs, whole)
    assert scored(one, whole).with_history is None


def test_the_decoder_says_how_long_its_warm_up_is(graphs):
    assert metadata(graphs.decoder)["warm_up_bins"] == 15
