"""Long runs of the int8 graphs: what passes, and that what is wrong is found."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.stepgraph import Stepper, metadata
from quantization.drive import Int8Chain, feature_rows
from quantization.endurance import MOST_GROWTH, endurance
from quantization.golden import run_frontend
from quantization.ladder import Differs, SideBySide, compare
from quantization.recorded import Recorded
from quantization.reset import settling, warm_up
from quantization.verification import Plan, Subject, verify
from realm_edge.app.rundir import RunDir
from realm_edge.app.stages.verify import run
from realm_edge.documents import jsonable
from realm_edge.errors import UserError
from realm_edge.progress import Silent
from realm_edge.session import Session
from realm_edge.settings import SIX_BANDS, Settings
from realm_edge.streams import LFP

TICKS = 20  # a bin
SHORT = Plan(
    ladder_bins=120, adversarial_bins=3, adversarial_steps=5, silence_s=0.5, endurance_s=24.0, window_s=2.0, compared_s=6.0, reset_s=1.0
)


@pytest.fixture(scope="module")
def subject(chain) -> Subject:
    """The small decoder on its own recording of 600 bins, which the endurance run needs twice."""
    bins = len(chain.features)
    session = Session(
        name="small", heldout=True, synthetic=True, targets=np.zeros((bins, 2), np.float32), target_names=("vx", "vy"), target_unit="mm/s",
        train_end=400, validation_end=500, lfp=chain.samples, good_channels=np.array([True, True, False, True, True, True]),
        features=chain.features, counts=None, spike_source="none", spike_threshold=None, broadband=None,
    )  # fmt: skip
    scale = np.asarray(metadata(chain.decoder_int8)["io"]["features"]["scale"])
    recorded = Recorded(LFP, session, Settings(lfp=SIX_BANDS), scale)
    return Subject(Int8Chain(chain.frontend_int8, chain.decoder_int8), chain.decoder, recorded, SHORT, Silent())


@pytest.fixture(scope="module")
def verified(subject) -> dict:
    return jsonable(verify(subject))


def test_a_sound_chain_passes_and_says_over_what(verified, subject):
    assert verified["ok"] and verified["difference"] is None
    ladder = verified["ladder"]
    assert (ladder["bins"], ladder["frontend_ticks"], ladder["frontend_feeds_decoder"]) == (120, 120 * TICKS, True)
    assert ladder["passes"] == pytest.approx(120 / 600)
    assert verified["endurance"]["passes"] == 2.0 and len(verified["endurance"]["errors"]) == 10
    assert {(row["input"], row["into"]) for row in verified["adversarial"]} == {
        (name, into)
        for name in ("rails", "zeros", "alternating extremes", "stuck channel", "full-scale noise", "silence")
        for into in ("front end", "decoder")
    }
    silence = next(row for row in verified["adversarial"] if row["input"] == "silence" and row["into"] == "front end")
    assert silence["bins"] == 3 + 25 + 3


def changed(model: onnx.ModelProto, name: str, change) -> onnx.ModelProto:
    """A copy with another value of a constant."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = next(i for i in copy.graph.initializer if i.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    return copy


def one_higher(value: np.ndarray) -> np.ndarray:
    higher = value.copy()
    higher.flat[0] += 1
    return higher


@pytest.fixture
def flipped(chain, monkeypatch) -> str:
    """onnxruntime gets a decoder with another weight, by one unit, the reference the right one."""
    name = "head.weight"
    wrong = changed(chain.decoder_int8, name, one_higher)
    monkeypatch.setattr("quantization.ladder.Stepper", lambda model: Stepper(wrong if model is chain.decoder_int8 else model))
    return name


