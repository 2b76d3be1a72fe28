import numpy as np
import pytest

from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.power.supply import losses_uw, rail_v
from firmware_sim.targets import get_target
from tests.firmware_sim.round_figures import TARGET, round_components

LOWER = get_target("stm32u385")  # 1.5 V here


def test_a_part_at_the_batterys_rail_loses_nothing():
    assert rail_v(TARGET, round_components()) == 3.0
    for supply in ("converter", "ldo"):
        assert losses_uw(100.0, TARGET, Scenario(supply=supply), round_components()) == 0.0


def test_a_converter_hands_on_power_and_a_regulator_current():
    components = round_components()
    assert rail_v(LOWER, components) == 1.5
    assert losses_uw(100.0, LOWER, DEFAULT, components) == pytest.approx(100 / 0.8 - 100)
    assert losses_uw(100.0, LOWER, Scenario(supply="ldo"), components) == pytest.approx(100 * 3.0 / 1.5 - 100)


def test_a_draw_each():
    moved = round_components().moved({"supply.converter": np.array([0.5, 0.9])})
    np.testing.assert_allclose(losses_uw(100.0, LOWER, DEFAULT, moved), [100.0, 100 / 0.9 - 100])
