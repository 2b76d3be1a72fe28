"""A stream by hand, with round figures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.components import Components, parse_components
from firmware_sim.power.stream import Stream, bounds_bps, streamed

ROUND = {
    "payload": (0.5, ""),
    "rate": (2.0, "Mb/s"),
    "bandwidth": (0.5, "MHz"),
    "efficiency": (2.0, "b/s/Hz"),
    "radiated": (1.0, "mW"),
    "path": (0.001, ""),
    "sensitivity": (2.0, "pJ/b"),
    "energy": (100.0, "pJ/b"),
    "transmit": (10.0, "mW"),
    "idle": (8.0, "uW"),
}
COMPONENTS = Components(
    parse_components(
        "".join(
            f'[link.{name}]\nlow = {value}\nvalue = {value}\nhigh = {value}\nunit = "{unit}"\ncondition = "a choice"\nsource = "test"\n'
            'confidence = "unverified"\n'
            for name, (value, unit) in ROUND.items()
        ),
        "round",
    )
)
PAYLOAD = "link.payload"
ENERGY = Stream(payload=PAYLOAD, rate="link.rate", energy="link.energy", idle="link.idle")
TRANSMIT = Stream(payload=PAYLOAD, rate="link.rate", transmit="link.transmit", idle="link.idle")
REGULATED = replace(ENERGY, bandwidth="link.bandwidth", efficiency="link.efficiency")


def test_energy_of_each_bit_and_idle_for_the_rest():
    """10,000 bits a bin of 20 ms are 20,000 on air: 10 ms at 2 Mb/s."""
    found = streamed(10_000, 0.02, ENERGY, COMPONENTS)
    assert (found.period_s, found.on_air_bits, found.wait_s) == (0.02, 20_000, 0.0)
    assert found.seconds == pytest.approx(0.010) and found.share == pytest.approx(0.5)
    assert found.power_uw == pytest.approx(1e6 * 100e-6 + 0.5 * 8.0)  # 1 Mb/s at 100 pJ


def test_power_while_it_sends_and_idle_for_the_rest():
    assert streamed(10_000, 0.02, TRANSMIT, COMPONENTS).power_uw == pytest.approx(0.5 * 10_000 + 0.5 * 8.0)


def test_without_a_figure_of_energy_there_is_no_power_but_a_share():
    found = streamed(10_000, 0.02, Stream(payload=PAYLOAD, rate="link.rate"), COMPONENTS)
    assert found.power_uw is None and found.share == pytest.approx(0.5)


def test_the_lowest_bound_is_the_one_that_holds():
    assert bounds_bps(REGULATED, COMPONENTS) == pytest.approx({"capacity": 2e6, "regulation": 1e6})
    assert streamed(10_000, 0.02, REGULATED, COMPONENTS).share == pytest.approx(1.0)  # 1 Mb/s on air, all that 500 kHz carry
    budget = replace(REGULATED, radiated="link.radiated", path="link.path", sensitivity="link.sensitivity")
    assert bounds_bps(budget, COMPONENTS)["link budget"] == pytest.approx(1e-6 / 2e-12)  # 1 uW arrives, 2 pJ a bit
    assert streamed(10_000, 0.02, budget, COMPONENTS).share == pytest.approx(2.0)


@given(st.sampled_from((ENERGY, TRANSMIT, REGULATED)), st.floats(1.0, 1e5), st.floats(1.01, 10.0))
def test_power_and_time_grow_with_the_payload_and_the_bound_is_sharp(stream, bits, factor):
    less, more = (streamed(payload, 0.02, stream, COMPONENTS) for payload in (bits, bits * factor))
    assert more.seconds > less.seconds and more.power_uw > less.power_uw
    assert (less.share <= 1.0) == (bits / 0.5 <= 0.02 * min(bounds_bps(stream, COMPONENTS).values()))


def test_a_draw_each():
    energies = np.array([50.0, 100.0])
    found = streamed(10_000, 0.02, ENERGY, COMPONENTS.moved({"link.energy": energies}))
    np.testing.assert_allclose(found.power_uw, [50 + 4, 100 + 4])
