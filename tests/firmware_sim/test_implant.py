"""The implant's second, by hand: its terms are tested in tests/firmware_sim/power, here is their sum."""

from dataclasses import replace

import pytest

from firmware_sim.components import load_components
from firmware_sim.implant import PARTS, Case, raw_streaming, run_timeline
from firmware_sim.power.radio import event
from firmware_sim.power.scenario import DEFAULT, Scenario
from firmware_sim.targets import get_target
from firmware_sim.workload import Delays, buffer_bytes
from realm_edge.documents import jsonable
from tests.firmware_sim.round_figures import TARGET, WORK, round_components


def timeline(work=WORK, target=TARGET, ram_bytes=50_000, components=None, scenario=DEFAULT):
    return run_timeline(Case(work, target, ram_bytes, scenario), components or round_components())


RADIO = event(32, WORK, "nrf52840", DEFAULT, round_components())
COUNTED = {"ticks_per_bin": 1, "blocks_per_bin": 1, "frontend_cycles": 0.0, "last_block_cycles": 0.0}


def test_one_second_by_hand():
    found = timeline()
    assert found.fits
    cycles_per_bin = 200_000 + 400_000 + 2_000 + 4 * 25  # four DMA blocks of five ticks
    assert found.required_clock_hz == pytest.approx(cycles_per_bin * 50)
    awake = cycles_per_bin * 50 / 120e6 + 200 * 5e-6  # 200 blocks a second, each wakes the core
    assert found.wakeups_per_s == 200
    assert found.duty_cycle == pytest.approx(awake)
    assert found.power_uw == pytest.approx(
        {
            "sensing": 32 * (1.0 + 1000 * 100e-6),
            "pins": 32 * 1000 * 16 * 1.25 * 10e-12 * 9 * 1e6,
            "mcu_active": awake * 120e6 * 100e-6,
            "mcu_sleep": (1 - awake) * 10,
            "supply": 0.0,
            "radio": RADIO.power_uw,
            "total": found.power_uw["total"],
        }
    )
    assert found.power_uw["total"] == pytest.approx(sum(found.power_uw[part] for part in PARTS))
    assert jsonable(found.bandwidth_bps) == {"decoded": 1600.0, "decoded_on_air": pytest.approx(25 * 8 * 50), "raw": 384_000.0}
    compute = 5e-6 + (25 + 70_000 + 400_000 + 500) / 120e6  # the last block of a bin and what follows
    assert found.latency_ms["bin_wait"] == 20.0
    assert found.latency_ms["compute"] == pytest.approx(compute * 1e3)
    assert found.latency_ms["radio"] == pytest.approx(RADIO.seconds * 1e3) and found.latency_ms["radio_wait"] == 0.0
    assert found.latency_ms["total"] == pytest.approx(20.0 + compute * 1e3 + RADIO.seconds * 1e3)


def test_a_part_of_a_lower_rail_loses_in_the_converter():
    found = timeline(target=get_target("stm32u385"))
    power = found.power_uw
    assert power["mcu_active"] == pytest.approx(found.duty_cycle * 96e6 * 40e-6)
    assert power["supply"] == pytest.approx((power["mcu_active"] + power["mcu_sleep"]) * (1 / 0.8 - 1))
    assert power["pins"] == pytest.approx(32 * 1000 * 16 * 1.25 * 10e-12 * 2.25 * 1e6)


def test_choices_reach_the_terms():
    plain = timeline()
    for scenario, moved in (
        (Scenario(amplifier="rhd"), {"sensing"}),
        (Scenario(adc_bits=16), {"sensing"}),
        (Scenario(fifo=False), {"mcu_sleep"}),
        (Scenario(supply="ldo"), {"mcu_active"}),
    ):
        found = timeline(scenario=scenario)
        assert {part for part in PARTS if found.power_uw[part] != plain.power_uw[part]} == moved
    waits = timeline(scenario=Scenario(synchronous=False))
    assert waits.power_uw == plain.power_uw and waits.latency_ms["radio_wait"] == pytest.approx(7.5)
    assert timeline(components=load_components(), scenario=Scenario(radio="nrf54l15")).power_uw["radio"] != pytest.approx(
        timeline(components=load_components()).power_uw["radio"]
    )


def test_a_late_answer_adds_to_the_latency_and_to_nothing_else():
    plain = timeline()
    delays = Delays(output_delay=0.3, resampling=0.012, filters=0.0163, averaging=0.02)
    late = timeline(replace(WORK, delays=delays))
    parts = {"output_delay": 300.0, "resampling": 12.0, "filters": 16.3, "averaging": 20.0}
    assert late.latency_ms == pytest.approx(plain.latency_ms | parts | {"total": plain.latency_ms["total"] + 348.3})
    assert late.power_uw == plain.power_uw


def test_more_cycles_cost_more_power_and_more_latency():
    small, large = timeline(), timeline(replace(WORK, decoder_cycles=800_000.0))
    assert large.power_uw["mcu_active"] > small.power_uw["mcu_active"]
    assert large.power_uw["sensing"] == small.power_uw["sensing"]
    assert large.latency_ms["compute"] > small.latency_ms["compute"]


