"""What a designer chooses. A choice is no tolerance: it has no range, and is never drawn."""

from dataclasses import dataclass
from typing import Literal

from firmware_sim.power.stream import Stream

Radio = Literal["nrf52840", "nrf54l15", "cc2340"]


@dataclass(frozen=True)
class Scenario:
    """The choices around a target.

    Attributes:
        amplifier: of a chip made for the implant, or Intan's RHD2000, whose current grows with its bandwidth.
        adc_bits: of a sample, also where samples are sent.
        fifo: whether the sensing chip holds a block of samples. Without, the core sleeps with clocks and DMA on.
        supply: switching converters, or linear regulators alone.
        radio: None: the part's own, or an nRF52840 beside it.
        stream: a link in the place of Bluetooth LE; None: Bluetooth LE.
        synchronous: whether a bin ends when a connection event begins, so that a packet need not wait for one.
    """

    amplifier: Literal["chip", "rhd"] = "chip"
    adc_bits: Literal[10, 12, 16] = 12
    fifo: bool = True
    supply: Literal["converter", "ldo"] = "converter"
    radio: Radio | None = None
    synchronous: bool = True
    stream: Stream | None = None


DEFAULT = Scenario()