def test_a_flipped_constant_makes_the_ladder_fail_in_one_line(subject, flipped):
    found = jsonable(verify(subject))
    assert not found["ok"]
    difference = found["difference"]
    assert difference["onnxruntime"] != difference["reference"] and difference["tick"] >= 0
    assert "\n" not in difference["line"]
    assert f"'{difference['tensor']}', tick {difference['tick']}, element {list(difference['element'])}" in difference["line"]
    with pytest.raises(Differs, match="please report it"):
        compare(subject.graphs.decoder, subject.recorded.stored(0, 600))


def test_a_difference_on_hostile_input_names_the_input(subject, monkeypatch):
    """A decoder that is wrong where an input is at the rail only."""

    class Wrong(Stepper):
        def step(self, inputs):
            out = super().step(inputs)
            return {"decoded": out["decoded"] + np.int16(1)} if (inputs.get("features", np.zeros(1)) == -32767).all() else out

    monkeypatch.setattr("quantization.ladder.Stepper", Wrong)
    difference = jsonable(verify(subject))["difference"]
    assert difference["during"] == "'rails' into the decoder" and difference["tick"] == SHORT.adversarial_steps // 2
    assert difference["onnxruntime"] == difference["reference"] + 1


def test_another_type_of_the_same_values_is_a_difference(chain, monkeypatch):
    class Wider(Stepper):
        def step(self, inputs):
            return {name: value.astype(np.int32) for name, value in super().step(inputs).items()}

    monkeypatch.setattr("quantization.ladder.Stepper", Wider)
    with pytest.raises(Differs, match=r"onnxruntime has int32\[2\], the integer reference int16\[2\]"):
        compare(chain.decoder_int8, np.zeros((1, chain.features.shape[1]), np.int16))


def test_states_are_compared_too(chain, monkeypatch):
    """A state that is wrong in onnxruntime alone, and only after the last output: no output tells of it."""

    class Forgetful(Stepper):
        def step(self, inputs):
            out = super().step(inputs)
            self.state = {name: value + np.ones_like(value) if name == "state.block1.h" else value for name, value in self.state.items()}
            return out

    monkeypatch.setattr("quantization.ladder.Stepper", Forgetful)
    with pytest.raises(Differs, match=r"decoder: 'state\.block1\.h', tick 0, element \[0, 0, 0\]"):
        compare(chain.decoder_int8, np.zeros((1, chain.features.shape[1]), np.int16))


