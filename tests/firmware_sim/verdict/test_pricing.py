"""Each term that a scenario adds, by hand, with the nominal figures of the library in words."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.components import load_components
from firmware_sim.implant import Case, play, raw_streaming, run_timeline
from firmware_sim.power.scenario import Scenario
from firmware_sim.ranges import axes, draw, played, range_of
from firmware_sim.targets import get_target
from firmware_sim.verdict.link import get_link
from firmware_sim.verdict.pricing import Acquired, price
from firmware_sim.workload import Delays
from tests.firmware_sim.power_page import LFP, RANGES
from tests.firmware_sim.verdict.fixtures import BLE, M4, candidate, case, counts, every, priced

UWB = get_link("uwb")
PIN_UW = 1.25 * 10e-12 * 9 * 1e6  # of a bit a second at 3 V
SPIKE_LOOP = {"loop_cycles": (87, 104, 291)}  # of docs/power.md


def timeline(name: str, link=BLE, target=M4, **changes):
    return run_timeline(case(name, target, link, **changes).nominal, load_components())


def parts(name: str, link=BLE, target=M4, **changes):
    return timeline(name, link, target, **changes).power_uw


def test_software_that_decodes_is_priced_as_by_simulate_to_the_digit():
    plain = run_timeline(Case(LFP, M4, 0), load_components())
    assert parts("lfp-software-decoded") == plain.power_uw
    spikes = run_timeline(Case(RANGES["spikes"].nominal, M4, 0), load_components())
    assert parts("spike-software-decoded", **SPIKE_LOOP) == spikes.power_uw
    assert range_of(case("lfp-software-decoded"), load_components()).power_uw == pytest.approx((1900, 4681), abs=0.5)


def test_spikes_behind_a_circuit_are_priced_as_behind_the_detector_to_the_digit():
    detector = run_timeline(Case(RANGES["spikes, detector"].nominal, M4, 0), load_components())
    assert parts("spike-circuit-decoded", **SPIKE_LOOP) == detector.power_uw


def test_a_circuit_adds_its_figure_by_electrode_and_takes_the_front_ends_cycles():
    found = timeline("lfp-circuit-decoded")
    assert found.power_uw["sensing"] == pytest.approx(32 * (0.81 + 500 * 36e-6 + 0.32))
    assert found.power_uw["pins"] == pytest.approx(192 * 16 * 50 * PIN_UW)  # six features of each channel come in
    assert found.required_clock_hz == pytest.approx((85_747 + 50 + 44 + 24) * 50)
    assert parts("sbp-circuit-decoded")["sensing"] == pytest.approx(32 * (0.81 + 2000 * 36e-6 + 0.74))


def test_features_from_software_cost_sending_and_cross_the_lines_twice():
    found = timeline("lfp-software-features")
    assert found.required_clock_hz == pytest.approx((44_608 + 50 * 192 / 2 + 44 + 24) * 50)  # 50 cycles send two values
    assert found.bandwidth_bps.decoded == 192 * 16 * 50
    assert found.power_uw["pins"] == pytest.approx((32 * 500 * 16 + 192 * 16 * 50) * PIN_UW)
    assert timeline("spike-software-features").bandwidth_bps.decoded == 32 * 8 * 50  # a byte for a count
    assert timeline("sbp-software-features").bandwidth_bps.decoded == 32 * 16 * 50


def test_features_from_a_circuit_are_relayed_over_the_link_by_hand():
    """docs/power.md has the same sum."""
    found = parts("lfp-circuit-features", UWB)
    awake = 50 * (24 / 120e6 + 45e-6)
    on_air = 153_600 / 0.9
    expected = {
        "sensing": 32 * (0.81 + 500 * 36e-6 + 0.32),
        "pins": 2 * 153_600 * PIN_UW,
        "mcu_active": awake * 120e6 * 278e-6,
        "mcu_sleep": (1 - awake) * 6.0,
        "supply": 0.0,
        "radio": on_air * 21e-6 + (1 - on_air / 230e6) * 200.0,
    }
    assert found == pytest.approx(expected | {"total": sum(expected.values())})


def test_spikes_of_a_bin_that_may_hold_more_than_a_byte_counts_are_sent_by_16_bits():
    for bin_s, bits in ((0.1, 8), (0.2, 16)):
        assert priced("spike-circuit-features", bin_s=bin_s).payload_bps == pytest.approx(32 * bits / bin_s)


def test_samples_are_sensed_relayed_and_sent_and_nothing_is_computed():
    found = timeline("lfp-samples")
    bits = 32 * 500 * 12
    assert found.bandwidth_bps.decoded == pytest.approx(bits) == found.bandwidth_bps.raw
    assert found.power_uw["pins"] == pytest.approx(2 * bits * PIN_UW)
    assert found.required_clock_hz == pytest.approx(24 * 50) and found.wakeups_per_s == 50
    # The radio and the sensing are those of 'simulate' where it sends all samples.
    raw = raw_streaming(case("lfp-samples").nominal, load_components())
    assert found.power_uw["sensing"] + found.power_uw["radio"] == pytest.approx(raw.power_uw - bits * PIN_UW)
    assert timeline("lfp-200-samples").bandwidth_bps.decoded == pytest.approx(32 * 200 * 12)


def test_without_a_fifo_the_core_sleeps_with_dma_on_while_samples_pass():
    chosen = candidate("lfp-samples")
    found = price(chosen, counts("lfp", True), M4, BLE, Scenario(fifo=False)).case
    assert play(found.nominal, load_components()).power_uw["mcu_sleep"] == pytest.approx(15_800 * (1 - 50 * (24 / 120e6 + 45e-6)))


def test_what_is_sent_crosses_no_lines_where_the_radio_is_on_the_part():
    own, beside = (case("lfp-samples", get_target("nrf54l15"), get_link(name)) for name in ("ble-nrf54l15", "ble-nrf52840"))
    pins = [play(each.nominal, load_components()).power_uw["pins"] for each in (own, beside)]
    assert pins[1] == pytest.approx(2 * pins[0]) and pins[0] == pytest.approx(192_000 * PIN_UW)


def test_compression_takes_power_by_channel_and_bits_from_lines_and_link():
    plain, packed = (play(case(name, M4, UWB).nominal, load_components()) for name in ("spike-samples", "spike-compressed"))
    bits = 32 * 30_000 * 10
    assert packed.power_uw["sensing"] - plain.power_uw["sensing"] == pytest.approx(32 * 9.7)
    assert plain.power_uw["pins"] == pytest.approx(2 * bits * PIN_UW) and packed.power_uw["pins"] == pytest.approx(bits * PIN_UW)
    assert packed.event.on_air_bits == pytest.approx(plain.event.on_air_bits / 2)
    half = played(case("spike-compressed", M4, UWB), load_components(), {"sensing.broadband-compression": np.array([-1.0, 0.0, 1.0])})
    np.testing.assert_allclose(half.event.on_air_bits, np.array([0.095, 0.5, 0.67]) * bits * 0.02 / 0.9)


def test_compressed_packets_of_bluetooth_are_counted_by_draw():
    """Half of 9,600 bits a bin are 600 bytes, three packets; 0.095 of them one; 0.67 four."""
    chosen = candidate("spike-compressed")
    slow = price(chosen, None, M4, BLE, acquired=Acquired(32, 1500.0, 750.0, 0.02)).case
    found = played(slow, load_components(), {"sensing.broadband-compression": np.array([-1.0, 0.0, 1.0])})
    np.testing.assert_array_equal(found.event.packets, [1, 3, 4])


def test_samples_need_no_counts_and_features_of_a_circuit_none_that_fit():
    wide = price(candidate("lfp-samples"), None, M4, UWB, acquired=Acquired(1024, 500.0, 200.0, 0.02))
    assert wide.channels == 1024 and wide.payload_bps == pytest.approx(1024 * 500 * 12) and wide.case is not None
    broken = {"fits": False, "text": "needs 3 MB of flash", "decoder_cycles": None, "send_cycles": None, "ram_bytes": None}
    assert priced("lfp-circuit-features", **broken).case is not None
    software = priced("lfp-software-decoded", **broken, frontend_cycles=None)
    assert (software.case, software.why_not) == (None, "needs 3 MB of flash") and software.payload_bps == 1600


def test_counts_of_something_else_are_refused():
    with pytest.raises(ValueError, match="counts of"):
        price(candidate("lfp-software-decoded"), counts("sbp", True), M4, BLE)
    with pytest.raises(ValueError, match="counts of"):
        price(candidate("lfp-software-decoded"), counts("lfp", False), M4, BLE)
    with pytest.raises(ValueError, match="counts of"):
        price(candidate("lfp-samples"), counts("lfp", True, get_target("stm32u385")), M4, BLE)
    with pytest.raises(ValueError, match="counts are needed"):
        price(candidate("lfp-circuit-decoded"), None, M4, BLE)
    with pytest.raises(ValueError, match="what is acquired"):
        price(candidate("lfp-samples"), None, M4, BLE)


def test_delays_are_those_of_the_counts_or_the_ones_that_are_given():
    chosen = candidate("lfp-software-decoded")
    own = price(chosen, counts("lfp", True), M4, BLE).case.workload.nominal.delays
    given_ = price(chosen, counts("lfp", True), M4, BLE, delays=Delays(output_delay=0.1)).case.workload.nominal.delays
    assert (own, given_) == (Delays(filters=0.03), Delays(output_delay=0.1))


def test_bluetooth_holds_two_bins_of_samples_in_ram_and_a_stream_none():
    assert case("lfp-samples").ram_bytes == 2 * 480 and case("lfp-samples", M4, UWB).ram_bytes == 0
    wide = price(candidate("lfp-samples"), None, get_target("mspm0l1306"), BLE, acquired=Acquired(32, 2500.0, 200.0, 0.02)).case
    assert run_timeline(wide.nominal, load_components()).fit_text.startswith("does not fit: needs 4800 bytes of RAM")


def test_what_bounds_a_link_is_said():
    medradio = get_link("medradio-402")
    text = timeline("sbp-samples", medradio).fit_text
    assert text == "the link cannot carry this: 1.2 Mb/s on air, its capacity bounds it to 0.8 Mb/s"
    slow = load_components().moved({"link.medradio-402.efficiency": 0.67})
    assert "its regulation bounds it to 0.201 Mb/s" in run_timeline(case("lfp-samples", M4, medradio).nominal, slow).fit_text
    assert "a connection event of" in timeline("sbp-samples").fit_text
    unpriced = timeline("lfp-samples", get_link("mban-2360"))
    assert unpriced.fits and unpriced.power_uw["total"] is None and unpriced.fit_text.endswith("no power figure for the link")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 200),
    st.floats(1.1, 3.0),
    st.sampled_from(("lfp-samples", "spike-samples", "lfp-200-samples")),
    st.sampled_from(("ble-nrf52840", "uwb", "optical", "inductive", "medradio-402")),
)
def test_power_grows_with_the_samples_that_are_sent(channels, factor, name, link):
    def total(rate):
        found = price(candidate(name), None, M4, get_link(link), acquired=Acquired(channels, rate, 200.0, 0.02)).case
        second = play(found.nominal, load_components())
        return float(second.power_uw["total"]) if second.fits else np.inf

    less, more = total(200.0), total(200.0 * factor)
    assert more > less or more == less == np.inf


@pytest.mark.parametrize("link", ["ble-nrf52840", "medradio-402", "uwb", "inductive"])
def test_all_draws_lie_within_the_range_and_nominal_ones_are_the_plain_figure_to_the_digit(link):
    for each in every(M4, get_link(link)):
        names = axes(each.case, load_components())
        plain = play(each.case.nominal, load_components())
        zero = played(each.case, load_components(), dict.fromkeys(names, np.zeros(3)))
        assert set(np.broadcast_to(zero.power_uw["total"], 3)) == {float(plain.power_uw["total"])}, each.candidate.name
        low, high = range_of(each.case, load_components()).power_uw
        drawn = played(each.case, load_components(), draw(names, 300))
        fits = np.broadcast_to(drawn.fits, 300) > 0
        power = np.broadcast_to(drawn.power_uw["total"], 300)[fits]
        if low is not None:
            assert (power >= low).all(), each.candidate.name
        if high is not None:
            assert fits.all() and (power <= high).all(), each.candidate.name


def test_the_candidates_resolution_goes_before_the_scenarios():
    found = price(candidate("spike-samples"), counts("spike", True), M4, UWB, Scenario(adc_bits=16)).case
    assert found.scenario == replace(Scenario(adc_bits=10), stream=UWB.stream)
