"""The implant's second, by hand: one block per bin and round figures."""

from dataclasses import replace

import pytest

from firmware_sim.components import Components, load_components, parse_components
from firmware_sim.implant import Delays, Workload, buffer_bytes, raw_streaming, run_timeline
from firmware_sim.targets import get_target
from realm_edge.documents import jsonable

WORK = Workload(
    channels=32,
    electrodes=32,
    sample_rate_hz=1000.0,
    ticks_per_bin=20,
    blocks_per_bin=4,
    bin_s=0.020,
    frontend_cycles=200_000.0,
    last_block_cycles=70_000.0,
    decoder_cycles=400_000.0,
    loop_cycles=2_000.0,
    output_bits=32,
)
TARGET = get_target("cortex-m4")  # 120 MHz
ROUND = {  # name: value, unit
    "sensing.amplifier": (1.0, "uW/channel"),
    "sensing.adc": (100.0, "pJ/conversion"),
    "sensing.spike-detector": (0.5, "uW/channel"),
    "mcu.stm32l4r5.active": (100.0, "pJ/cycle"),
    "mcu.stm32l4r5.sleep": (10.0, "uW"),
    "mcu.stm32l4r5.wakeup": (5.0, "us"),
    "mcu.cortex-m4.interrupt": (25.0, "cycles"),
    "radio.transmit": (20.0, "mW"),
    "radio.rate": (1.0, "Mb/s"),
    "radio.overhead": (10.0, "bytes/packet"),
    "radio.payload": (250.0, "bytes/packet"),
    "radio.rampup": (38.0, "us"),
    "radio.idle": (4.0, "uW"),
}


def round_components() -> Components:
    text = "".join(
        f'[{name}]\nvalue = {value}\nunit = "{unit}"\ncondition = "test"\nsource = "test"\nconfidence = "unverified"\n'
        for name, (value, unit) in ROUND.items()
    )
    return Components(parse_components(text, "round"))


def test_one_second_by_hand():
    timeline = run_timeline(WORK, TARGET, round_components(), 50_000)
    assert timeline.fits
    cycles_per_bin = 200_000 + 400_000 + 2_000 + 4 * 25  # four DMA blocks of five ticks
    assert timeline.required_clock_hz == pytest.approx(cycles_per_bin * 50)
    awake = cycles_per_bin * 50 / 120e6 + 200 * 5e-6  # 200 blocks a second, each wakes the core
    assert timeline.wakeups_per_s == 200
    assert timeline.duty_cycle == pytest.approx(awake)
    power = timeline.power_uw
    assert power["sensing"] == pytest.approx(32 * 1.0 + 32 * 1000 * 100e-6)
    assert power["mcu_active"] == pytest.approx(awake * 120e6 * 100e-6)
    assert power["mcu_sleep"] == pytest.approx((1 - awake) * 10)
    on_air = 14 * 8 * 1e-6 + 38e-6  # 4 bytes of payload, 10 around them
    assert power["radio"] == pytest.approx(on_air * 50 * 20_000 + (1 - on_air * 50) * 4)
    assert power["total"] == pytest.approx(sum(v for k, v in power.items() if k != "total"))
    assert jsonable(timeline.bandwidth_bps) == {"decoded": 1600.0, "decoded_on_air": pytest.approx(14 * 8 * 50), "raw": 512_000.0}
    compute = 5e-6 + (25 + 70_000 + 400_000 + 500) / 120e6  # the last block of a bin and what follows
    assert timeline.latency_ms["bin_wait"] == 20.0
    assert timeline.latency_ms["compute"] == pytest.approx(compute * 1e3)
    assert timeline.latency_ms["radio"] == pytest.approx(on_air * 1e3)
    assert timeline.latency_ms["total"] == pytest.approx(20.0 + compute * 1e3 + on_air * 1e3)


def test_a_decoder_longer_than_a_block_delays_the_next_and_saves_wake_ups():
    slow = replace(WORK, decoder_cycles=1_000_000.0)  # 8.3 ms, a block is 5 ms
    timeline = run_timeline(slow, TARGET, round_components(), 50_000)
    assert timeline.fits
    assert timeline.wakeups_per_s < 200
    assert timeline.duty_cycle == pytest.approx((200_000 + 1_000_000 + 2_000 + 100) * 50 / 120e6, rel=0.02)


def test_a_late_answer_adds_to_the_latency_and_to_nothing_else():
    plain = run_timeline(WORK, TARGET, round_components(), 50_000)
    delays = Delays(output_delay=0.3, resampling=0.012, filters=0.0163, averaging=0.02)
    late = run_timeline(replace(WORK, delays=delays), TARGET, round_components(), 50_000)
    parts = {"output_delay": 300.0, "resampling": 12.0, "filters": 16.3, "averaging": 20.0}
    assert late.latency_ms == pytest.approx(plain.latency_ms | parts | {"total": plain.latency_ms["total"] + 348.3})
    assert late.power_uw == plain.power_uw


def test_more_cycles_cost_more_power_and_more_latency():
    small = run_timeline(WORK, TARGET, round_components(), 50_000)
    large = run_timeline(replace(WORK, decoder_cycles=800_000.0), TARGET, round_components(), 50_000)
    assert large.power_uw["mcu_active"] > small.power_uw["mcu_active"]
    assert large.power_uw["sensing"] == small.power_uw["sensing"]
    assert large.latency_ms["compute"] > small.latency_ms["compute"]


def test_a_work_that_needs_more_clock_gets_no_power_figure():
    timeline = run_timeline(replace(WORK, frontend_cycles=4_000_000.0), TARGET, round_components(), 50_000)
    assert not timeline.fits
    assert timeline.fit_text == "does not fit: needs a clock of 220.1 MHz, STM32L4R5 has 120 MHz"
    assert set(timeline.power_uw.values()) == {None}
    assert set(timeline.latency_ms.values()) == {None}
    assert timeline.duty_cycle is None


