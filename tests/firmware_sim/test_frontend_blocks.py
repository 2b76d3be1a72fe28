"""A front end over blocks is equal to as many ticks of its step graph: wherever blocks end, on each family of kernels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from export.stepgraph import save_model
from firmware_sim.compiler.frontend import CHUNK
from firmware_sim.compiler.plan import FRONTEND
from quantization.reference import ReferenceStepper
from tests.firmware_sim.frontends import BANDS, DIFFERENCE, HIGHPASS, LOWPASS, NOTCH, OTHER_NOTCH, SOFT_HIGHPASS, FrontEnd, draw
from tests.firmware_sim.host import HOST, build_host_model

CASES = {
    "lfp": FrontEnd(bands=BANDS),
    "lfp-bad-channel": FrontEnd(good=(1, 0, 1, 1, 1, 1, 1, 1, 1, 0), bands=BANDS[:1], ticks=7, power_bins=4),
    "lfp-no-average": FrontEnd(good=(1, 0, 1), averaged=False, bands=BANDS[1:], z_bits=2, power_bits=11),
    "lfp-no-notch": FrontEnd(filters=(HIGHPASS,), feedback=((2, -1), (2, -1)), bands=BANDS),
    "lfp-other-filters": FrontEnd(
        filters=(SOFT_HIGHPASS, OTHER_NOTCH, LOWPASS, DIFFERENCE), feedback=((1,), (2, -1), (1,), (1,), (1,)), bands=BANDS, limit=2**26, guard=8
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
