"""A Bluetooth LE connection event, as the implant's radio goes through it; the implant is the peripheral.

The crystal starts. The radio listens for the central's packet, which is empty, and a turnaround later sends its own; that repeats for each
further packet, and for those that were lost. The last answer of the central comes with the next event.
"""

import math

import numpy as np

from firmware_sim.components import Components, Quantity
from firmware_sim.power.scenario import Radio, Scenario
from firmware_sim.power.stream import Event
from firmware_sim.targets import Target
from firmware_sim.workload import Workload

_PHY: dict[Radio, str] = {"nrf52840": "radio.ble-1m", "nrf54l15": "radio.ble-2m", "cc2340": "radio.ble-1m"}

_STEP_S = 1.25e-3  # of connection intervals


def radio_of(target: Target, scenario: Scenario) -> Radio:
    """The radio that is chosen, the part's own, or an nRF52840 beside it."""
    return scenario.radio or target.components.radio or "nrf52840"


def event(bits_per_bin: Quantity, workload: Workload, radio: Radio, scenario: Scenario, components: Components) -> Event:
    """The event that carries ``bits_per_bin`` of payload of each bin; of several bins, where the interval is longer than one."""
    phy, value = _PHY[radio], components.value
    interval_s = components.fixed("radio.ble.interval", "s")
    bins = max(1, math.ceil(interval_s / workload.bin_s - 1e-9))
    period_s = bins * workload.bin_s
    payload = np.ceil(bins * bits_per_bin / 8 - 1e-9)
    packets = np.maximum(1.0, np.ceil(payload / components.fixed("radio.ble.payload", "bytes/packet")))
    exchanges = packets * value("radio.ble.sends", "")
    on_air_bits = exchanges * 8 * (payload / packets + value(f"{phy}.overhead", "bytes/packet"))
    bit_s = 1.0 / value(f"{phy}.rate", "b/s")
    rampup_s = value("radio.rampup", "s")
    listening_s = exchanges * (rampup_s + 8 * value(f"{phy}.poll", "bytes/packet") * bit_s) + value("radio.ble.widening", "s")
    sending_s = exchanges * rampup_s + on_air_bits * bit_s
    # A turnaround before each packet but the first; the ramp-up for it, which is counted already, lies within.
    turning_s = (2 * exchanges - 1) * (value("radio.ble.turnaround", "s") - rampup_s)
    starting_s = value("radio.crystal-start", "s")
    seconds = listening_s + sending_s + turning_s
    energy_uj = (
        value(f"radio.{radio}.receive", "uW") * listening_s
        + value(f"radio.{radio}.transmit", "uW") * sending_s
        + value("radio.crystal", "uW") * (starting_s + turning_s)
        + value(f"radio.{radio}.processor", "uW") * seconds
    )
    idle_s = period_s - starting_s - seconds
    power_uw = (energy_uj + value(f"radio.{radio}.idle", "uW") * idle_s) / period_s
    # A bin that ends when an event begins waits for none; of several bins in an event, the first waits for the last.
    steps = period_s / _STEP_S
    in_step = scenario.synchronous and abs(steps - round(steps)) < 1e-6
    wait_s = (bins - 1) * workload.bin_s + (0.0 if in_step else interval_s)
    return Event(period_s, packets, on_air_bits, seconds, wait_s, power_uw)


def throughput_bps(radio: Radio, components: Components) -> float:
    """Payload that full packets carry where one follows the other, with those that are sent again."""
    phy = _PHY[radio]
    payload = components.fixed("radio.ble.payload", "bytes/packet")
    packet = 8 * (payload + components.value(f"{phy}.overhead", "bytes/packet") + components.value(f"{phy}.poll", "bytes/packet"))
    exchange_s = packet / components.value(f"{phy}.rate", "b/s") + 2 * components.value("radio.ble.turnaround", "s")
    return float(8 * payload / (components.value("radio.ble.sends", "") * exchange_s))
