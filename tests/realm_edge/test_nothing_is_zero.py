"""Recordings in which no field has its default: clocks that start late, offsets, conversions, delays, unequal means; by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from pynwb import TimeSeries

from export.decoder_graph import decoder_graph
from export.stepgraph import Stepper, metadata
from quantization.golden import in_units
from realm_edge import feature_table
from realm_edge.models.student import Student, decode
from realm_edge.preparation import prepare
from realm_edge.readers import npz, nwb
from realm_edge.readers.contents import Request
from realm_edge.readers.reading import read_recording
from realm_edge.recording import Recording
from realm_edge.session import describe, load, save
from realm_edge.settings import SIX_BANDS, LfpSettings, ModelSettings, Settings, SplitSettings
from tests.nwb_file import add_behavior, add_lfp, new_file, velocity, write

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")  # while a file is being put together

RNG = np.random.default_rng(0)
RAW = RNG.integers(-2000, 2000, (4000, 3), dtype=np.int16)
MOVES = RNG.standard_normal((900, 2))
LFP = {"starting_time": 2.5, "rate": 1000.0, "conversion": 2e-7, "offset": 3e-5}
BEHAVIOR = {"starting_time": 1.75, "rate": 250.0, "conversion": 0.5, "offset": -7.0}
SPIKES = [np.array([2.6, 3.1]), np.array([4.05])]


@pytest.fixture
def file(tmp_path):
    made = new_file()
    add_lfp(made, RAW, **LFP)
    add_behavior(made, velocity(data=MOVES, **BEHAVIOR))
    for times in SPIKES:
        made.add_unit(spike_times=times, obs_intervals=[[2.0, 6.0]])
    made.add_trial(start_time=3.0, stop_time=4.5)
    made.add_invalid_time_interval(start_time=5.0, stop_time=5.5)
    return write(tmp_path / "late.nwb", made)


def test_nwb_with_clocks_that_start_late_conversions_and_offsets(file):
    found = nwb.read(file, Request(0.02))
    signal = found.lfp["lfp"]()
    assert (signal.clock.rate, signal.clock.start, signal.clock.samples) == (1000.0, 2.5, 4000)
    assert signal.gain.tolist() == [2e-7] * 3 and signal.offset.tolist() == [3e-5] * 3 and signal.unit == "V"
    series = found.behaviors["velocity"]()
    np.testing.assert_allclose(series.values, MOVES * 0.5 - 7.0, rtol=1e-6)
    np.testing.assert_allclose(series.times, 1.75 + np.arange(900) / 250)
    assert series.unit == "m/s" and found.intervals["trials"].tolist() == [[3.0, 4.5]] and found.invalid.tolist() == [[5.0, 5.5]]
    units = found.units()
    assert [list(times) for times in units.times] == [list(times) for times in SPIKES] and units.observed[1].tolist() == [[2.0, 6.0]]


def test_gains_of_channels_multiply_the_series(tmp_path):
    made = new_file()
    add_lfp(made, RAW, **LFP, channel_conversion=[1.0, 2.0, 5.0])
    add_behavior(made, velocity(data=MOVES, **BEHAVIOR))
    signal = nwb.read(write(tmp_path / "gains.nwb", made), Request(0.02)).lfp["lfp"]()
    np.testing.assert_allclose(signal.gain, [2e-7, 4e-7, 1e-6])


def test_a_recording_keeps_all_of_it(file):
    recording = read_recording(file)
    assert (recording.lfp_start, recording.lfp_rate, recording.stretches) == (2.5, 1000.0, ((0, 4000, 2.5),))
    counts = np.asarray(recording.lfp)
    np.testing.assert_allclose(counts * recording.lfp_scale + recording.lfp_offset, RAW * 2e-7 + 3e-5, rtol=1e-6)
    np.testing.assert_allclose(recording.behavior, MOVES * 0.5 - 7.0, rtol=1e-6)
    assert recording.behavior_times[0] == 1.75 and recording.invalid.tolist() == [[5.0, 5.5]]


def test_arrays_with_a_late_start_scales_and_offsets(tmp_path):
    path = tmp_path / "late.npz"
    arrays = {"lfp": RAW, "lfp_rate": 1000.0, "lfp_start": 2.5, "lfp_scale": [2e-7, 3e-7, 5e-7], "lfp_offset": [1e-5, 2e-5, -4e-5]}
    arrays |= {"behavior": MOVES, "behavior_times": 1.75 + np.arange(900) / 250, "behavior_names": ["a", "b"], "behavior_unit": "N"}
    arrays |= {"spike_times": np.concatenate(SPIKES), "spike_index": [2, 3], "trials": [[3.0, 4.5]], "invalid_times": [[5.0, 5.5]]}
    np.savez(path, **arrays, good_channels=[True, False, True], channel_names=["p", "q", "r"])
    found = npz.read(path, Request(0.02))
    signal = found.lfp["lfp"]()
    assert (signal.clock.start, signal.clock.rate, signal.unit) == (2.5, 1000.0, "V")
    assert signal.gain.tolist() == [2e-7, 3e-7, 5e-7] and signal.offset.tolist() == [1e-5, 2e-5, -4e-5]
    assert signal.channels == ("p", "q", "r") and signal.good.tolist() == [True, False, True]
    series = found.behaviors["behavior"]()
    assert series.times[0] == 1.75 and series.names == ("a", "b") and series.unit == "N"
    assert [list(times) for times in found.units().times] == [list(times) for times in SPIKES]
    assert found.intervals["trials"].tolist() == [[3.0, 4.5]] and found.invalid.tolist() == [[5.0, 5.5]]


def test_features_and_their_behaviour_have_conversions_offsets_and_clocks_of_their_own(tmp_path):
    made, rows = new_file(), RNG.standard_normal((600, 4))
    ramp = np.arange(2000) / 100  # at its own time t, 0.01 a sample
    made.add_acquisition(TimeSeries(name="power", data=rows, unit="a", starting_time=3.0, rate=50.0, conversion=4.0, offset=11.0))
    made.add_acquisition(TimeSeries(name="force", data=ramp, unit="N", starting_time=1.0, rate=100.0, conversion=2.0, offset=-5.0))
    path = write(tmp_path / "late.nwb", made)
    settings = Settings(lfp=SIX_BANDS, output_delay_ms=60)
    session, bin_s = feature_table.read(path, "power", "force", settings, lambda bins: (bins // 2, bins * 3 // 4))
    assert bin_s == pytest.approx(0.02) and (session.bins, session.train_end, session.validation_end) == (600, 300, 450)
    np.testing.assert_allclose(session.features, rows * 4 + 11, rtol=1e-5)
    times = 3.0 + np.arange(600) / 50
    # the ramp says how late each answer is: 0 at 1 s, one newton (two after the conversion) a second
    expected = 2.0 * (times - 0.06 - 1.0) - 5.0
    np.testing.assert_allclose(session.targets[:, 0], expected, atol=1e-4)
    assert session.target_unit == "N"


def late_recording(**changes) -> Recording:
    """LFP from 2.5 s on, behaviour from 3.1 s on that is its own time, spikes; at the rate of the front end."""
    rng = np.random.default_rng(1)
    times = 3.1 + np.arange(1601) / 50
    values = {
        "name": "late",
        "behavior": (5.0 + times)[:, None],
        "behavior_times": times,
        "behavior_names": ("clock",),
        "behavior_unit": "s",
        "lfp": rng.integers(-500, 500, (36_000, 4)).astype(np.int16),
        "lfp_rate": 1000.0,
        "lfp_start": 2.5,
        "lfp_delay_s": 0.0035,
        "spike_times": (np.array([3.0, 3.1005, 3.1195, 3.1205, 20.0]),),
        "provenance": {"file": "late.npz"},
    }
    return Recording(**(values | changes))


def test_bins_of_a_recording_that_starts_late():
    settings = Settings(lfp=SIX_BANDS, window_bins=50, output_delay_ms=40, split=SplitSettings(train=0.6, validation=0.15))
    recording = late_recording()
    session = prepare(recording, settings, heldout=True)
    assert session.bins == 1600 and (session.train_end, session.validation_end) == (960, 1200)
    ends = 3.1 + 0.02 * np.arange(1, 1601) - 0.04
    np.testing.assert_allclose(session.targets[1:, 0], 5.0 + ends[1:], atol=1e-4)  # the first lies before all behaviour
    assert np.isnan(session.targets[0, 0])
    np.testing.assert_array_equal(np.asarray(session.lfp), np.asarray(recording.lfp)[600 : 600 + 32_000])
    assert session.counts[:2, 0].tolist() == [2.0, 1.0] and session.counts.sum() == 4 and session.counts[845, 0] == 1
    assert session.resampling_delay_s == 0.0035 and describe(session, settings).resampling_delay_ms == pytest.approx(3.5)
    trained = prepare(recording, settings, heldout=False)
    assert (trained.train_end, trained.validation_end) == (1280, 1600)  # in the same proportion, without a test part


def test_what_resampling_looks_ahead_adds_to_what_the_file_says():
    settings = Settings(window_bins=50, lfp=LfpSettings(rate_hz=500, bands_hz=((40.0, 60.0),)))
    session = prepare(late_recording(), settings, heldout=True)
    plain = prepare(late_recording(lfp_delay_s=0.0), settings, heldout=True)
    assert plain.resampling_delay_s > 0 and session.resampling_delay_s == pytest.approx(plain.resampling_delay_s + 0.0035)


def test_a_session_that_is_saved_and_described_keeps_what_is_not_zero(tmp_path):
    settings = Settings(lfp=SIX_BANDS, window_bins=50)
    one = dataclasses.replace(prepare(late_recording(), settings, heldout=True), good_channels=np.array([True, False, True, True]))
    save(one, tmp_path / "one.npz")
    again = load(tmp_path / "one.npz", tables=())
    for field in dataclasses.fields(one):
        before, after = getattr(one, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(np.asarray(after), np.asarray(before), err_msg=field.name)
    about = describe(one, settings)
    assert (about.seconds, about.bins, about.channels, about.bad_channels, about.units) == (
        one.bins * 0.02,
        one.bins,
        4,
        (1,),
        1,
    )
    assert (about.train_bins, about.validation_bins, about.test_bins) == (
        *(one.train_end, one.validation_end - one.train_end, one.bins - one.validation_end),
    )


@torch.no_grad()
def test_a_decoders_graph_answers_in_target_units():
    torch.manual_seed(0)
    student = Student(ModelSettings(d_model=8, n_layer=1, d_state=4, headdim=8), 5, 2).eval()
    student.feature_mean.copy_(torch.tensor([1.0, -2.0, 3.0, 0.5, 9.0]))
    student.feature_inv_std.copy_(torch.tensor([0.5, 2.0, 0.25, 1.5, 0.1]))
    student.target_mean.copy_(torch.tensor([40.0, -7.0]))
    student.target_std.copy_(torch.tensor([3.0, 11.0]))
    model = decoder_graph(student, 40.0, ("vx", "vy"), "cm/s", {"made": "of"})
    about = metadata(model)
    form = about["io"]["decoded"]
    assert (form["scale"], form["offset"], form["unit"], about["rate_hz"]) == ([3.0, 11.0], [40.0, -7.0], "cm/s", 40.0)
    features = torch.randn(30, 5) * 4 + student.feature_mean
    stepper = Stepper(model)
    raw = np.array([stepper.step({"features": row.numpy()})["decoded"] for row in features])
    np.testing.assert_allclose(in_units(raw, model), decode(student, features).numpy(), rtol=1e-4, atol=1e-3)
