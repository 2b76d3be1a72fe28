"""What calibration may see, and what the scores are made of: by hand, with every number another."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import numpy_helper

from export.stepgraph import Stepper, metadata
from quantization import scores, stream
from quantization.calibrate import WARM_UP_BINS, observe, settled, warm_up_bins
from quantization.frontend import quantize_frontend
from quantization.golden import Golden, run_decoder
from quantization.inputs import input_scale
from quantization.scores import score
from quantization.stream import FEATURES_WARM_UP_BINS, REFERENCE_TICKS, SCORED_BINS, FloatGraphs, check_reference, make_golden, quantise
from quantization.tensor_table import Stretches
from realm_edge.frontend import ZSCORE_FLOOR, design, lfp_features
from realm_edge.metrics import accuracy
from realm_edge.progress import Silent
from realm_edge.segments import with_history
from realm_edge.session import Session
from realm_edge.settings import SIX_BANDS, Settings
from realm_edge.streams import LFP, SPIKE

GOOD = np.array([True, True, False, True, True, True])
PLAIN, SCORED = Settings(lfp=SIX_BANDS), Settings(lfp=SIX_BANDS.model_copy(update={"power_bins": 8, "zscore_bins": 64}))
TRAIN, VALIDATION = 400, 450


def session(chain, **changes) -> Session:
    bins = len(chain.features)
    t = np.arange(bins)[:, None]
    return Session(
        **{
            **{"name": "day3", "heldout": True, "synthetic": True, "targets": np.sin(t / [9.0, 13.0]).astype(np.float32)},
            **{"target_names": ("vx", "vy"), "target_unit": "mm/s", "train_end": TRAIN, "validation_end": VALIDATION},
            **{"lfp": chain.samples, "good_channels": GOOD, "features": chain.features, "counts": None, "spike_source": "none"},
            **{"spike_threshold": None, "broadband": None, **changes},
        }
    )


@pytest.fixture
def tabled(monkeypatch):
    """What the table of tensors is given, which is not made: the integer decoder's feature scale, what was observed, stretches."""
    seen: list[tuple] = []

    def table(model, decoder, observed, formats, stretches):
        seen.append((observed, np.asarray(metadata(decoder)["io"]["features"]["scale"]), stretches))
        return ()

    monkeypatch.setattr(stream, "tensor_table", table)
    return seen


def quantised(chain, one, settings, frontend=True):
    graphs = FloatGraphs(chain.frontend if frontend else None, chain.decoder, {"export": "abc"})
    return quantise(graphs, LFP, one, settings, Silent())


@pytest.mark.parametrize("kind", ["front end", "running z-score", "recorded features"])
def test_calibration_does_not_see_what_lies_behind_the_training_part(kind, request, tabled):
    chain = request.getfixturevalue("scored_chain" if kind == "running z-score" else "chain")
    settings = SCORED if kind == "running z-score" else PLAIN
    has_frontend = kind != "recorded features"
    one = session(chain) if has_frontend else session(chain, lfp=None)
    ticks = settings.lfp_samples_per_bin
    samples, features = chain.samples.copy(), chain.features.copy()
    samples[TRAIN * ticks :] = 32767  # a step, which the high-pass answers at once
    features[TRAIN:] *= 50
    other = dataclasses.replace(one, lfp=samples if has_frontend else None, features=features)
    first, second = (quantised(chain, each, settings, has_frontend) for each in (one, other))
    assert first.decoder.SerializeToString() == second.decoder.SerializeToString()
    if has_frontend:
        assert first.frontend.SerializeToString() == second.frontend.SerializeToString()
    (_, scale, stretches), (_, other_scale, other_stretches) = tabled
    np.testing.assert_array_equal(scale, other_scale)
    np.testing.assert_array_equal(stretches.features, other_stretches.features)
    np.testing.assert_array_equal(stretches.stored, other_stretches.stored)


def with_start_up(chain) -> np.ndarray:
    """Features whose local motor potential answers the step from 0 in the first bins, by more than it does later on."""
    features = chain.features.copy()
    features[:5, :6] += 10 * np.abs(chain.features[:, :6]).max()
    return features


