"""Behaviour between its samples: angles that wrap, gaps, edges that nothing looks across."""

from dataclasses import replace

import numpy as np
import pytest
from pynwb.behavior import CompassDirection, SpatialSeries

from realm_edge.behavior import angle_error_deg, angles_of, interpolated, transformed, turn_of, wraps
from realm_edge.errors import UserError
from realm_edge.preparation import prepare
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.recording import BehaviorSeries
from realm_edge.settings import SIX_BANDS, Settings
from tests.nwb_file import recording_file, velocity

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

SETTINGS = Settings(lfp=SIX_BANDS, window_bins=50)
CIRCULAR = Settings(lfp=SIX_BANDS, window_bins=50, behavior_transform="circular")
LFP = np.random.default_rng(0).integers(-500, 500, (60_000, 2), dtype=np.int16)
T = np.arange(1801) / 30
TURNS = {"radians": 2 * np.pi, "rad": 2 * np.pi, "degrees": 360.0, "deg": 360.0, "°": 360.0}


def head(low=0.0, turn=2 * np.pi, turns_a_second=0.5):
    """Head direction that goes round, from ``low`` on."""
    return np.mod(turn * turns_a_second * T - low, turn) + low


def error(found, expected, turn):
    """Angles between two series, in turns."""
    return np.abs(np.angle(np.exp(2j * np.pi * (found - expected) / turn))) / (2 * np.pi)


@pytest.mark.parametrize("unit", TURNS)
@pytest.mark.parametrize("low", [0.0, -0.5])
def test_angles_are_interpolated_the_shorter_way_round(unit, low):
    turn = TURNS[unit]
    values = head(low * turn, turn)[:, None]
    assert turn_of(unit.upper()) == turn and wraps(values, unit).tolist() == [True]
    times = 0.02 * np.arange(1, 2999)
    found = interpolated(T, values, times, unit)
    assert error(found[:, 0], turn * 0.5 * times, turn).max() < 1e-6
    assert found.min() >= low * turn and found.max() < (1 + low) * turn


def test_what_only_looks_like_an_angle_is_left_alone():
    many = np.cumsum(np.full(1801, 0.1))[:, None]  # turns that are counted on
    assert not wraps(many, "radians").any() and not wraps(head()[:, None], "cm").any()
    swing = np.sin(T)[:, None]
    assert not wraps(swing, "radians").any()
    mixed = np.stack([head(), np.sin(T)], axis=1)
    assert wraps(mixed, "rad").tolist() == [True, False]
    times = np.array([10.01, 20.02])
    np.testing.assert_allclose(interpolated(T, mixed, times, "rad")[:, 1], np.sin(times), atol=1e-3)


def test_a_gap_of_an_angle_that_ends_a_turn_later():
    values = head()[:, None].copy()
    values[(T > 10.0) & (T < 10.5)] = np.nan  # a quarter of a turn
    values[(T > 20.0) & (T < 21.5)] = np.nan
    times = 0.02 * np.arange(1, 2999)
    found = interpolated(T, values, times, "rad")[:, 0]
    unknown = np.isnan(found)
    assert np.array_equal(unknown, (times > 20.0 + 1e-6) & (times < 21.5 - 1e-6))
    assert error(found[~unknown], np.pi * times[~unknown], 2 * np.pi).max() < 1e-6


def test_nothing_is_interpolated_across_an_edge():
    at, values = np.arange(11.0) / 10, np.arange(11.0)[:, None]
    times = np.arange(101) / 100
    plain = interpolated(at, values, times, "m")[:, 0]
    np.testing.assert_allclose(plain, 10 * times, atol=1e-9)
    held = interpolated(at, values, times, "m", np.array([0.35, 0.6]))[:, 0]
    between = (times > 0.3) & (times < 0.4 - 1e-9)
    np.testing.assert_allclose(held[between], 3.0)  # the one before, up to the next sample
    np.testing.assert_allclose(held[~between], plain[~between])
    changed = values.copy()
    changed[at > 0.35] = 100.0  # what comes after an edge ...
    np.testing.assert_array_equal(interpolated(at, changed, times, "m", np.array([0.35]))[times <= 0.35, 0], held[times <= 0.35])


def head_file(tmp_path, values, unit="radians", compass=True):
    series = SpatialSeries(name="head_direction", data=values, timestamps=T, reference_frame="room", unit=unit)
    return recording_file(tmp_path / "hd.nwb", LFP, CompassDirection(spatial_series=series) if compass else series)


@pytest.mark.parametrize(("unit", "compass"), [("radians", True), ("unknown", True), ("degrees", False)])
def test_head_direction_end_to_end(tmp_path, unit, compass):
    """A CompassDirection without a unit is in radians, as NWB says."""
    turn = 360.0 if unit == "degrees" else 2 * np.pi
    recording = read_recording(head_file(tmp_path, head(turn=turn), unit, compass))
    session = prepare(recording, SETTINGS, heldout=True)
    true = turn * 0.5 * 0.02 * np.arange(1, session.bins + 1)
    assert error(session.targets[:, 0], true, turn).max() < 1e-5
    assert session.provenance["wraps"].startswith("head_direction wraps round a full turn") and "circular" in session.provenance["wraps"]
    pairs = prepare(recording, CIRCULAR, heldout=True)
    assert pairs.target_names == ("head_direction_cos", "head_direction_sin") and pairs.target_unit == "1"
    angle = 2 * np.pi * true / turn
    np.testing.assert_allclose(pairs.targets, np.stack([np.cos(angle), np.sin(angle)], axis=1), atol=2e-5)
    assert "wraps" not in pairs.provenance


