from dataclasses import replace

import pytest

from firmware_sim.components import load_components
from firmware_sim.power.radio import event
from firmware_sim.power.scenario import DEFAULT
from firmware_sim.targets import get_target
from firmware_sim.verdict.link import default_link, get_link, links
from realm_edge.errors import UserError
from tests.firmware_sim.round_figures import WORK

WITHOUT_ENERGY = {"medradio-413", "mban-2360", "mban-2390", "backscatter"}


def test_every_link_has_a_bound_and_those_without_energy_are_listed():
    for name, link in links().items():
        text = link.text(load_components())
        assert link.name == name and link.title and min(link.bounds_bps(load_components()).values()) > 0
        assert ("no energy figure with a source" in text) == (name in WITHOUT_ENERGY) == (not link.priced)
        assert (link.radio is None) != (link.stream is None)


def test_an_unknown_link_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"unknown link 'laser': use one of ble-nrf52840, ble-nrf54l15, ble-cc2340, medradio-402"):
        get_link("laser")


def test_the_default_is_the_parts_own_radio_or_one_beside_it():
    assert default_link(get_target("cortex-m4")).name == "ble-nrf52840"
    assert default_link(get_target("nrf54l15")).name == "ble-nrf54l15"
    assert default_link(get_target("cc2340r5")).name == "ble-cc2340"


def test_medradio_by_hand():
    """800 kb/s on air, 64 % of them payload; 300 kHz by regulation, of 2.67 b/s in each."""
    link = get_link("medradio-402")
    assert link.bounds_bps(load_components()) == pytest.approx({"capacity": 0.64 * 800e3, "regulation": 0.64 * 2.67 * 300e3})
    assert link.binding(load_components()) == ("capacity", pytest.approx(512e3))
    slow = load_components().moved({"link.medradio-402.efficiency": 0.67})
    assert link.binding(slow) == ("regulation", pytest.approx(0.64 * 0.67 * 300e3))
    assert "0.3 MHz, 0.025 mW" in link.text(load_components())


def test_the_link_budget_of_light_by_hand():
    """1 mW of light, a thousandth of which arrives, 0.01 pJ a bit; 90 % payload."""
    assert get_link("optical").bounds_bps(load_components())["link budget"] == pytest.approx(0.9 * 1e-6 / 1e-14)


@pytest.mark.parametrize(("name", "low", "high"), [("ble-nrf52840", 700e3, 800e3), ("ble-nrf54l15", 1.25e6, 1.4e6)])
def test_what_bluetooth_carries_is_what_its_events_have_room_for(name, low, high):
    """On 2M 1,327 kb/s are quoted for long intervals. Over a second, ramp-up and widening weigh little."""
    link = get_link(name)
    most = link.bounds_bps(load_components())["capacity"]
    assert low < most < high
    second = replace(WORK, bin_s=1.0)
    shares = [event(most * times, second, link.radio, DEFAULT, load_components()).share for times in (0.99, 1.01)]
    assert shares[0] < 1.0 < shares[1]
    assert link.binding(load_components())[0] == "capacity"