def test_a_work_that_needs_more_ram_gets_no_power_figure():
    timeline = run_timeline(WORK, TARGET, round_components(), 700_000)
    assert timeline.fit_text == "does not fit: needs 700000 bytes of RAM with the ADC's buffer, STM32L4R5 has 655360"
    assert timeline.power_uw["total"] is None


def test_a_link_that_is_too_slow_gets_no_power_figure():
    timeline = run_timeline(replace(WORK, output_bits=30_000), TARGET, round_components(), 50_000)
    assert timeline.fit_text.startswith("the link cannot carry this: ")
    assert timeline.power_uw["total"] is None
    assert timeline.bandwidth_bps.decoded == 1_500_000.0


def test_a_part_without_power_figures_gets_cycles_and_latency_and_says_so():
    timeline = run_timeline(WORK, get_target("nrf52840"), load_components(), 50_000)
    assert timeline.fits and timeline.duty_cycle > 0 and timeline.latency_ms["total"] > 20
    assert timeline.fit_text.endswith("of 64 MHz; no power figure for nRF52840")
    power = timeline.power_uw
    assert power["sensing"] > 0 and power["radio"] > 0
    assert (power["mcu_active"], power["mcu_sleep"], power["total"]) == (None, None, None)


def test_raw_streaming_of_lfp_is_carried_and_of_broadband_is_not():
    lfp = raw_streaming(WORK, round_components())
    # 1280 bytes per bin in six packets
    on_air = (1280 + 60) * 8e-6 + 6 * 38e-6
    assert lfp.bandwidth_bps == 512_000.0
    assert lfp.link_share == pytest.approx(on_air / 0.020)
    assert lfp.power_uw == pytest.approx(32 + 3.2 + on_air / 0.020 * 20_000 + (1 - on_air / 0.020) * 4)
    broadband = raw_streaming(replace(WORK, sample_rate_hz=30_000.0), round_components())
    assert broadband.power_uw is None
    assert broadband.text.startswith("the link cannot carry this: 15.36 Mb/s")


def test_a_spike_detector_of_its_own_is_priced_and_its_counts_come_once_a_bin():
    work = replace(
        WORK, sample_rate_hz=30_000.0, ticks_per_bin=1, blocks_per_bin=1, frontend_cycles=0.0, last_block_cycles=0.0, source="detector"
    )
    timeline = run_timeline(work, TARGET, round_components(), 50_000)
    assert timeline.wakeups_per_s == 50
    assert timeline.power_uw["sensing"] == pytest.approx(32 + 32 * 30_000 * 100e-6 + 32 * 0.5)
    assert timeline.required_clock_hz == pytest.approx((400_000 + 2_000 + 25) * 50)


def test_where_features_come_in_sensing_and_samples_are_unknown_and_not_zero():
    work = replace(WORK, electrodes=None, ticks_per_bin=1, blocks_per_bin=1, frontend_cycles=0.0, last_block_cycles=0.0, source="features")
    components = round_components()
    timeline = run_timeline(work, TARGET, components, 50_000)
    power = timeline.power_uw
    assert power["sensing"] is None and timeline.bandwidth_bps.raw is None
    assert power["total"] == pytest.approx(power["mcu_active"] + power["mcu_sleep"] + power["radio"]) and power["total"] > 0
    assert not any(figure.name.startswith("sensing") for figure in components.used())
    raw = raw_streaming(work, components)
    assert raw.power_uw is None and raw.text.startswith("unknown: the recording holds features")


def test_the_adc_buffer_holds_a_bin_and_the_block_in_flight():
    assert buffer_bytes(WORK) == 25 * 32 * 2
    assert buffer_bytes(replace(WORK, ticks_per_bin=5, blocks_per_bin=1)) == 10 * 32 * 2


@pytest.mark.parametrize("name", ["cortex-m4", "rv32imc"])
def test_the_shipped_library_prices_every_target_and_lists_its_doubts(name):
    components = load_components()
    timeline = run_timeline(WORK, get_target(name), components, 50_000)
    assert timeline.fits
    assert timeline.power_uw["total"] > 0
    doubts = components.unverified()
    assert any(line.startswith("sensing.adc") for line in doubts)
    assert any(line.startswith("mcu.ibex-soc.active") for line in doubts) == (name == "rv32imc")


def test_sorted_units_cost_the_electrodes_that_they_come_from():
    """300 units of 96 electrodes; of an unknown number of electrodes nothing is made up."""
    units = replace(
        WORK,
        channels=300,
        electrodes=96,
        sample_rate_hz=30_000.0,
        ticks_per_bin=1,
        blocks_per_bin=1,
        frontend_cycles=0.0,
        last_block_cycles=0.0,
        source="detector",
    )
    timeline = run_timeline(units, TARGET, round_components(), 50_000)
    assert timeline.power_uw["sensing"] == pytest.approx(96 * (1.0 + 30_000 * 100e-6 + 0.5))
    assert timeline.bandwidth_bps.raw == 96 * 30_000 * 16
    assert buffer_bytes(units) == 2 * 300 * 2  # counts come in, one per unit
    unknown = replace(units, electrodes=None)
    alone = run_timeline(unknown, TARGET, round_components(), 50_000)
    assert alone.power_uw["sensing"] is None and alone.bandwidth_bps.raw is None
    assert alone.power_uw["total"] == pytest.approx(timeline.power_uw["total"] - timeline.power_uw["sensing"])
    assert raw_streaming(unknown, round_components()).text.startswith("unknown: the recording holds sorted units")
