from dataclasses import replace

import pytest

from firmware_sim.components import load_components
from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.power.sensing import incoming_bps, pins_uw, raw_bps, sensing_uw
from tests.firmware_sim.round_figures import WORK, round_components

SPIKES = replace(WORK, sample_rate_hz=30_000.0, bandwidth_hz=7_500.0)
COUNTED = replace(SPIKES, source="detector", ticks_per_bin=1, blocks_per_bin=1)


def test_amplifiers_and_conversions():
    assert sensing_uw(WORK, DEFAULT, round_components()) == pytest.approx(32 * (1.0 + 1000 * 100e-6))
    assert sensing_uw(SPIKES, DEFAULT, round_components()) == pytest.approx(32 * (2.0 + 30_000 * 100e-6))
    assert sensing_uw(COUNTED, DEFAULT, round_components()) == pytest.approx(32 * (2.0 + 30_000 * 100e-6 + 0.5))


def test_a_finer_converter_takes_more():
    assert sensing_uw(WORK, Scenario(adc_bits=16), round_components()) == pytest.approx(32 * (1.0 + 1000 * 400e-6))
    shipped = [sensing_uw(SPIKES, Scenario(adc_bits=bits), load_components()) for bits in (10, 12, 16)]
    assert shipped == sorted(shipped) and shipped[2] > 10 * shipped[1]


def test_an_amplifier_by_its_bandwidth():
    """8 uA/kHz at 3.5 V are 28 uW/kHz: 5.6 at 200 Hz, 210 at 7.5 kHz."""
    rhd = Scenario(amplifier="rhd")
    assert sensing_uw(WORK, rhd, round_components()) == pytest.approx(32 * (5.6 + 0.1))
    assert sensing_uw(SPIKES, rhd, round_components()) == pytest.approx(32 * (210.0 + 3.0))
    # The shipped figures: 188 uW at 7.5 kHz, as the data sheet's coefficient gives.
    one = replace(SPIKES, electrodes=1, sample_rate_hz=0.0)
    assert sensing_uw(one, rhd, load_components()) == pytest.approx(7.6 * 7.5 * 3.3)


def test_what_nobody_knows_is_not_priced():
    unknown = replace(WORK, electrodes=None)
    components = round_components()
    assert sensing_uw(unknown, DEFAULT, components) is None and raw_bps(unknown, DEFAULT) is None
    assert components.used() == ()


def test_pins_by_capacitance_voltage_and_bits():
    """A clock line C V^2 a bit, a data line a quarter of it: 10 pF at 3 V are 112.5 pJ."""
    assert pins_uw(1e6, 3.0, round_components()) == pytest.approx(112.5)
    assert pins_uw(1e6, 1.5, round_components()) == pytest.approx(112.5 / 4)


def test_samples_cross_as_words_and_counts_once_a_bin():
    assert incoming_bps(WORK) == 32 * 1000 * 16
    assert incoming_bps(SPIKES) == 15.36e6
    assert incoming_bps(COUNTED) == pytest.approx(32 * 16 * 50)
    assert raw_bps(WORK, DEFAULT) == 32 * 1000 * 12
