"""Rung 3 of the ladder on whole graphs, and what integers cost in accuracy."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.baseline_graphs import wiener_graph
from export.frontend_graph import spike_frontend_graph
from export.functions import functions
from export.graph_parts import behaviour, linear, normalised
from export.stepgraph import GraphBuilder, Stepper, metadata
from quantization import inputs
from quantization.adversarial import adversarial
from quantization.calibrate import observe
from quantization.decoder import quantize_decoder
from quantization.formats import Formats
from quantization.frontend import quantize_frontend
from quantization.golden import Golden, float_decoded, in_units, run_decoder, run_frontend
from quantization.ladder import compare
from realm_edge.errors import UserError
from realm_edge.frontend import design_spike, spike_counts
from realm_edge.metrics import nrmse
from realm_edge.settings import SIX_BANDS, Settings, preset
from realm_edge.training.segments import Statistics
from realm_edge.wiener import Wiener

WARM_UP = 50  # bins; the front end settles


def hostile(n: int, width: int, lowest: int) -> np.ndarray:
    """All adversarial inputs, one after the other."""
    return np.concatenate([block for blocks in adversarial(1, width, lowest, n, n).values() for block in blocks])


@pytest.mark.parametrize("name", ["chain", "scored_chain"])
def test_frontend_reference_equals_onnxruntime(name, request):
    chain = request.getfixturevalue(name)
    rows = np.concatenate([chain.samples[:1500], hostile(60, 6, -32768)])
    assert compare(chain.frontend_int8, rows) == len(rows) == 1500 + 7 * 60


def test_spike_frontend_reference_equals_onnxruntime(spike_frontend):
    model, samples = spike_frontend
    assert metadata(model)["io"]["features"]["scale"] == [2.0**-10] * 6
    assert compare(model, samples) == len(samples)
    assert len(np.unique(run_frontend(model, samples)[0])) > 10


@pytest.mark.parametrize("activation", ["Silu", "Relu"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_a_decoder_of_strangers_becomes_integers(activation, activations, chain):
    """Its hidden layer is no state in Q15, and has a scale of its own; a rectifier narrows it by itself."""
    rng = np.random.default_rng(0)
    mean, sd = chain.features[WARM_UP:].mean(axis=0), chain.features[WARM_UP:].std(axis=0)
    graph = GraphBuilder("decoder", functions())
    x = normalised(graph, mean, np.where(sd > 0, 1 / np.maximum(sd, 1e-9), 0))
    hidden = linear(graph, "hidden", x, rng.normal(0, 0.5, (16, len(mean))), np.zeros(16))
    if activation == "Relu":
        graph.node("Relu", [hidden], ["narrow"], "active", domain="")
    else:
        graph.node("Silu", [hidden], ["active"], "active")
        graph.node("Narrow", ["active"], ["narrow"], "narrow")
    behaviour(graph, linear(graph, "head", "narrow", rng.normal(0, 0.5, (1, 16)), np.zeros(1)), ("v",), "m/s", [1.0], [0.0])
    decoder = graph.build(kind="decoder", rate_hz=50.0, made_from={})
    scale = metadata(chain.frontend_int8)["io"]["features"]["scale"]
    integers = quantize_decoder(decoder, observe(decoder, chain.features, WARM_UP), scale, {}, Formats(activations))
    rows = inputs.stored(chain.features, scale)
    decoded, _ = run_decoder(integers, rows)
    exact = float_decoded(decoder, chain.features)
    assert nrmse(in_units(decoded, integers)[WARM_UP:], exact[WARM_UP:]) < (0.05 if activations == "int8" else 0.02)
    assert compare(integers, rows[:100]) == 100


@pytest.mark.parametrize("name", ["chain", "wide_chain", "channel_chain", "wiener_chain", "gru_chain"])
def test_decoder_reference_equals_onnxruntime(name, request):
    chain = request.getfixturevalue(name)
    features, _ = run_frontend(chain.frontend_int8, chain.samples)
    rows = np.concatenate([features, hostile(40, features.shape[1], -32767)])
    assert compare(chain.decoder_int8, rows) == len(rows)


def test_integer_features_are_close_to_float(chain):
    features, _ = run_frontend(chain.frontend_int8, chain.samples)
    decoded = features * np.array(metadata(chain.frontend_int8)["io"]["features"]["scale"])
    error = np.abs(decoded - chain.features)[WARM_UP:]
    live = [c for c in range(6) if c != 2]
    assert error[:, 6:].max() < 0.05  # log2 power: 3.5 % of the power
    assert (error[:, live].max(axis=0) < 0.01 * chain.features[WARM_UP:, live].std(axis=0)).all()


def test_integer_z_scores_are_close_to_float(scored_chain):
    """Rounding of features and statistics together."""
    features, _ = run_frontend(scored_chain.frontend_int8, scored_chain.samples)
    error = np.abs(features * 2.0**-10 - scored_chain.features)[WARM_UP:]
    assert error.max() < 0.02
    assert not features[:, 2::6].any()  # the dead channel


@pytest.mark.parametrize("name", ["chain", "wide_chain", "channel_chain", "wiener_chain", "gru_chain"])
def test_int8_decoder_is_close_to_float(name, request):
    chain = request.getfixturevalue(name)
    scale = np.array(metadata(chain.frontend_int8)["io"]["features"]["scale"])
    stepper = Stepper(chain.decoder)
    exact = np.array([stepper.step({"features": row})["decoded"] for row in chain.features])[WARM_UP:]
    integers, _ = run_decoder(chain.decoder_int8, np.clip(np.rint(chain.features / scale), -32767, 32767).astype(np.int16))
    decoded = (integers * np.array(metadata(chain.decoder_int8)["io"]["decoded"]["scale"]))[WARM_UP:]
    assert np.sqrt(np.mean((decoded - exact) ** 2)) < 0.03 * exact.std()


def test_silence_is_quiet(chain):
    """No limit cycle of a count or more: the filters' feedback of rounding errors leaves nothing after the input stops."""
    stepper = Stepper(chain.frontend_int8)
    for row in chain.samples[:1000]:
        stepper.step({"sample": row})
    silence = np.zeros(6, np.int16)
    for _ in range(8000):
        stepper.step({"sample": silence})
    for name in ("state.pre0.sections", "state.pre1.sections", "state.bands.sections"):
        assert np.abs(stepper.state[name][..., :2]).max() < 2**12, name  # a count: 10 guard bits of steps of 4


