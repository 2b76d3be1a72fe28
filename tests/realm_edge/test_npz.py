"""Recordings in NumPy's format."""

import numpy as np
import pytest

from realm_edge.errors import UserError
from realm_edge.inspection import inspect
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(-2000, 2000, (400, 3), dtype=np.int16)
VELOCITY = RNG.standard_normal((100, 2))
SPIKES = [np.array([0.011, 0.2, 0.35]), np.array([]), np.array([0.1])]


def arrays(**changed):
    values = {
        "lfp": COUNTS,
        "lfp_rate": 1000.0,
        "behavior": VELOCITY,
        "behavior_rate": 250.0,
        "behavior_names": np.array(["vx", "vy"]),
        "behavior_unit": "cm/s",
        "good_channels": np.array([True, False, True]),
        "spike_times": np.concatenate(SPIKES),
        "spike_index": np.cumsum([len(times) for times in SPIKES]),
    } | changed
    return {key: value for key, value in values.items() if value is not None}


def save(tmp_path, **changed):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays(**changed))
    return path


def test_npz_complete(tmp_path):
    recording = read_recording(save(tmp_path))
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS)
    np.testing.assert_allclose(recording.behavior, VELOCITY, rtol=1e-6)
    assert (recording.behavior_names, recording.behavior_unit, recording.lfp_unit) == (("vx", "vy"), "cm/s", "a.u.")
    assert [list(times) for times in recording.spike_times] == [list(times) for times in SPIKES]
    np.testing.assert_array_equal(recording.good_channels, [True, False, True])


def test_npz_minimal(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, lfp=COUNTS[:, 0] / 1e6, lfp_rate=1000, behavior=VELOCITY[:, 0], behavior_times=np.arange(100) / 250)
    recording = read_recording(path, Choices(("behavior",)))
    assert recording.lfp.shape == (400, 1) and recording.behavior_names == ("behavior",)
    values = np.asarray(recording.lfp)[:, 0] * recording.lfp_scale + recording.lfp_offset
    np.testing.assert_allclose(values, COUNTS[:, 0] / 1e6, atol=0.51 * recording.lfp_scale)
    assert recording.lfp_scale < 1e-6  # finer than the counts that the floats were made of


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"lfp": None}, "key 'lfp' is missing: it has"),
        ({"lfp": np.array([{}], object)}, "not readable as .npz"),
        ({"lfp": np.array(["a"])}, "expected real numbers"),
        ({"lfp": np.full((4, 3), np.inf)}, "every channel is NaN in more than 20 % of the samples"),
        ({"lfp_rate": 0.0}, r"lfp_rate: sampling rate 0.0 Hz"),
        ({"lfp_rate": np.array([1.0, 2.0])}, "lfp_rate is .* expected one finite number"),
        ({"behavior_rate": None}, "'behavior_times' is missing"),
        ({"behavior_times": np.zeros(100)}, r"time 0.0 of sample 1 does not follow"),
        ({"behavior_times": np.arange(99)}, "100 samples have times of shape"),
        ({"behavior_names": np.array(["v"])}, "1 names for 2 columns"),
        (
            {"behavior_times": np.arange(100) / 100},
            "behavior_rate is 250 Hz, but behavior_times are those of 100 Hz: leave one of them out",
        ),
        ({"lfp_times": np.arange(400) / 500}, "lfp_rate is 1000 Hz, but lfp_times are those of 500 Hz: leave one of them out"),
        ({"lfp_times": np.arange(400) / 1000, "lfp_start": 1.0}, "lfp_start is 1 s, but lfp_times start at 0 s: leave one of them out"),
        ({"lfp_scale": 1e300}, r"lfp_scale is 1e\+300, beyond 1e\+18: correct it"),
        ({"lfp_offset": -1e300}, r"lfp_offset is -1e\+300, beyond 1e\+18: correct it"),
        *(({"lfp_rate": rate}, rf"lfp_rate: sampling rate {rate} Hz, not from 1 Hz to 10,000,000 Hz") for rate in (1e-9, 5e-324)),
        ({"lfp_rate": 1e308}, r"lfp_rate: sampling rate 1e\+308 Hz, not from 1 Hz to 10,000,000 Hz"),
        ({"lfp_rate": None, "lfp_times": 1e6 * np.arange(400) / 1000}, r"lfp_times: sampling rate 0\.001 Hz, .* stamps in ms, us or ns"),
        ({"lfp_rate": None, "lfp_times": 1e15 + np.arange(400) / 1000}, r"lfp_times: its times reach 1e\+15, where .* too coarse"),
        ({"behavior_times": 1e15 + np.arange(100) / 250}, r"behavior_times: its times reach 1e\+15, where .* too coarse to tell samples"),
        ({"good_channels": np.ones(2, bool)}, r"good_channels has shape \(2,\)"),
    ],
)
def test_npz_wrong(tmp_path, changed, message):
    with pytest.raises(UserError, match=rf"a\.npz: .*{message}|a\.npz: {message}") as caught:
        read_recording(save(tmp_path, **changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spike_index": None}, "spike_times needs"),
        ({"spike_index": np.array([3, 2, 4])}, "must not fall"),
        ({"spike_times": None}, "spike_index without spike_times: add the spike_times of its units, or leave it out"),
        ({"spike_index": np.full(10_001, 4)}, "spike_index: 10,001 units, of at most 10,000"),
        ({"spike_times": np.array([0.1, np.nan, 0.2, 0.3])}, "unit 0: spike 1 has time nan"),
    ],
)
def test_npz_with_spikes_that_cannot_be_used(tmp_path, changed, message):
    recording = read_recording(save(tmp_path, **changed))
    assert message in recording.provenance["units_unusable"] and recording.spike_times == ()
    np.testing.assert_array_equal(np.asarray(recording.lfp), COUNTS)


