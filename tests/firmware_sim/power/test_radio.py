"""A connection event by hand, with round figures."""

from dataclasses import replace

import numpy as np
import pytest

from firmware_sim.components import load_components
from firmware_sim.power.radio import event, radio_of
from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.targets import get_target
from tests.firmware_sim.round_figures import TARGET, WORK, round_components

# Times of one exchange, us: ramp-up and an empty packet; the rest of a turnaround; ramp-up and 4 bytes in 21.
LISTENING, TURNING, SENDING = 40 + 80 + 30, 150 - 40, 40 + 200


def test_one_packet_by_hand():
    found = event(32, WORK, "nrf52840", DEFAULT, round_components())
    seconds = (LISTENING + TURNING + SENDING) * 1e-6
    energy = 10e3 * LISTENING + 20e3 * SENDING + 1e3 * (400 + TURNING)  # uW us
    energy += 5e3 * (LISTENING + TURNING + SENDING)
    idle = 4.0 * (20_000 - 400 - LISTENING - TURNING - SENDING)
    assert (found.period_s, found.packets, found.wait_s) == (0.02, 1, 0.0)
    assert found.seconds == pytest.approx(seconds) and found.share == pytest.approx(seconds / 0.02)
    assert found.on_air_bits == 25 * 8
    assert found.power_uw == pytest.approx((energy + idle) / 20_000)


def test_packets_that_are_sent_again_are_exchanges_of_their_own():
    """Each packet twice: two of everything, and a turnaround between them."""
    moved = round_components().moved({"radio.ble.sends": 2.0})
    found = event(32, WORK, "nrf52840", DEFAULT, moved)
    assert found.seconds == pytest.approx((2 * (40 + 80) + 30 + 3 * 110 + 2 * SENDING) * 1e-6)
    assert found.on_air_bits == 2 * 25 * 8


def test_a_large_payload_takes_several_packets_in_one_event():
    found = event(8 * 500, WORK, "nrf52840", DEFAULT, round_components())
    assert found.packets == 3
    assert found.seconds == pytest.approx((3 * 120 + 30 + 5 * 110 + 3 * 40 + 8 * (500 + 3 * 21)) * 1e-6)


def test_short_bins_share_an_event_and_its_first_waits():
    """Three bins of 2.5 ms in 7.5 ms: the first waits for two more."""
    short = replace(WORK, bin_s=0.0025)
    found = event(32, short, "nrf52840", DEFAULT, round_components())
    assert found.period_s == pytest.approx(0.0075) and found.on_air_bits == (12 + 21) * 8
    assert found.wait_s == pytest.approx(0.005)


def test_a_bin_that_does_not_end_with_an_event_waits_for_the_next():
    components = round_components()
    assert event(32, WORK, "nrf52840", Scenario(synchronous=False), components).wait_s == pytest.approx(0.0075)
    uneven = replace(WORK, bin_s=0.033)  # no multiple of 1.25 ms: the two cannot run in step
    assert event(32, uneven, "nrf52840", DEFAULT, components).wait_s == pytest.approx(0.0075)


def test_the_radio_is_the_chosen_one_the_parts_or_one_beside_it():
    assert radio_of(TARGET, DEFAULT) == "nrf52840"
    assert radio_of(TARGET, Scenario(radio="cc2340")) == "cc2340"
    own = replace(TARGET, components=replace(TARGET.components, radio="nrf54l15"))
    assert radio_of(own, DEFAULT) == "nrf54l15"


def test_shipped_events_are_of_the_order_of_those_that_were_worked_out_by_hand():
    """Radio alone, without crystal, processor and packets that are sent again: 380 uW on 1M and 207 uW on 2M, every 20 ms."""
    quiet = {"radio.ble.sends": 1.0, "radio.crystal": 1e-9}
    for radio, expected in (("nrf52840", 380.0), ("nrf54l15", 207.0)):
        components = load_components().moved(quiet | {f"radio.{radio}.processor": 1e-9})
        assert event(32, WORK, radio, DEFAULT, components).power_uw == pytest.approx(expected, rel=0.2)


def test_a_draw_each():
    sends = np.array([1.0, 1.5, 2.0])
    found = event(32, WORK, "nrf52840", DEFAULT, round_components().moved({"radio.ble.sends": sends}))
    for k, one in enumerate(sends):
        alone = event(32, WORK, "nrf52840", DEFAULT, round_components().moved({"radio.ble.sends": float(one)}))
        assert (found.seconds[k], found.power_uw[k]) == (alone.seconds, alone.power_uw)


def test_the_cc2340_is_a_radio_too():
    assert event(32, WORK, "cc2340", DEFAULT, load_components()).power_uw > 0
    assert get_target("cortex-m4").components.radio is None