def test_only_int8_reaches_matrix_products(chain):
    """uint8 times int8 would saturate on CPUs without VNNI; MatMulInteger of int8 is the only product of activations and weights."""
    linear = {n.input[1] for n in chain.decoder_int8.graph.node if n.op_type == "QLinear"}
    types = {i.name: i.data_type for i in chain.decoder_int8.graph.initializer}
    assert linear and {types[name] for name in linear} == {onnx.TensorProto.INT8}
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
    for model in (chain.frontend_int8, chain.decoder_int8):
        tensors = [v.type.tensor_type.elem_type for v in [*model.graph.input, *model.graph.output]] + [
            i.data_type for i in model.graph.initializer
        ]
        assert not floats & set(tensors)


def test_the_leaky_mean_in_integers_follows_the_float_one(channel_chain):
    """From its start at 0 until it has settled: it never stands still."""
    scale = np.array(metadata(channel_chain.frontend_int8)["io"]["features"]["scale"])
    features = channel_chain.features[WARM_UP:]  # within the range that was calibrated
    counts = np.clip(np.rint(features / scale), -32767, 32767).astype(np.int16)
    exact, integer = Stepper(channel_chain.decoder), Stepper(channel_chain.decoder_int8)
    mean_scale = next(s["scale"] for s in metadata(channel_chain.decoder_int8)["states"] if s["in"] == "state.tokenizer.mean")
    for row, stored in zip(features, counts, strict=True):
        exact.step({"features": row})
        integer.step({"features": stored})
        mean = exact.state["state.tokenizer.mean"]
        assert np.abs(integer.state["state.tokenizer.mean"] * mean_scale - mean).max() < 0.01 * max(np.abs(mean).max(), 0.1)
    assert mean.min() > 0.01  # ten times what the bound allows: a mean that stays at 0 would be seen


