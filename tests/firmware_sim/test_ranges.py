import math
from dataclasses import replace

import numpy as np
import pytest

from firmware_sim.components import Components, load_components
from firmware_sim.implant import run_timeline
from firmware_sim.ranges import CYCLES, RangedCase, axes, compare, draw, played, range_of
from firmware_sim.targets import get_target
from firmware_sim.workload import WorkloadRange
from tests.firmware_sim.round_figures import TARGET, WORK, round_components


def cased(work=WORK, low: float = 0.8, high: float = 1.5, target=TARGET) -> RangedCase:
    def by(factor: float):
        names = ("frontend_cycles", "last_block_cycles", "decoder_cycles", "loop_cycles")
        return replace(work, **{name: getattr(work, name) * factor for name in names})

    return RangedCase(WorkloadRange(by(low), work, by(high)), target, 50_000)


LFP = cased()
SPIKES = cased(replace(WORK, sample_rate_hz=30_000.0, bandwidth_hz=7_500.0, frontend_cycles=400_000.0))


def test_the_axes_are_the_figures_with_a_range_that_the_case_uses_and_the_cycles():
    used = {"sensing.amplifier-lfp", "sensing.adc-12", "mcu.stm32l4r5.active", "mcu.stm32l4r5.wakeup", "radio.ble.sends", CYCLES}
    assert set(axes(LFP, round_components())) == used
    assert set(axes(cased(low=1.0, high=1.0), round_components())) == used - {CYCLES}
    assert axes(cased(low=1.0, high=1.0), round_components(nominal=True)) == ()


def test_a_figure_moves_by_equal_factors():
    """100 pJ a conversion between 25 and 200: half way down a factor of 2, half way up one of sqrt(2)."""
    positions = {"sensing.adc-12": np.array([-1.0, -0.5, 0.0, 0.5, 1.0])}
    sensing = played(LFP, round_components(), positions).power_uw["sensing"]
    energies = np.array([25.0, 50.0, 100.0, 100 * math.sqrt(2), 200.0])
    np.testing.assert_allclose(sensing, 32 * (1.0 + 1000 * 1e-6 * energies))


def test_a_range_has_every_axis_at_its_better_or_worse_end():
    found = range_of(LFP, round_components())
    for end, position in enumerate((-1.0, 1.0)):
        second = played(LFP, round_components(), dict.fromkeys(axes(LFP, round_components()), position))  # more of each is worse here
        assert found.power_uw[end] == pytest.approx(float(second.power_uw["total"]))
        assert found.latency_ms[end] == pytest.approx(1e3 * float(second.latency_s["total"]))
    # By hand, the high end: 602,100 cycles of which all but the interrupts by 1.5, at 150 pJ, and wake-ups of 10 us.
    # The last block and the decoder take longer than a block, so that the next one needs no wake-up: 150 a second are left.
    awake = (602_000 * 1.5 + 4 * 25) * 50 / 120e6 + 150 * 10e-6
    high = played(LFP, round_components(), dict.fromkeys(axes(LFP, round_components()), 1.0))
    assert float(high.power_uw["mcu_active"]) == pytest.approx(awake * 120e6 * 150e-6)


def test_the_worse_end_of_a_figure_may_be_its_low_one():
    lower = cased(target=get_target("stm32u385"))
    low, high = range_of(lower, round_components()).power_uw
    positions = dict.fromkeys(axes(lower, round_components()), 1.0) | {"supply.converter": -1.0}
    assert high == pytest.approx(float(played(lower, round_components(), positions).power_uw["total"]))
    assert low < run_timeline(lower.nominal, round_components()).power_uw["total"] < high


def test_what_does_not_fit_at_its_worse_end_has_none():
    found = range_of(cased(high=5.0), round_components())
    assert found.power_uw[0] is not None and found.power_uw[1] is None and found.latency_ms[1] is None
    assert range_of(cased(target=get_target("nrf52840")), load_components()).power_uw == (None, None)