def test_a_work_that_needs_more_clock_gets_no_power_figure():
    found = timeline(replace(WORK, frontend_cycles=4_000_000.0))
    assert not found.fits
    assert found.fit_text == "does not fit: needs a clock of 220.1 MHz, STM32L4R5 has 120 MHz"
    assert set(found.power_uw.values()) == {None}
    assert set(found.latency_ms.values()) == {None}
    assert found.duty_cycle is None


def test_a_work_that_needs_more_ram_gets_no_power_figure():
    found = timeline(ram_bytes=700_000)
    assert found.fit_text == "does not fit: needs 700000 bytes of RAM with the ADC's buffer, STM32L4R5 has 655360"
    assert found.power_uw["total"] is None


def test_a_link_that_is_too_slow_gets_no_power_figure():
    found = timeline(replace(WORK, output_bits=30_000))
    assert found.fit_text.startswith("the link cannot carry this: a connection event of ")
    assert found.power_uw["total"] is None
    assert found.bandwidth_bps.decoded == 1_500_000.0


def test_a_part_without_power_figures_gets_cycles_and_latency_and_says_so():
    found = timeline(target=get_target("nrf52840"), components=load_components())
    assert found.fits and found.duty_cycle > 0 and found.latency_ms["total"] > 20
    assert found.fit_text.endswith("of 64 MHz; no power figure for nRF52840")
    power = found.power_uw
    assert power["sensing"] > 0 and power["radio"] > 0
    assert {part for part, value in power.items() if value is None} == {"mcu_active", "mcu_sleep", "supply", "total"}


def test_raw_streaming_of_lfp_is_carried_and_of_broadband_is_not():
    lfp = raw_streaming(Case(WORK, TARGET, 0), round_components())
    assert lfp.bandwidth_bps == 384_000.0
    sent = event(384_000 * 0.02, WORK, "nrf52840", DEFAULT, round_components())  # 960 bytes a bin in four packets
    assert sent.packets == 4 and lfp.link_share == pytest.approx(sent.seconds / 0.020)
    assert lfp.power_uw == pytest.approx(32 * 1.1 + 384_000 * 112.5e-6 + sent.power_uw)
    broadband = raw_streaming(Case(replace(WORK, sample_rate_hz=30_000.0), TARGET, 0), round_components())
    assert broadband.power_uw is None
    assert broadband.text.startswith("the link cannot carry this: 11.52 Mb/s")


def test_a_spike_detector_of_its_own_is_priced_and_its_counts_come_once_a_bin():
    found = timeline(replace(WORK, sample_rate_hz=30_000.0, bandwidth_hz=7_500.0, source="detector", **COUNTED))
    assert found.wakeups_per_s == 50
    assert found.power_uw["sensing"] == pytest.approx(32 * (2.0 + 30_000 * 100e-6 + 0.5))
    assert found.required_clock_hz == pytest.approx((400_000 + 2_000 + 25) * 50)


def test_where_features_come_in_sensing_and_samples_are_unknown_and_not_zero():
    work = replace(WORK, electrodes=None, source="features", **COUNTED)
    components = round_components()
    found = timeline(work, components=components)
    power = found.power_uw
    assert power["sensing"] is None and power["pins"] is None and found.bandwidth_bps.raw is None
    assert power["total"] == pytest.approx(power["mcu_active"] + power["mcu_sleep"] + power["radio"]) and power["total"] > 0
    assert not any(figure.name.startswith("sensing") for figure in components.used())
    raw = raw_streaming(Case(work, TARGET, 0), components)
    assert raw.power_uw is None and raw.text.startswith("unknown: the recording holds features")


@pytest.mark.parametrize("name", ["cortex-m4", "rv32imc", "stm32u385"])
def test_the_shipped_library_prices_every_target_and_lists_its_doubts(name):
    components = load_components()
    found = timeline(target=get_target(name), components=components)
    assert found.fits
    assert found.power_uw["total"] > 0
    doubts = components.unverified()
    assert any(line.startswith("radio.ble.sends: 1.05 (1 to 1.5)") for line in doubts)
    assert any(line.startswith("mcu.ibex-soc.active") for line in doubts) == (name == "rv32imc")


def test_sorted_units_cost_the_electrodes_that_they_come_from():
    """300 units of 96 electrodes; of an unknown number of electrodes nothing is made up."""
    units = replace(WORK, channels=300, electrodes=96, sample_rate_hz=30_000.0, bandwidth_hz=7_500.0, source="detector", **COUNTED)
    found = timeline(units)
    assert found.power_uw["sensing"] == pytest.approx(96 * (2.0 + 30_000 * 100e-6 + 0.5))
    assert found.bandwidth_bps.raw == 96 * 30_000 * 12
    assert buffer_bytes(units) == 2 * 300 * 2  # counts come in, one per unit
    unknown = replace(units, electrodes=None)
    alone = timeline(unknown)
    assert alone.power_uw["sensing"] is None and alone.bandwidth_bps.raw is None
    left_out = found.power_uw["sensing"] + found.power_uw["pins"]
    assert alone.power_uw["total"] == pytest.approx(found.power_uw["total"] - left_out)
    assert raw_streaming(Case(unknown, TARGET, 0), round_components()).text.startswith("unknown: the recording holds sorted units")