def test_a_circular_target_needs_an_angle(tmp_path):
    path = recording_file(tmp_path / "a.nwb", LFP, velocity("speed", 400 * np.abs(np.sin(T)), rate=30.0, unit="cm/s"))
    with pytest.raises(
        UserError, match=r"a\.nwb: speed: behavior_transform = \"circular\": cm/s is no unit of angles: choose a series in radians"
    ):
        prepare(read_recording(path), CIRCULAR, heldout=True)
    phase = recording_file(tmp_path / "b.nwb", LFP, velocity("phase", head(-np.pi), rate=30.0, unit="a.u."))
    pairs = prepare(read_recording(phase), CIRCULAR, heldout=True).targets
    np.testing.assert_allclose((pairs**2).sum(axis=1), 1.0, atol=0.02)  # without a known unit: radians where they fit


def test_an_angle_is_its_cosine_and_its_sine_and_a_logarithm_forgets_what_is_negative():
    series = BehaviorSeries(np.array([[0.0, 0.0]], np.float32), np.zeros(1), ("a", "b"), "degrees")
    angles = np.array([[0.0, 90.0], [30.0, 180.0], [np.nan, 60.0]])
    pairs, names, unit = transformed(angles, series, "circular", "a")
    half, root = 0.5, np.sqrt(0.75)
    assert names == ("a_cos", "a_sin", "b_cos", "b_sin") and unit == "1"
    np.testing.assert_allclose(pairs, [[1, 0, 0, 1], [root, half, -1, 0], [np.nan, np.nan, half, root]], atol=1e-6)
    logs, names, unit = transformed(np.array([[np.e - 1, -7.0]]), series, "log", "a")
    np.testing.assert_allclose(logs, [[1.0, 0.0]], atol=1e-6)
    assert names == ("a", "b") and unit == "ln(degrees + 1)"


def test_errors_of_angles_by_hand():
    assert angles_of(("a_cos", "a_sin", "b_cos", "b_sin")) == ("a", "b") and angles_of(("a_cos", "b_sin")) == ()

    def pairs(*degrees):
        return np.array([[part(np.radians(each)) for each in row for part in (np.cos, np.sin)] for row in degrees])

    true, decoded = pairs((10, 170), (-10, 0), (0, 90)), 3 * pairs((30, -170), (-20, 90), (0, -90))  # not on the circle
    true[2] = np.nan
    np.testing.assert_allclose(angle_error_deg(true, decoded), [(20 + 10) / 2, (20 + 90) / 2])


def test_targets_never_look_across_a_split(tmp_path):
    """What happens after the training part changes none of its targets, however slow the behaviour's samples come."""
    at = np.arange(121) / 2  # 2 Hz
    values = np.cumsum(np.random.default_rng(0).standard_normal(121))
    first = prepare(read_recording(recording_file(tmp_path / "a.nwb", LFP, velocity("v", values, timestamps=at + 0.13))), SETTINGS, True)
    end = first.train_end
    ends = 0.13 + 0.02 * np.arange(1, first.bins + 1)
    values[at + 0.13 > ends[end - 1] + 1e-9] = 1e6
    second = prepare(read_recording(recording_file(tmp_path / "b.nwb", LFP, velocity("v", values, timestamps=at + 0.13))), SETTINGS, True)
    np.testing.assert_array_equal(first.targets[:end], second.targets[:end])
    assert (second.targets[end + 30 : first.validation_end] > 1e5).any()


def test_several_series_are_one_target_on_the_clock_of_the_finest(tmp_path):
    slow = velocity("slow", np.sin(T), rate=30.0, unit="m")
    fast = velocity("fast", np.cos(np.arange(4800) / 80)[:, None] * [1.0, 2.0], rate=80.0)
    angle = velocity("angle", head(), rate=30.0, unit="radians")
    path = recording_file(tmp_path / "a.nwb", LFP, slow, fast, angle)
    recording = read_recording(path, Choices(("slow", "fast", "angle")))
    assert recording.behavior_names == ("slow", "fast_x", "fast_y", "angle") and recording.behavior_unit == "m, m/s, m/s, radians"
    assert recording.provenance["behavior_series"] == "slow, fast, angle" and len(recording.behavior_times) == 4800
    session = prepare(recording, SETTINGS, heldout=True)
    ends = 0.02 * np.arange(1, session.bins + 1)
    np.testing.assert_allclose(session.targets[:, 0], np.sin(ends), atol=0.013)  # at a split a sample is held
    np.testing.assert_allclose(session.targets[:, 2], 2 * np.cos(ends), atol=0.026)
    assert error(session.targets[:, 3], np.pi * ends, 2 * np.pi).max() < 0.01


def test_each_angle_has_the_turn_of_its_own_unit():
    values = np.array([[90.0, np.pi / 2], [180.0, np.pi]], np.float32)
    series = BehaviorSeries(values, np.arange(2.0), ("a", "b"), "degrees, radians")
    targets, names, _ = transformed(values.astype(np.float64), series, "circular", "a.nwb")
    np.testing.assert_allclose(targets, [[0, 1, 0, 1], [-1, 0, -1, 0]], atol=1e-6)
    assert names == ("a_cos", "a_sin", "b_cos", "b_sin")
    with pytest.raises(UserError, match=r"a\.nwb: b: .* cm is no unit of angles"):
        transformed(values.astype(np.float64), replace(series, unit="degrees, cm"), "circular", "a.nwb")


def test_codes_hold_until_the_next():
    at, values = np.array([0.0, 0.5, 1.0]), np.array([[3.0, 0.0], [5.0, 1.0], [8.0, 2.0]])
    found = interpolated(at, values, np.array([0.25, 0.5, 0.75, 1.0]), "code, m")
    np.testing.assert_allclose(found, [[3.0, 0.5], [5.0, 1.0], [5.0, 1.5], [8.0, 2.0]])