def test_draws_at_nominal_figures_are_the_plain_figure_to_the_digit():
    for case in (LFP, SPIKES):
        plain = run_timeline(case.nominal, load_components())
        names = axes(case, load_components())
        second = played(case, load_components(), dict.fromkeys(names, np.zeros(7)))
        for part, value in plain.power_uw.items():
            assert set(np.broadcast_to(second.power_uw[part], 7)) == {value}, part
        assert {1e3 * value for value in np.broadcast_to(second.latency_s["total"], 7)} == {plain.latency_ms["total"]}


def test_draws_are_seeded_by_axis_and_have_the_nominal_figure_as_median():
    first = draw(("a", "b"), 4_000, 0)
    np.testing.assert_array_equal(first["b"], draw(("b", "c"), 4_000, 0)["b"])
    assert not np.array_equal(first["a"], first["b"]) and not np.array_equal(first["a"], draw(("a",), 4_000, 1)["a"])
    assert np.abs(first["a"]).max() <= 1.0 and abs(np.median(first["a"])) < 0.03
    assert first["a"].std() == pytest.approx(1 / math.sqrt(6), rel=0.05)  # of a triangular distribution on [-1, 1]


def test_what_both_share_cancels():
    """All ranges are wide, but the spikes do all that LFP does and more: there is no draw in which they need less."""
    found = compare(LFP, SPIKES, "spikes", round_components(), draws=500)
    low, high = range_of(LFP, round_components()).power_uw
    assert high > range_of(SPIKES, round_components()).power_uw[0] > low  # their ranges overlap
    assert (found.probability, found.turns) == (1.0, ())
    assert 1.0 < found.ratio[0] < found.ratio[1] < found.ratio[2]
    assert compare(LFP, LFP, "itself", round_components(), draws=500).probability == 0.0


def test_a_comparison_is_the_same_to_the_digit_and_names_at_most_two_figures():
    spikes = cased(replace(WORK, frontend_cycles=120_000.0, bandwidth_hz=7_500.0, sample_rate_hz=2_000.0), 0.9, 1.2)
    found = compare(LFP, spikes, "spikes", round_components(), draws=1_000)
    assert found == compare(LFP, spikes, "spikes", round_components(), draws=1_000)
    assert found != compare(LFP, spikes, "spikes", round_components(), draws=1_000, seed=1)
    assert 0 < found.probability < 1
    first, second = found.turns
    assert first.share >= second.share > 0


def test_one_figure_alone_turns_it_as_often_as_by_hand():
    """A detector of 0.25 to 1 uW a channel, against as many cycles more as cost what it draws at 0.5 uW."""
    extra = replace(WORK, source="detector", ticks_per_bin=1, blocks_per_bin=1, frontend_cycles=0.0, last_block_cycles=0.0)
    components = round_components(nominal=True)
    [detector] = [figure for figure in round_components().all() if figure.name == "sensing.spike-detector"]
    only = Components({figure.name: figure for figure in (*components.all(), detector)})
    counted = cased(extra, 1.0, 1.0)
    per_cycle = 100e-6 * 50  # uW a cycle of a bin
    same = cased(replace(extra, source="samples", sample_rate_hz=1000.0), 1.0, 1.0)
    plain_counted = run_timeline(counted.nominal, only).power_uw["total"]
    plain_same = run_timeline(same.nominal, only).power_uw["total"]
    gap = plain_counted - plain_same  # at 0.5 uW a channel
    lfp = cased(replace(same.workload.nominal, decoder_cycles=400_000.0 + gap / per_cycle), 1.0, 1.0)
    found = compare(lfp, counted, "a detector", only, draws=1_000)
    # The two tie where the detector takes 0.5 uW: LFP needs less where it takes more, half of the draws, and each draw can be turned.
    assert found.probability == pytest.approx(0.5, abs=0.05)
    assert [turn.figure for turn in found.turns] == ["sensing.spike-detector"] and found.turns[0].share == 1.0


def test_a_draw_that_does_not_fit_needs_more_than_any_power():
    huge = cased(replace(WORK, frontend_cycles=3_000_000.0), 0.5, 1.0)
    found = compare(LFP, huge, "spikes", round_components(), draws=200)
    assert found.probability == 1.0 and found.ratio[2] is None
    assert compare(LFP, cased(target=get_target("nrf52840")), "spikes", load_components()) is None
