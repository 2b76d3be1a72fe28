import numpy as np
import pytest
import torch
from onnx import numpy_helper

from export.stepgraph import metadata
from realm_edge.app.verdict.untrained import CALIBRATED, WARM_UP, noise, signal_settings, untrained
from realm_edge.errors import UserError
from realm_edge.frontend import averaging_s, filter_delay_s
from realm_edge.settings import Settings, changed, preset

TINY = changed(preset("demo"), {"student": {"d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 4}, "lfp": {"bands_hz": [[15.0, 35.0]]}})


def test_lfp_and_spikes_are_the_settings_own():
    assert signal_settings(TINY, "lfp") is TINY
    assert signal_settings(TINY, "spike") is TINY


def test_at_200_hz_a_band_is_cut_at_80_and_one_above_has_no_place():
    wide = changed(TINY, {"lfp": {"rate_hz": 1000, "bands_hz": [[2.0, 6.0], [70.0, 200.0], [80.0, 200.0], [100.0, 300.0]]}})
    lfp = signal_settings(wide, "lfp-200").lfp
    assert lfp == wide.lfp.model_copy(update={"rate_hz": 200, "bands_hz": ((2.0, 6.0), (70.0, 80.0))})


def test_spiking_band_power_is_one_band_of_the_lowest_rate_that_holds_it():
    found = signal_settings(TINY, "sbp")
    assert found.lfp == TINY.lfp.model_copy(update={"rate_hz": 2500, "bands_hz": ((300.0, 1000.0),), "highpass_hz": 300.0, "line_hz": 0.0})
    assert found.model_copy(update={"lfp": TINY.lfp}) == TINY


@pytest.mark.parametrize(("bin_ms", "slow", "sbp"), [(20, 200, 2500), (12, 250, 2500), (7, 1000, 3000), (25, 200, 2520)])
def test_a_bin_holds_whole_samples(bin_ms, slow, sbp):
    settings = Settings(bin_ms=bin_ms, lfp=TINY.lfp.model_copy(update={"rate_hz": 1000}))
    assert signal_settings(settings, "lfp-200").lfp.rate_hz == slow
    assert signal_settings(settings, "sbp").lfp.rate_hz == sbp


def test_a_high_pass_beyond_the_rate_is_told_of():
    high = changed(TINY, {"lfp": {"rate_hz": 1000, "highpass_hz": 150.0, "bands_hz": []}})
    with pytest.raises(UserError, match=r"lfp-200: .*highpass_hz 150.0 does not lie below half of rate_hz"):
        signal_settings(high, "lfp-200")


@pytest.mark.parametrize(("signal", "ticks", "kinds"), [("lfp", 10, 2), ("lfp-200", 4, 2), ("sbp", 50, 2), ("spike", 600, 1)])
def test_graphs_are_of_the_signal_and_the_channels(signal, ticks, kinds):
    made = untrained(signal, 5, signal_settings(TINY, signal), 3)
    assert made.ticks == ticks
    assert made.features.shape == (CALIBRATED, 5 * kinds)
    frontend, decoder = (
        {each.name: each.type.tensor_type.shape.dim[0].dim_value for each in (*graph.graph.input, *graph.graph.output)}
        for graph in (made.frontend, made.decoder)
    )
    assert (frontend["sample"], frontend["features"]) == (5, 5 * kinds)
    assert (decoder["features"], decoder["decoded"]) == (5 * kinds, 3)
    assert metadata(made.frontend)["rate_hz"] == ticks * 50


def test_the_student_is_the_settings_and_drawn_alike_each_time():
    state = torch.get_rng_state()
    first = untrained("lfp", 4, TINY, 2)
    assert torch.equal(torch.get_rng_state(), state)
    untrained.cache_clear()
    again = untrained("lfp", 4, TINY, 2)
    for one, other in ((first.frontend, again.frontend), (first.decoder, again.decoder)):
        assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    wide = changed(TINY, {"student": {"d_model": 16}, "quantize": {"activations": "int16"}})
    weights = [
        {each.name: numpy_helper.to_array(each) for each in untrained("lfp", 4, settings, 2).decoder.graph.initializer}
        for settings in (TINY, wide)
    ]
    assert [each["tokenizer.weight"].shape for each in weights] == [(8, 8), (8, 16)]  # inputs by width


def test_the_noise_that_is_calibrated_on_is_what_it_is_said_to_be():
    crossings = untrained("spike", 4, TINY, 2).features[WARM_UP:]
    assert crossings.mean() < 0.1  # a bin, at four standard deviations
    power = untrained("lfp", 4, TINY, 2).features[WARM_UP:, 4:]
    assert 2 ** power.mean() == pytest.approx(10 * 300**2 * (np.pi / 2) * 20 / 250, rel=0.5)  # ten samples; a first-order band 20 Hz wide


def test_noise_is_the_same_each_time_and_crosses_thresholds():
    np.testing.assert_array_equal(noise("lfp", 30, 4), noise("lfp", 30, 4))
    assert noise("sbp", 3000, 4).std() == pytest.approx(300, rel=0.03)
    assert noise("spike", 3000, 4).std() == pytest.approx(80, rel=0.03)


def test_a_narrower_band_is_later():
    """So that what 200 Hz saves is paid for in delay where its last band is narrow."""
    demo = preset("demo")
    assert filter_delay_s(signal_settings(demo, "sbp")) < 0.001 < filter_delay_s(demo)
    assert averaging_s(signal_settings(demo, "sbp")) == averaging_s(demo)