def test_npz_truncated_and_wrong_behaviour(tmp_path):
    path = save(tmp_path)
    with pytest.raises(UserError, match=r"--behavior speed: no such series: use --behavior with one of: behavior"):
        read_recording(path, Choices(("speed",)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"a\.npz: not readable"):
        read_recording(path)


@pytest.mark.parametrize("end", [1.0, 0.5, np.nan, np.inf])
def test_an_interval_that_is_none_is_named(tmp_path, end):
    path = save(tmp_path, trials=np.array([[0.0, 0.5], [1.0, end]]))
    with pytest.raises(UserError, match=rf"a\.npz: trials: row 1: 1 to {end:g} s is no interval: correct it"):
        read_recording(path, Choices(("behavior",)))


def test_a_rate_that_agrees_with_the_time_stamps_may_stand_beside_them(tmp_path):
    recording = read_recording(save(tmp_path, lfp_times=np.arange(400) / 1000.5, behavior_times=np.arange(100) / 250))
    assert recording.lfp_rate == pytest.approx(1000.5)


def test_keys_that_nobody_reads_are_told(tmp_path):
    recording = read_recording(save(tmp_path, lfp_scal=1e-7, stimulus=np.zeros(3)))
    told = "unknown key 'lfp_scal' (is 'lfp_scale' meant?); unknown key 'stimulus'"
    assert recording.provenance["left_out"] == told and recording.lfp_unit == "a.u."
    with pytest.raises(UserError, match=r"a\.npz: no behaviour series: .*; left out: unknown key 'behaviour' \(is 'behavior' meant\?\)"):
        read_recording(save(tmp_path, behavior=None, behaviour=VELOCITY))


@pytest.mark.parametrize(
    ("named", "count"),
    [([1.0, 2.0, 2.0], 2), ([1.0, np.nan, 2.0], None), ([np.nan] * 3, None), (["a", "", "b"], None), (["a", "b", "c"], 3)],
)
def test_electrodes_that_are_no_names_are_unknown(tmp_path, named, count):
    summary = inspect(save(tmp_path, spike_electrodes=np.array(named))).summary
    assert summary["units"]["electrodes"] == count


def test_a_number_of_electrodes_without_units_is_told(tmp_path):
    choices = Choices(("behavior",), spike_electrodes=5)
    recording = read_recording(save(tmp_path, spike_times=None, spike_index=None), choices)
    assert recording.provenance["left_out"] == "--spike-electrodes 5: there are no units that it could be of"
    assert recording.spike_electrodes is None
    recording = read_recording(save(tmp_path), choices)
    assert recording.spike_electrodes == 5 and "left_out" not in recording.provenance
