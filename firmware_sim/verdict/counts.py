"""What firmware of one signal took on one part, at one number of channels: what a verdict prices."""

from typing import Literal

from pydantic import model_validator

from realm_edge.documents import Form, Number

Signal = Literal["lfp", "lfp-200", "sbp", "spike"]
"""LFP bands; LFP bands of samples at 200 Hz; spiking-band power, that of 300 to 1,000 Hz; counts of threshold crossings."""

Ends = tuple[Number, Number, Number]  # low, nominal, high

COUNTS = "realm-edge counts/1"


class Counts(Form):
    """One firmware: a front end and a decoder, or a decoder whose inputs a circuit makes. A step is a bin.

    Where the firmware does not fit the part, ``text`` says what is missing, and what could not be counted is None.
    """

    signal: Signal
    channels: int  # electrodes that are sensed
    target: str
    frontend: bool  # whether samples come in; else the features of each bin
    fits: bool
    text: str  # why it does not fit, or what ran: "1.0 s of noise, 50 bins, equal to onnxruntime"
    rate_hz: Number  # of one channel at the ADC
    bandwidth_hz: Number  # upper cut-off of the amplifier
    features: int  # values that the decoder reads a bin
    output_values: int  # that it answers, 16 bits each
    bin_s: Number
    ticks_per_bin: int
    blocks_per_bin: int
    delay_s: Number  # by which features are late before anything is computed
    flash_bytes: int | None
    ram_bytes: int | None  # with the ADC's buffer
    frontend_cycles: Ends | None  # a bin; 0 without front end
    last_block_cycles: Ends | None  # of these, the block that ends a bin
    decoder_cycles: Ends | None  # without sending
    send_cycles: Ends | None
    loop_cycles: Ends | None

    @model_validator(mode="after")
    def _what_fits_was_counted(self) -> "Counts":
        missing = [name for name in type(self).model_fields if name.endswith(("_cycles", "_bytes")) and getattr(self, name) is None]
        if self.fits and missing:
            raise ValueError(f"firmware that fits has {missing[0]}")
        return self
