"""Round figures, a workload and a target for calculations by hand."""

from firmware_sim.components import Components, parse_components
from firmware_sim.targets import get_target
from firmware_sim.workload import Workload

WORK = Workload(
    channels=32,
    electrodes=32,
    sample_rate_hz=1000.0,
    bandwidth_hz=200.0,
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
ROUND = {  # name: low, value, high, unit
    "supply.battery": (3.0, 3.0, 3.0, "V"),
    "supply.converter": (0.5, 0.8, 0.9, ""),
    "sensing.amplifier-lfp": (0.5, 1.0, 2.0, "uW/channel"),
    "sensing.amplifier-broadband": (2.0, 2.0, 8.0, "uW/channel"),
    "sensing.rhd-amplifier": (8.0, 8.0, 8.0, "uA/kHz"),
    "sensing.rhd-rail": (3.5, 3.5, 3.5, "V"),
    "sensing.adc-12": (25.0, 100.0, 200.0, "pJ/conversion"),
    "sensing.adc-16": (400.0, 400.0, 400.0, "pJ/conversion"),
    "sensing.spike-detector": (0.25, 0.5, 1.0, "uW/channel"),
    "sensing.pin": (10.0, 10.0, 10.0, "pF"),
    "mcu.stm32l4r5.active": (50.0, 100.0, 150.0, "pJ/cycle"),
    "mcu.stm32l4r5.active-ldo": (250.0, 250.0, 250.0, "pJ/cycle"),
    "mcu.stm32l4r5.sleep": (10.0, 10.0, 10.0, "uW"),
    "mcu.stm32l4r5.sleep-dma": (8.0, 8.0, 8.0, "mW"),
    "mcu.stm32l4r5.wakeup": (5.0, 5.0, 10.0, "us"),
    "mcu.cortex-m4.interrupt": (25.0, 25.0, 25.0, "cycles"),
    "mcu.stm32u385.rail": (1.5, 1.5, 1.5, "V"),
    "mcu.stm32u385.active": (40.0, 40.0, 40.0, "pJ/cycle"),
    "mcu.stm32u385.sleep": (10.0, 10.0, 10.0, "uW"),
    "mcu.stop.wakeup": (5.0, 5.0, 5.0, "us"),
    "mcu.cortex-m33.interrupt": (25.0, 25.0, 25.0, "cycles"),
    "radio.ble-1m.rate": (1.0, 1.0, 1.0, "Mb/s"),
    "radio.ble-1m.overhead": (21.0, 21.0, 21.0, "bytes/packet"),
    "radio.ble-1m.poll": (10.0, 10.0, 10.0, "bytes/packet"),
    "radio.ble.payload": (244.0, 244.0, 244.0, "bytes/packet"),
    "radio.ble.turnaround": (150.0, 150.0, 150.0, "us"),
    "radio.ble.interval": (7500.0, 7500.0, 7500.0, "us"),
    "radio.ble.widening": (30.0, 30.0, 30.0, "us"),
    "radio.ble.sends": (1.0, 1.0, 2.0, ""),
    "radio.rampup": (40.0, 40.0, 40.0, "us"),
    "radio.crystal-start": (400.0, 400.0, 400.0, "us"),
    "radio.crystal": (1.0, 1.0, 1.0, "mW"),
    "radio.nrf52840.transmit": (20.0, 20.0, 20.0, "mW"),
    "radio.nrf52840.receive": (10.0, 10.0, 10.0, "mW"),
    "radio.nrf52840.processor": (5.0, 5.0, 5.0, "mW"),
    "radio.nrf52840.idle": (4.0, 4.0, 4.0, "uW"),
}


def round_components(nominal: bool = False) -> Components:
    """The figures; ``nominal``: without ranges."""
    rows = {name: (value, value, value, unit) if nominal else row for name, row in ROUND.items() for _, value, _, unit in [row]}
    text = "".join(
        f'[{name}]\nlow = {low}\nvalue = {value}\nhigh = {high}\nunit = "{unit}"\ncondition = "test"\nsource = "test"\n'
        'confidence = "unverified"\n'
        for name, (low, value, high, unit) in rows.items()
    )
    return Components(parse_components(text, "round"))