def test_calibration_sees_the_whole_training_part_behind_the_warm_up(chain, tabled):
    features = with_start_up(chain)
    made = quantised(chain, session(chain, features=features), PLAIN)
    ((observed, scale, stretches),) = tabled
    assert (made.about.bins, made.about.warm_up_bins, made.about.segments) == (TRAIN, WARM_UP_BINS, 1)
    assert observed.warm_up == WARM_UP_BINS and len(observed.tensors["decoded"]) == TRAIN - WARM_UP_BINS
    expected = Stretches.of(features[WARM_UP_BINS:TRAIN], scale)
    np.testing.assert_array_equal(stretches.features, expected.features)
    assert made.about.compared_bins == len(expected.features)
    frontend = quantize_frontend(chain.frontend, features[WARM_UP_BINS:TRAIN], {"export": "abc"})
    assert made.frontend.SerializeToString() == frontend.SerializeToString()
    assert scale.tolist() == metadata(frontend)["io"]["features"]["scale"]


def test_where_a_recording_has_pauses_the_front_ends_range_takes_in_its_start(chain, tabled):
    starts, features = np.array([0, 200, 420]), with_start_up(chain)
    made = quantised(chain, session(chain, starts=starts, features=features), PLAIN)
    ((observed, _, stretches),) = tabled
    warm_up = warm_up_bins([0, 200], TRAIN)
    assert observed.warm_up == made.about.warm_up_bins == warm_up and made.about.segments == 2
    counts = settled([0, 200], TRAIN, warm_up)
    np.testing.assert_array_equal(stretches.features, Stretches.of(features[:TRAIN][counts], [1.0] * 42).features)
    frontend = quantize_frontend(chain.frontend, features[:TRAIN], {"export": "abc"})
    assert made.frontend.SerializeToString() == frontend.SerializeToString()


def test_the_floor_of_a_running_z_score_is_in_counts_of_each_feature(scored_chain):
    constants = {i.name: numpy_helper.to_array(i) for i in scored_chain.frontend_int8.graph.initializer}
    plain = lfp_features(dataclasses.replace(design(SCORED, GOOD), zscore_bins=0), scored_chain.samples)[50:]
    potential = 2.0 * np.abs(plain[:, :6]).max() / 32767  # twice what was seen
    scale = np.array([potential] * 6 + [2.0**-9] * (plain.shape[1] - 6))
    np.testing.assert_allclose(constants["zscore.floor"], ZSCORE_FLOOR / scale * 2.0**24, rtol=1e-6)
    assert constants["zscore.window"] == 64


@pytest.mark.parametrize("block", [0, 1])
def test_a_state_has_room_for_what_was_seen_of_it_and_for_what_enters(chain, block):
    """Whatever enters a head is dt x on the scale of the state over that of B, in int16."""
    observed, about, mixer = observe(chain.decoder, chain.features, 50), metadata(chain.decoder_int8), f"blocks.{block}.mixer"
    scale = np.array(next(state["scale"] for state in about["states"] if state["out"] == f"next.block{block}.h"))
    bias = next(numpy_helper.to_array(i) for i in chain.decoder.graph.initializer if i.name == f"{mixer}.dt_bias")
    dt = np.log1p(np.exp(observed.tensors[f"{mixer}.dt"] + bias))  # (bins, heads)
    x = observed.tensors[f"{mixer}.x"].reshape(len(dt), len(scale), -1)
    enters = np.abs(dt[:, :, None] * x).max(axis=(0, 2))
    room_for_state = scale * 32767 / observed.state_peaks[f"next.block{block}.h"]
    room_for_input = scale / (2.0**15 * about["scales"][f"{mixer}.B"]) * 32767 / enters
    assert room_for_state.min() >= 1.499 and room_for_input.min() >= 1.499
    assert np.minimum(room_for_state, room_for_input).max() < 1.6  # and not for more: resolution is lost


def test_states_are_those_after_each_bins_step(chain):
    rows = np.random.default_rng(0).integers(-900, 900, (6, chain.features.shape[1])).astype(np.int16)
    outputs, states = run_decoder(chain.decoder_int8, rows)
    stepper = Stepper(chain.decoder_int8)
    for k, row in enumerate(rows):
        np.testing.assert_array_equal(outputs[k], stepper.step({"features": row})["decoded"])
        for name, value in stepper.state.items():
            np.testing.assert_array_equal(states[name][k], value, err_msg=name)


