from dataclasses import replace

import numpy as np
import pytest

from firmware_sim.power.core import active_uw, activity, sleep_uw
from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.targets import get_target
from realm_edge.errors import UserError
from tests.firmware_sim.round_figures import TARGET, WORK, round_components

BIN = 200_000 + 400_000 + 2_000 + 4 * 25  # cycles; four DMA blocks of five ticks


def test_a_second_by_hand():
    found = activity(WORK, TARGET, round_components())
    assert found.required_hz == pytest.approx(BIN * 50)
    assert found.wakeups_per_s == 200  # each block wakes the core
    assert found.duty == pytest.approx(BIN * 50 / 120e6 + 200 * 5e-6)
    assert found.compute_s == pytest.approx(5e-6 + (25 + 70_000 + 400_000 + 500) / 120e6)  # the last block of a bin and what follows


def test_a_decoder_longer_than_a_block_delays_the_next_and_saves_wake_ups():
    """8.3 ms of decoder and 0.6 of its block, where a block comes every 5 ms: the first of the next bin finds the core awake."""
    found = activity(replace(WORK, decoder_cycles=1_000_000.0), TARGET, round_components())
    assert found.wakeups_per_s == 150
    assert found.duty == pytest.approx((BIN + 600_000) * 50 / 120e6 + 150 * 5e-6)


def test_draws_are_played_like_numbers():
    cycles = np.array([1e5, 4e5, 1e6, 1.4e6])
    many = activity(replace(WORK, decoder_cycles=cycles), TARGET, round_components())
    for k, one in enumerate(cycles):
        alone = activity(replace(WORK, decoder_cycles=float(one)), TARGET, round_components())
        for name in ("required_hz", "duty", "wakeups_per_s", "compute_s"):
            assert np.broadcast_to(getattr(many, name), 4)[k] == getattr(alone, name), name


def test_power_of_waking_and_sleeping():
    components = round_components()
    assert active_uw(0.25, TARGET, DEFAULT, components) == pytest.approx(0.25 * 120e6 * 100e-6)
    assert sleep_uw(0.25, TARGET, DEFAULT, components) == pytest.approx(0.75 * 10)
    # Nobody holds the samples: clocks and DMA stay on.
    assert sleep_uw(0.25, TARGET, Scenario(fifo=False), components) == pytest.approx(0.75 * 8000)


def test_a_linear_regulator_has_a_figure_of_its_own_or_none():
    components = round_components()
    assert active_uw(0.25, TARGET, Scenario(supply="ldo"), components) == pytest.approx(0.25 * 120e6 * 250e-6)
    lower_rail = get_target("stm32u385")  # behind a regulator of the implant: see the supply
    assert active_uw(0.25, lower_rail, Scenario(supply="ldo"), components) == pytest.approx(0.25 * 96e6 * 40e-6)
    with pytest.raises(UserError, match="generic Ibex SoC: no figure with its linear regulator"):
        active_uw(0.25, get_target("rv32imc"), Scenario(supply="ldo"), components)


def test_a_part_without_figures_has_no_power():
    assert active_uw(0.25, get_target("nrf52840"), DEFAULT, round_components()) is None
    assert sleep_uw(0.25, get_target("nrf52840"), DEFAULT, round_components()) is None
