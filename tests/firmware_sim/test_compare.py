"""Firmware output against the reference: every tensor counts, and the earliest difference of all is told."""

from pathlib import Path

import numpy as np
import pytest

from firmware_sim.bundle import Bundle
from firmware_sim.bundle_metadata import Stage, StateTensor
from firmware_sim.compare import Expected, Mismatch, first_mismatch, split_dump
from firmware_sim.elf import Symbol
from realm_edge.errors import UserError

RNG = np.random.default_rng(0)
OUTPUTS, FEATURES = (RNG.integers(-99, 99, (9, n)).astype(np.int16) for n in (2, 3))
STATES = {"state.front": RNG.integers(-99, 99, (9, 2, 2)).astype(np.int32), "state.back": RNG.integers(-99, 99, (9, 3)).astype(np.int16)}
EXPECTED = Expected(OUTPUTS, STATES, FEATURES)


def got() -> dict[str, np.ndarray]:
    return {name: tensor.copy() for name, tensor in {"output": OUTPUTS, "features": FEATURES, **STATES}.items()}


def test_equal_is_equal():
    assert first_mismatch(got(), EXPECTED) is None


@pytest.mark.parametrize("name", ["output", "features", "state.front", "state.back"])
def test_the_first_difference_of_all_tensors_is_told(name):
    late, wrong = got(), got()[name]
    at = (4, *(size - 1 for size in wrong.shape[1:]))
    for other in late.values():  # all others differ as well, but later
        other[6] += 1
    late[name][at] += 7
    reference = {"output": OUTPUTS, "features": FEATURES, **STATES}[name]
    assert first_mismatch(late, EXPECTED) == Mismatch(name, 4, at[1:], int(reference[at]), int(reference[at]) + 7)


def test_another_number_of_bins_is_a_difference():
    shorter = {name: tensor[:-1] for name, tensor in got().items()}
    longer = {name: np.concatenate([tensor, tensor[:1]]) for name, tensor in got().items()}
    assert first_mismatch(shorter, EXPECTED) == Mismatch("bins", 0, (), 9, 8)
    assert first_mismatch(longer, EXPECTED) == Mismatch("bins", 0, (), 9, 10)


def test_other_tensors_and_types_are_no_comparison():
    without = {name: tensor for name, tensor in got().items() if name != "state.back"}
    with pytest.raises(UserError, match=r"tensor 'state\.back' is missing in the bundle"):
        first_mismatch(without, EXPECTED)
    with pytest.raises(UserError, match="tensor 'features' is missing in the reference"):
        first_mismatch(got(), Expected(OUTPUTS, STATES))
    with pytest.raises(UserError, match=r"tensor 'output' is int32\(2,\) in the bundle and int16\(2,\)"):
        first_mismatch(got() | {"output": OUTPUTS.astype(np.int32)}, EXPECTED)


def test_a_dump_is_cut_as_the_firmware_wrote_it():
    states = (
        StateTensor(name="state.front", offset=8, dtype="int32", shape=(2, 2)),
        StateTensor(name="state.back", offset=2, dtype="int16", shape=(3,)),
    )
    front, back = (
        Stage(prefix=prefix, rate_hz=rate, state_bytes=size, scratch_bytes=0, weight_bytes=0, states=(state,))
        for prefix, rate, size, state in zip(("realm_frontend", "realm_decoder"), (250.0, 50.0), (24, 8), states, strict=True)
    )
    sizes = {"realm_output": 4, "realm_features": 6, "realm_frontend_state": 24, "realm_decoder_state": 8}
    symbols = {name: Symbol(name, 0, size, False) for name, size in sizes.items()}

    def record(k: int) -> bytes:
        parts = [OUTPUTS[k].tobytes(), FEATURES[k].tobytes(), b"\x55" * 8 + STATES["state.front"][k].tobytes()]
        return b"".join([*parts, b"\x55\x55" + STATES["state.back"][k].tobytes()])

    dump = np.frombuffer(b"".join(record(k) for k in range(9)), np.uint8)
    bundle = Bundle(Path("bundle"), "lfp", "cortex-m4", front, back, None)
    found = split_dump(dump, bundle, symbols)
    assert found.keys() == got().keys() and first_mismatch(found, EXPECTED) is None
    with pytest.raises(UserError, match="no whole number of 42-byte records"):
        split_dump(dump[:-1], bundle, symbols)
    with pytest.raises(UserError, match="realm_decoder has 8 state bytes, its header 9"):
        split_dump(dump, bundle, symbols | {"realm_decoder_state": Symbol("realm_decoder_state", 0, 9, False)})