def test_a_running_z_score_is_calibrated_on_what_it_scores(scored_chain, tabled):
    made = quantised(scored_chain, session(scored_chain), SCORED)
    plain = lfp_features(dataclasses.replace(design(SCORED, GOOD), zscore_bins=0), scored_chain.samples)
    frontend = quantize_frontend(scored_chain.frontend, plain[WARM_UP_BINS:TRAIN], {"export": "abc"})
    assert made.frontend.SerializeToString() == frontend.SerializeToString()


def test_segments_that_are_void_as_a_whole_are_not_calibrated_on(chain, tabled):
    valid = np.ones(len(chain.features), bool)
    valid[100:180] = False
    features = chain.features.copy()
    features[100:180] += 1e4
    void = dataclasses.replace(session(chain, lfp=None), features=features, valid=valid, starts=np.array([0, 100, 180]))
    made = quantised(chain, void, PLAIN, frontend=False)
    assert made.about.bins == TRAIN - 80 and made.about.segments == 2
    ((_, scale, _),) = tabled
    kept = np.concatenate([features[:100], features[180:TRAIN]])
    np.testing.assert_allclose(scale, input_scale(LFP, PLAIN, kept))


# --- golden vectors ---------------------------------------------------------------------------------------------------------------------


def golden_of(monkeypatch, one: Session, which, frontend: bool) -> Golden:
    """Made without running a graph."""
    monkeypatch.setattr(stream, "run_frontend", lambda model, ticks, starts: (np.zeros((len(list(ticks)) // 20, 6), np.int16), {}))
    monkeypatch.setattr(stream, "run_decoder", lambda model, features, starts: (np.zeros((len(features), 2), np.int16), {}))
    monkeypatch.setattr(stream, "metadata", lambda model: {"io": {"features": {"scale": np.full(6, 0.5)}}})
    return make_golden(PLAIN, which, one, "front end" if frontend else None, "decoder", Silent())


@pytest.mark.parametrize(
    ("which", "frontend", "bins", "validation_end", "warm_up"),
    [
        (LFP, True, 4000, 2000, WARM_UP_BINS),
        (LFP, True, 4000, 80, 80),
        (LFP, False, 9000, 5000, FEATURES_WARM_UP_BINS),
        (SPIKE, False, 9000, 5000, WARM_UP_BINS),
    ],
)
def test_golden_vectors_are_the_first_bins_of_the_test_part_behind_a_warm_up(monkeypatch, which, frontend, bins, validation_end, warm_up):
    rng = np.random.default_rng(0)
    inputs = rng.integers(-90, 90, (bins, 6)).astype(np.float32)
    one = Session(
        name="long", heldout=True, synthetic=True, targets=np.zeros((bins, 2), np.float32), target_names=("x", "y"), target_unit="mm",
        train_end=validation_end // 2, validation_end=validation_end, lfp=rng.integers(-9, 9, (bins * 20, 6)).astype(np.int16),
        good_channels=np.ones(6, bool), features=inputs, counts=-inputs, spike_source="units", spike_threshold=None, broadband=None,
        starts=np.array([0, validation_end - 10, validation_end + 30]),
    )  # fmt: skip
    golden = golden_of(monkeypatch, one, which, frontend)
    length = warm_up + min(SCORED_BINS, bins - validation_end)
    first = validation_end - warm_up
    assert (golden.first_bin, golden.warm_up, len(golden.decoded)) == (first, warm_up, length)
    assert golden.starts.tolist() == [0, warm_up - 10, warm_up + 30]
    if frontend:
        np.testing.assert_array_equal(golden.samples, one.lfp[first * 20 : (first + length) * 20])
    else:
        assert golden.samples is None
        np.testing.assert_array_equal(golden.features, which.inputs(one)[first : first + length] * 2)


def test_the_reference_is_compared_over_all_bins_of_the_decoder_and_the_first_ticks_of_the_front_end(monkeypatch):
    calls = []

    def compare(model, rows, starts):
        calls.append((model, rows.shape, np.asarray(starts).tolist()))
        return len(rows)

    monkeypatch.setattr(stream, "compare", compare)
    starts = np.array([0, 30])
    golden = Golden(7, 5, np.zeros((3000, 3), np.int16), np.zeros((150, 6), np.int16), np.zeros((150, 2), np.int16), {}, {}, starts)
    assert check_reference(golden, "front end", "decoder") == 150 + REFERENCE_TICKS
    assert calls == [("decoder", (150, 6), [0, 30]), ("front end", (REFERENCE_TICKS, 3), [0, 600])]
    assert check_reference(dataclasses.replace(golden, samples=None), None, "decoder") == 150


# --- scores -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def made_up(monkeypatch):
    """Scores of made-up outputs: 40 bins, 3 of warm-up, 26 of them in the test part; each output errs in a way of its own."""
    rng = np.random.default_rng(3)
    bins, validation_end, warm_up = 100, 60, 3
    one = Session(
        name="short", heldout=True, synthetic=True, targets=rng.normal(4, 2, (bins, 2)).astype(np.float32), target_names=("x", "y"),
        target_unit="mm", train_end=30, validation_end=validation_end, lfp=None, good_channels=np.ones(6, bool),
        features=rng.normal(0, 1, (bins, 6)).astype(np.float32), counts=None, spike_source="none", spike_threshold=None, broadband=None,
        starts=np.array([0, 70]),
    )  # fmt: skip
    scored = 26
    inside = slice(validation_end - warm_up, validation_end + scored)
    true = one.targets[inside].astype(np.float64)
    errors = {name: rng.normal(0, sd, true.shape) for name, sd in (("float", 0.3), ("behind_int8", 0.6), ("int8", 1.2), ("wiener", 2.0))}
    outputs = {name: true + error for name, error in errors.items()}
    for name in ("float", "behind_int8", "int8"):
        outputs[name][:warm_up] = 1e3  # whoever scores the warm-up sees it
    stored = rng.integers(-90, 90, (warm_up + scored, 6)).astype(np.int16)
    golden = Golden(inside.start, warm_up, None, stored, np.zeros((warm_up + scored, 2), np.int16), {}, {}, np.array([0, 13]))
    monkeypatch.setattr(scores, "metadata", lambda model: {"io": {"features": {"scale": [0.5] * 6}}})

    def float_decoded(model, features, starts):
        assert model == "float decoder" and starts is golden.starts and features.dtype == np.float32
        if np.array_equal(features, stored * 0.5):
            return "behind_int8"
        np.testing.assert_array_equal(features, one.features[inside])
        return "float"

    def in_units(decoded, model):
        assert model == ("float decoder" if isinstance(decoded, str) else "int8 decoder")
        return outputs[decoded if isinstance(decoded, str) else "int8"]

    monkeypatch.setattr(scores, "float_decoded", float_decoded)
    monkeypatch.setattr(scores, "in_units", in_units)
    wiener = np.concatenate([outputs["wiener"][warm_up:], np.full((14, 2), 1e3)])  # of the whole test part, which is longer
    found = score(golden, "float decoder", "int8 decoder", LFP, one, PLAIN, wiener)
    return SimpleNamespace(found=found, one=one, outputs={name: values[warm_up:] for name, values in outputs.items()}, validation_end=60)


def error(values, exact):
    """Of each axis over its own spread, root mean square of them."""
    return float(np.sqrt(np.mean(np.square((values - exact) / exact.std(axis=0)))))


def test_each_score_is_that_of_its_own_output(made_up):
    found, outputs, true = made_up.found, made_up.outputs, made_up.one.targets[60:86]
    for name in ("float", "int8", "wiener"):
        assert getattr(found.r2, name) == pytest.approx(np.mean(accuracy(true, outputs[name]).r2), rel=1e-6)
    assert len({round(value, 3) for value in dict(found.r2).values()}) == 3
    assert found.nrmse_int8_float == pytest.approx(error(outputs["int8"], outputs["float"]))
    assert found.nrmse_frontend == pytest.approx(error(outputs["behind_int8"], outputs["float"]))
    assert found.nrmse_decoder == pytest.approx(error(outputs["int8"], outputs["behind_int8"]))
    assert (found.scored_bins, found.warm_up_bins, found.resets) == (26, 3, 1)


def test_scores_with_history_are_those_of_the_bins_that_have_it(made_up):
    chosen = with_history(made_up.one.starts, 100, 0.02)[60:86]
    late, true = made_up.found.with_history, made_up.one.targets[60:86][chosen]
    assert 0 < chosen.sum() < 26 and late.scored_bins == chosen.sum()
    for name in ("float", "int8", "wiener"):
        assert getattr(late.r2, name) == pytest.approx(np.mean(accuracy(true, made_up.outputs[name][chosen]).r2), rel=1e-6)
