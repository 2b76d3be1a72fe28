"""What is written down of quantised streams: parts of stage records, ``calibration.json`` and ``verification.json``. Light to import."""

from dataclasses import dataclass
from typing import Any

from realm_edge.documents import Form, Number

CALIBRATION = "realm-edge calibration/2"  # calibration.json


class R2(Form):
    """Mean over the axes, of each decoder on the same bins."""

    float: Number
    int8: Number
    wiener: Number


class ScoredBins(Form):
    """What int8 loses over some bins; an NRMSE is :func:`realm_edge.metrics.nrmse`."""

    r2: R2
    nrmse_int8_float: Number
    nrmse_frontend: Number  # of the float decoder behind the integer front end, against float
    nrmse_decoder: Number  # of int8 against that
    scored_bins: int


class StreamScores(ScoredBins):
    """The same over what follows the golden vectors' warm-up."""

    warm_up_bins: int
    resets: int  # of the whole run, warm-up included
    with_history: ScoredBins | None  # over the bins with a second of their segment behind them; None where all have, or too few


class QuantizedStream(StreamScores):
    """What the quantize stage says of a stream."""

    reference_ticks_equal: int  # in which onnxruntime equals the numpy reference, to the bit
    decoder_int8_bytes: int  # of weights
    decoder_constant_bytes: int  # of weights, tables and other constants
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One tensor. ``saturated`` and ``sqnr_db`` compare the integer decoder with the float one bin by bin, both from the zero state."""

    tensor: str
    kind: str  # "activation", "state" or "weight"
    dtype: str
    shape: tuple[int, ...]
    scale: tuple[Number, Number]  # smallest and largest: one per tensor, an output channel of weights, or a head of the state
    saturated: Number | None  # share of the values that the rail cuts; None for weights, whose largest is there by design
    sqnr_db: Number | None  # power of the float values over that of the difference; None where either is 0
    nrmse_alone: Number  # of the output when this tensor alone is rounded and clipped to its format, the rest being float


class Sizes(Form):
    """Bytes of an integer step graph by tensor, and their sums.

    Weights are int8, one byte a parameter; constants are what is left: multipliers, biases and shifts, wider than what they stand for.
    The firmware writes shifts and sizes into its code: how many bytes of constants its flash holds is in a bundle's ``metadata.json``.
    """

    weights: dict[str, int]
    tables: dict[str, int]
    constants: dict[str, int]
    states: dict[str, int]
    bytes: dict[str, int]  # of the four, by name


class TensorTable(Form):
    """What the formats of a stream's tensors cost and take."""

    tensors: tuple[Row, ...]
    sizes: dict[str, Sizes]  # by graph: "decoder" and "frontend"
    compared_bins: int  # of the training part, that the rows are measured on


class CalibratedStream(TensorTable):
    """What calibration saw of a stream."""

    states: tuple[dict[str, Any], ...]  # of the decoder, as in its metadata
    warm_up_bins: int  # of each segment, that calibration left out
    bins: int  # of the training part
    segments: int


class Calibration(Form):
    """``calibration.json``."""

    streams: dict[str, CalibratedStream]


@dataclass(frozen=True)
class Difference:
    """Where onnxruntime and the reference part."""

    graph: str
    tensor: str
    tick: int  # from 0, since the zero state
    element: tuple[int, ...]
    onnxruntime: int | str  # the values; type and shape where these differ already
    reference: int | str
    during: str | None  # what was stepped over, where it is not the recording


@dataclass(frozen=True)
class ToldDifference(Difference):
    """The same, and in one line."""

    line: str


class Ladder(Form):
    """How much recorded input went through both, equal to the bit."""

    bins: int  # decoder steps
    passes: Number  # of the recording
    frontend_bins: int
    frontend_ticks: int
    frontend_feeds_decoder: bool  # else it was compared by itself


class HostileInput(Form):
    """One that went through both, equal to the bit."""

    input: str
    into: str  # "decoder" or "front end"
    bins: int
    frontend_ticks: int


class Endurance(Form):
    """Errors are those of :func:`realm_edge.metrics.nrmse`, of each window; the warm-up is left out."""

    errors: tuple[Number, ...]  # of one window after the other
    first: Number  # median of the first windows: artefacts lift some of them, a drift lifts all
    last: Number  # median of as many at the end
    most_growth: Number
    holds: bool  # whether the error at the end is at most ``most_growth`` times that at the start


class LongRun(Endurance):
    """The same, and over what."""

    warm_up_s: Number
    seconds: Number
    window_s: Number
    compared_s: Number  # at the start, and as much at the end
    frontend: bool  # whether the integer front end was part of it
    passes: Number  # of the recording


class Settled(Form):
    """Bins until a decoder is again what it would be, for good; None where it took longer than was watched."""

    within: Number  # of the output's standard deviation
    bins: tuple[int | None, ...]  # by reset
    median_bins: Number | None
    median_s: Number | None
    max_bins: Number | None
    max_s: Number | None


class Resets(Form):
    """Both chains from the zero state at several times of the long run."""

    at_s: tuple[Number, ...]
    watched_s: Number  # after each
    frontend: bool  # whether its state was lost too
    int8: tuple[Settled, ...]
    float: tuple[Settled, ...]


class VerifiedStream(Form):
    """One stream over long and hostile input; the last four are None where onnxruntime and the reference differ."""

    ok: bool
    difference: ToldDifference | None
    ladder: Ladder | None
    adversarial: tuple[HostileInput, ...] | None
    endurance: LongRun | None
    reset: Resets | None
