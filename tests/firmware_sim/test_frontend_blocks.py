"""A front end over blocks is equal to as many ticks of its step graph: wherever blocks end, on each family of kernels."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from export.stepgraph import save_model
from firmware_sim.compiler.bundle import compile_model
from firmware_sim.compiler.frontend import CHUNK
from firmware_sim.compiler.graph import read_graph
from firmware_sim.compiler.plan import DECODER, FRONTEND, make_plan
from quantization.reference import ReferenceStepper
from realm_edge.errors import UserError
from tests.firmware_sim.frontends import BANDS, DIFFERENCE, HIGHPASS, LOWPASS, NOTCH, OTHER_NOTCH, SOFT_HIGHPASS, FrontEnd, draw
from tests.firmware_sim.host import HOST, build_host_model

CASES = {
    "lfp": FrontEnd(bands=BANDS),
    "lfp-bad-channel": FrontEnd(good=(1, 0, 1, 1, 1, 1, 1, 1, 1, 0), bands=BANDS[:1], ticks=7, power_bins=4),
    "lfp-no-average": FrontEnd(good=(1, 0, 1), averaged=False, bands=BANDS[1:], z_bits=2, power_bits=11),
    "lfp-no-notch": FrontEnd(filters=(HIGHPASS,), feedback=((2, -1), (2, -1)), bands=BANDS),
    "lfp-other-filters": FrontEnd(
        filters=(SOFT_HIGHPASS, OTHER_NOTCH, LOWPASS, DIFFERENCE),
        feedback=((1,), (2, -1), (1,), (1,), (1,)),
        bands=BANDS,
        limit=2**26,
        guard=8,
    ),
    "lfp-z-scores": FrontEnd(bands=BANDS[:2], ticks=3, power_bins=2, window=8),
    "lfp-long-bins": FrontEnd(bands=BANDS[:2], ticks=150, guard=7, limit=2**25, z_bits=1, power_bits=12),
    "lfp-one-tick": FrontEnd(good=(1,), bands=BANDS[:1], ticks=1),
    "lfp-all-bad": FrontEnd(good=(0, 0), bands=BANDS[:1]),
    "spikes": FrontEnd(averaged=False, filters=(HIGHPASS,), guard=7, limit=2**21),
    "spikes-second-order": FrontEnd(averaged=False, filters=(SOFT_HIGHPASS,), feedback=((2, -1),), guard=7, limit=2**21),
    "spikes-average-z": FrontEnd(good=(1, 0, 1, 1), filters=(HIGHPASS, NOTCH), guard=7, limit=2**22, ticks=70, window=64),
    "spikes-odd-limit": FrontEnd(filters=(HIGHPASS,), guard=7, limit=2**21 - 12_345),
}


def samples_of(front: FrontEnd, rng: np.random.Generator, ticks: int) -> np.ndarray:
    return draw(rng, -32768, 32767, (ticks, front.channels)).astype(np.int16)


def check(front: FrontEnd, host, rng: np.random.Generator, lengths: list[int]) -> int:
    """Run both from a state that could be; returns how many bins ended."""
    reference, samples = ReferenceStepper(front.model()), samples_of(front, rng, sum(lengths))
    host.reset()
    for name, value in front.states(rng, int(rng.integers(0, front.ticks))).items():
        reference.state[name] = value
        host.set_state(name, value)
    rows = [out["features"] for out in (reference.step({"sample": x}) for x in samples) if out["valid"][0]]
    got = host.run_blocks(samples, lengths)
    assert len(got) == len(rows)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(got[i], row, err_msg=f"bin {i}")
    for name, value in reference.state.items():
        np.testing.assert_array_equal(host.state(name), value, err_msg=name)
    return len(rows)


@pytest.mark.parametrize("family", ["scalar", "thumb1"])
@pytest.mark.parametrize("name", CASES)
def test_blocks_equal_ticks(name, family, tmp_path):
    front = CASES[name]
    save_model(front.model(), tmp_path / "f.onnx")
    host = build_host_model(tmp_path / "f.onnx", FRONTEND, tmp_path, replace(HOST, kernels=family))
    rng = np.random.default_rng(5)
    bins = 0
    for _ in range(12):
        longest = min(front.ticks, 100)
        bins += check(front, host, rng, [int(n) for n in rng.integers(1, longest, 4, endpoint=True)])
    bins += check(front, host, rng, [front.ticks] * 3) + check(front, host, rng, [1] * (front.ticks + 2))
    assert bins > 4


def test_a_bin_longer_than_a_chunk_is_divided():
    assert CASES["lfp-long-bins"].ticks > 2 * CHUNK  # or the cases above say less than they seem to


SECTIONS = st.sampled_from([HIGHPASS, SOFT_HIGHPASS, NOTCH, OTHER_NOTCH, LOWPASS, DIFFERENCE])
ERRORS = st.sampled_from([(1,), (2, -1)])


@st.composite
def front_ends(draw_from) -> FrontEnd:
    filters = tuple(draw_from(st.lists(SECTIONS, min_size=1, max_size=3)))
    spikes = draw_from(st.booleans())
    return FrontEnd(
        good=tuple(draw_from(st.lists(st.integers(0, 1), min_size=1, max_size=19))),
        averaged=draw_from(st.booleans()),
        filters=filters,
        feedback=tuple(draw_from(ERRORS) for _ in range(len(filters) + 1)),
        bands=None if spikes else BANDS[: draw_from(st.integers(1, 3))],
        ticks=draw_from(st.integers(1, 40)),
        guard=8,
        limit=2**26,
        power_bins=draw_from(st.sampled_from([1, 8])),
        z_bits=draw_from(st.integers(0, 3)),
        power_bits=15,
        window=draw_from(st.sampled_from([0, 4])),
    )


@seed(3)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(front=front_ends(), lengths=st.lists(st.integers(1, 40), min_size=3, max_size=6))
def test_any_front_end_over_any_blocks(front, lengths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    save_model(front.model(), folder / "f.onnx")
    host = build_host_model(folder / "f.onnx", FRONTEND, folder)
    check(front, host, np.random.default_rng(1), [min(n, front.ticks) for n in lengths])


def changed(front: FrontEnd, name: str, values) -> onnx.ModelProto:
    """With other values of one constant."""
    model = front.model()
    tensor = next(i for i in model.graph.initializer if i.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values, numpy_helper.to_array(tensor).dtype), name))
    return model


def rewired(front: FrontEnd, node: str, i: int, tensor: str) -> onnx.ModelProto:
    """With another input of one node."""
    model = front.model()
    next(n for n in model.graph.node if n.name == node).input[i] = tensor
    return model


LFP, SPIKES = CASES["lfp"], CASES["spikes"]
MIXED = np.concatenate([BANDS[:2], NOTCH[None]])
REFUSED = {
    "no filter": (FrontEnd(filters=(), feedback=((1,),), bands=BANDS).model(), "stands where a front end has something else"),
    "bands of the reference": (rewired(LFP, "bands", 0, "referenced"), "node 'bands' (QBiquad): stands where"),
    "mean of the reference": (rewired(LFP, "bins", 0, "referenced"), "node 'bins' (QBinFeatures): stands where"),
    "counts of a bank": (rewired(SPIKES, "bins", 0, "referenced"), "node 'bins' (QSpikeCount): stands where"),
    "z-scores of every sample": (
        rewired(CASES["lfp-z-scores"], "zscore", 1, "state.bins.phase"),
        "works on every sample behind the features",
    ),
    "no band-pass": (FrontEnd(bands=MIXED).model(), "a section is no band-pass"),
    "feedback": (changed(LFP, "bands.coef", np.insert(BANDS, 5, [1, 2, 1], axis=1)), "its sections do not all feed back the same"),
    "no feedback": (changed(LFP, "pre0.coef", HIGHPASS[None]), "its sections do not all feed back the same"),
    "half good": (changed(LFP, "reference.good", [1, 2, 1]), "holds something other than 0 and 1"),
    "guard": (changed(LFP, "reference.2", 2**20), "beyond int32"),
    "sums of a section": (changed(LFP, "reference.2", 2**12), "its sums may reach 2^6"),
    "sums of a bin": (FrontEnd(bands=BANDS, ticks=200).model(), "a bin's sum may reach 2^33, beyond int32"),
    "powers of a bin": (FrontEnd(bands=BANDS, power_bits=1).model(), "a bin's power may reach"),
    "multiplier of a mean": (changed(LFP, "bins.1", 2**60), "beyond 64 bits; quantise with smaller multipliers"),
    "reciprocal": (changed(LFP, "reference.0", 2**60), "beyond 64 bits; quantise with smaller multipliers"),
    "bits of a band": (FrontEnd(bands=BANDS, z_bits=31, power_bits=0).model(), "of which nothing of an int32 is left"),
    "samples of a bin": (changed(SPIKES, "bins.0", 2**31), "more than 31 bits count"),
    "thresholds": (changed(SPIKES, "bins.threshold", [-(2**31)] * 3), "too far from values up to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_front_end_is_refused(name, tmp_path):
    model, message = REFUSED[name]
    save_model(model, tmp_path / "f.onnx")
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        compile_model(tmp_path / "f.onnx", FRONTEND, HOST)
    assert str(refused.value).startswith(str(tmp_path / "f.onnx"))


def test_a_decoder_may_not_filter_samples(tmp_path):
    with pytest.raises(UserError, match="works on every sample of a front end"):
        make_plan(read_graph_of(LFP, tmp_path), DECODER, "scalar")


def read_graph_of(front: FrontEnd, folder):
    save_model(front.model(), folder / "f.onnx")
    return read_graph(folder / "f.onnx")