def test_golden_round_trip(chain, tmp_path):
    features, states = run_frontend(chain.frontend_int8, chain.samples[:200])
    decoded, decoder_states = run_decoder(chain.decoder_int8, features)
    golden = Golden(7, 3, chain.samples[:200], features, decoded, states, decoder_states)
    golden.save(tmp_path / "golden.npz")
    back = Golden.load(tmp_path / "golden.npz")
    assert (back.first_bin, back.warm_up) == (7, 3)
    np.testing.assert_array_equal(back.decoded, decoded)
    assert back.frontend_states.keys() == states.keys() and back.decoder_states.keys() == decoder_states.keys()
    (tmp_path / "cut.npz").write_bytes((tmp_path / "golden.npz").read_bytes()[:500])
    with pytest.raises(UserError, match=r"cut\.npz: not readable golden vectors"):
        Golden.load(tmp_path / "cut.npz")


def test_spike_highpass_stops_what_is_slow():
    """The zero at 0 Hz survives rounding: a constant and slow LFP leave nothing behind."""
    demo = preset("demo")
    settings = demo.model_copy(update={"spike": demo.spike.model_copy(update={"highpass_hz": 350.0})})
    frontend = design_spike(settings, np.full(1, -10, np.int32))
    tap_by_tap = np.rint(frontend.highpass[:3] * 2**11)
    assert tap_by_tap.sum() != 0  # what the rounding has to prevent
    model = quantize_frontend(spike_frontend_graph(frontend, {}), np.zeros((10, 1), np.float32), {})
    coef = next(numpy_helper.to_array(i) for i in model.graph.initializer if i.name == "pre0.coef")
    assert coef[0, :3].sum() == 0
    stepper = Stepper(model)
    for _ in range(6000):
        stepper.step({"sample": np.array([9000], np.int16)})
    assert abs(int(stepper.state["state.pre0.sections"][0, 0, 0])) <= 4  # a step


def test_integer_crossings_are_close_to_float():
    """Rounding moves samples over the threshold: 2.2 % of these crossings without guard bits and 13 coefficient bits, 0.8 % with 2 and 11.

    With 4 and 14, 0.03 %.
    """
    frontend = design_spike(Settings(lfp=SIX_BANDS), np.full(6, -120, np.int32))
    ticks = 40 * frontend.samples_per_bin
    samples = np.random.default_rng(5).normal(0, 60, (ticks, 6)).astype(np.int16)
    exact = spike_counts(frontend, [samples])
    integers, _ = run_frontend(quantize_frontend(spike_frontend_graph(frontend, {}), np.zeros((1, 6), np.float32), {}), samples)
    assert exact.sum() > 2000
    assert np.abs(integers - exact).sum() < 0.002 * exact.sum()


def test_a_filter_of_sparse_counts_has_no_offset():
    """Nearly every bin has the same z-scores, whose rounding error all lags would add up."""
    rng, lags = np.random.default_rng(3), 32
    counts = rng.poisson(0.2, (3000, 6)).astype(np.float32)
    statistics = Statistics(counts.mean(axis=0), 1 / counts.std(axis=0), np.zeros(2, np.float32), np.ones(2, np.float32))
    filtered = Wiener(lags, 1.0, 0.0, rng.normal(0.1, 0.05, (lags * 6, 2)).astype(np.float32), np.zeros(2, np.float32))
    exact = wiener_graph(filtered, statistics, 50.0, ("vx", "vy"), "mm/s", {})
    integers = quantize_decoder(exact, observe(exact, counts, lags), np.ones(6), {})
    decoded = in_units(run_decoder(integers, counts.astype(np.int16))[0], integers)[lags:]
    wanted = in_units(float_decoded(exact, counts), exact)[lags:]
    assert np.abs((decoded - wanted).mean(axis=0)).max() < 0.002 * wanted.std()
    assert nrmse(decoded, wanted) < 0.02