def test_a_decoder_whose_state_drifts_violates_the_bound(subject, monkeypatch):
    """It drifts where the ladder has ended: the bits are right, and the decoder is not."""

    class Drifting(Stepper):
        def reset(self):
            super().reset()
            self.ticks = 0

        def step(self, inputs):
            self.ticks += 1
            late = max(self.ticks - SHORT.ladder_bins, 0)
            for name in [name for name in self.state if name.endswith(".h")]:
                self.state[name] = np.minimum(self.state[name].astype(np.int32) + late**2 // 1000, 32767).astype(np.int16)
            return super().step(inputs)

    monkeypatch.setattr("quantization.ladder.Stepper", Drifting)
    found = jsonable(verify(subject))
    assert found["difference"] is None
    assert not found["ok"] and not found["endurance"]["holds"]
    assert found["endurance"]["last"] > MOST_GROWTH * found["endurance"]["first"]


def test_errors_are_rms_over_the_sd_behind_the_warm_up():
    exact = np.tile([[1.0], [-1.0]], (60, 1))
    exact[:10] = 77.0
    int8 = exact + 0.1
    int8[10:30] += 0.9  # an artefact
    int8[-50:] += 0.1
    grown = endurance(int8, exact, 10, 20, 2)
    np.testing.assert_allclose(grown.errors, [1.0, 0.1, 0.1, 0.2, 0.2])
    with pytest.raises(ValueError, match="5 windows are fewer than twice 3"):
        endurance(int8, exact, 10, 20, 3)


def test_an_artefact_is_no_drift_and_hides_none():
    exact = np.tile([[1.0], [-1.0]], (60, 1))
    burst, drift = exact + 0.1, exact + 0.1
    burst[-10:] += 3.0
    drift[10:20] += 3.0
    drift[-30:] += 0.1
    assert endurance(burst, exact, 0, 10, 3).holds
    grown = endurance(drift, exact, 0, 10, 3)
    assert (grown.first, grown.last) == (pytest.approx(0.1), pytest.approx(0.2)) and not grown.holds


def test_warm_up_is_until_for_good():
    kept = np.zeros((100, 2))
    after, tolerance = kept.copy(), np.array([0.1, 1.0])
    assert warm_up(after, kept, tolerance) == 0
    after[:7, 1] = 0.9
    after[[3, 30], 0] = 0.2
    assert warm_up(after, kept, tolerance) == 31
    after[74, 0] = 0.2
    assert warm_up(after, kept, tolerance) == 75
    after[75, 0] = 0.2
    assert warm_up(after, kept, tolerance) is None
    five, one = jsonable(settling(np.ones(2), [np.full((5, 2), 0.02)] * 3, [np.zeros((5, 2))] * 3, 0.02))
    assert (five["bins"], five["max_s"]) == ([0, 0, 0], 0.0) and (one["bins"], one["median_bins"]) == ([None] * 3, None)


def test_bins_that_stand_still_are_not_stepped_again(chain):
    """From a start; after noise the high-pass of 0.5 Hz keeps less than a step for more than 20 s."""
    blocks = [*np.zeros((600, TICKS, 6), np.int16), *chain.samples[: 3 * TICKS].reshape(3, TICKS, 6)]
    short = SideBySide(chain.frontend_int8)
    rows = list(feature_rows(short, blocks))
    expected, _ = run_frontend(chain.frontend_int8, np.concatenate(blocks))
    np.testing.assert_array_equal(rows, expected)
    assert short.ticks < 20 * TICKS


def test_the_recording_goes_on_from_its_start(subject, chain):
    blocks = list(subject.recorded.samples(590, 30))
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate([chain.samples[590 * TICKS :], chain.samples[: 20 * TICKS]]))
    np.testing.assert_array_equal(subject.recorded.features(598, 4), chain.features[[598, 599, 0, 1]])
    np.testing.assert_array_equal(subject.recorded.float_features(0, 600), chain.features)


@pytest.fixture(scope="module")
def by_themselves(subject) -> dict:
    """Front end and decoder, each on what was recorded."""
    return jsonable(verify(dataclasses.replace(subject, plan=dataclasses.replace(SHORT, followed_ticks=1000, frontend_ticks=200))))


def test_front_ends_with_too_many_ticks_are_compared_by_themselves(by_themselves, subject):
    assert by_themselves["ok"] and not by_themselves["endurance"]["frontend"] and not by_themselves["reset"]["frontend"]
    ladder = by_themselves["ladder"]
    assert (ladder["frontend_ticks"], ladder["bins"], ladder["frontend_feeds_decoder"]) == (200, 120, False)


def test_a_reset_takes_some_bins_in_int8_and_in_float(by_themselves):
    reset = by_themselves["reset"]
    assert len(reset["at_s"]) == 8
    for chain in ("int8", "float"):
        five, one = reset[chain]
        assert (five["within"], one["within"]) == (0.05, 0.01)
        assert len(five["bins"]) == 8 and five["median_bins"] > 0
        assert five["max_bins"] is None if None in five["bins"] else five["max_bins"] == max(five["bins"])
        assert five["median_s"] == pytest.approx(0.02 * five["median_bins"])
    assert reset["float"][1]["median_bins"] >= reset["float"][0]["median_bins"]


def test_a_run_that_was_not_quantised_names_the_command(tmp_path):
    made = RunDir.create(tmp_path / "run", Settings(lfp=SIX_BANDS))
    with pytest.raises(UserError, match="stage 'data' is missing: run 'realm-edge data"):
        run(made, Silent())
    with pytest.raises(UserError, match="--bins 0: use a positive number"):
        run(made, Silent(), 0)
