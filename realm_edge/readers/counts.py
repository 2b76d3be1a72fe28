"""From what a file holds to ADC counts: int16, one scale for all channels, as a front end would have digitised them.

Real counts stay as they are: integers with one gain, less a whole number of counts where they are offset binary. Anything else gets a
scale of its own, chosen on the training part alone: the typical channel's excursion becomes 4,096 counts, an eighth of full scale, and
what lies beyond full scale is clipped, as an ADC does. The excursion is the median, over stretches of the training part, of the largest
value in each: so neither an artefact that is shorter than half of it nor an auxiliary channel takes the resolution of the others.
A channel's constant is taken out where counts are made here.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.arrays import LARGEST, check_voltage
from realm_edge.readers.contents import Signal
from realm_edge.recording import Intervals, no_intervals
from realm_edge.table import Rows, blocks

LIMIT = 32767  # counts; where a value is clipped
_TYPICAL = 4096  # counts that the typical channel's excursion becomes
_STRETCHES = 32  # of the training part, in each of which the largest distance from the median is looked for
_SAMPLED = 1 << 14  # rows from which medians and excursions are taken
_FEW_COUNTS = 64  # peak to peak; a channel with fewer has lost its signal
_LARGE_COUNT, _LARGE_OFFSET = 1e-3, 10.0  # V; front ends have counts of microvolts
_EXACT = 1 << 52  # whole numbers up to here are floats, too
_MAX_UNKNOWN = 0.2  # share of samples that are NaN, from which on a channel counts as bad


@dataclass(frozen=True)
class Counts:
    """A signal in ADC counts; what a count means is ``count * scale + offset[channel]`` in the signal's unit."""

    data: Rows  # (samples, channels) int16, with the samples that fill gaps
    scale: float
    offset: NDArray[np.float64]  # (channels,)
    good: NDArray[np.bool_]  # (channels,)
    stretches: tuple[tuple[int, int, float], ...]  # first sample, end, start in s
    clips: bool  # whether values beyond full scale were clipped here, so that samples at the limit are to be reported
    notes: dict[str, str] = field(default_factory=dict)


def counts_of(
    signal: Signal, columns: NDArray[np.int64], training: float, max_gap_s: float, label: str, invalid: Intervals | None = None
) -> Counts:
    """Bring a signal into ADC counts.

    Args:
        signal: any integers or floats.
        columns: the channels that are taken.
        training: share of the samples, from the start, that scales may be chosen on.
        max_gap_s: where floats are NaN in a channel for longer, the recording pauses; shorter stretches hold the sample before.
        label: file and series, for messages.
        invalid: of the recording, which no scale is chosen on.

    Raises:
        UserError: no real numbers, a gain that is no number, or nothing but NaN.
    """
    data = signal.data
    check_voltage(data, label)
    gain, offset, good = signal.gain[columns], signal.offset[columns], signal.good[columns]
    if not (np.isfinite(gain).all() and (gain != 0).all() and np.isfinite(offset).all()):
        channel = columns[int(np.argmin(np.isfinite(gain) & (gain != 0) & np.isfinite(offset)))]
        values = f"gain {signal.gain[channel]} and offset {signal.offset[channel]}"
        raise UserError(f"{label}: channel {signal.channels[channel]} has {values}: correct the file")
    raw = _Raw(signal, columns, label)
    if data.dtype.kind in "iu" and data.dtype.itemsize == 8:
        offset = offset + raw.less_origin(max(1, round(training * len(raw)))) * gain
    stretches = signal.clock.stretches
    notes: dict[str, str] = {}
    holes = np.zeros((0, 2), np.int64)
    if data.dtype.kind == "f":
        good, holes = _unknown(raw, good, signal, columns, label, notes)
        stretches = _without(stretches, holes, signal.clock.rate, max_gap_s)
        if not stretches:
            raise UserError(
                f"{label}: in every sample a channel is NaN: leave the channel out with --without-channels, or choose another series"
            )
    unheard = _rows_of(no_intervals() if invalid is None else invalid, signal)
    scaling = _scaling(raw, gain, offset, good, training, unheard)
    notes |= _check_size(scaling, good, signal, columns, label)
    if scaling.excursions is not None:
        good = good & _within_scale(scaling.excursions, good, signal, columns, notes)
        told = _resolution(2 * scaling.excursions, good, scaling.count, signal, columns)
        notes |= told | {"scale": "; ".join(text for text in (told.get("scale"), notes.get("scale")) if text)} if told else {}
    data = Rows((signal.clock.samples, len(columns)), np.int16, lambda first, stop: scaling.apply(_held(raw, holes, first, stop)))
    return Counts(data, scaling.count, scaling.offset, good, stretches, scaling.clips, notes)


def _check_size(scaling: "_Scaling", good: NDArray[np.bool_], signal: Signal, columns: NDArray[np.int64], label: str) -> dict[str, str]:
    """Refuse counts and offsets of a size that nothing has, and say what no voltage is like."""
    count, judged = scaling.count, good if good.any() else np.ones(len(good), bool)
    worst = int(np.argmax(np.abs(scaling.offset) * judged))
    offset, channel = float(scaling.offset[worst]), signal.channels[columns[worst]]
    if not (abs(count) <= LARGEST and abs(offset) <= LARGEST):
        raise UserError(
            f"{label}: one count is {count:.3g} {signal.unit} and the offset of channel {channel} {offset:.3g} {signal.unit}, beyond "
            f"{LARGEST:g}: correct its values, its scale or its offset"
        )
    said = []
    if (signal.gain[columns][judged] < 0).any():
        said.append("a negative scale turns the voltage round")
    if signal.unit == "V" and abs(count) > _LARGE_COUNT:
        said.append(f"one count is {abs(count):.3g} V, which no LFP needs: is its scale that of volts?")
    if signal.unit == "V" and abs(offset) > _LARGE_OFFSET:
        said.append(f"channel {channel} has an offset of {offset:.3g} V, which no LFP has: is it in volts?")
    return {"scale": "; ".join(said)} if said else {}


def _within_scale(
    excursions: NDArray, good: NDArray[np.bool_], signal: Signal, columns: NDArray[np.int64], notes: dict[str, str]
) -> NDArray[np.bool_]:
    """Which channels fit into the one scale. The others are no LFP: clipped most of the time, they would spoil the common average."""
    fit = excursions <= LIMIT
    names = [signal.channels[columns[channel]] for channel in np.flatnonzero(good & ~fit)]
    if names:
        shown = ", ".join(names[:8]) + (" and more" if len(names) > 8 else "")
        notes["too_large"] = f"{shown}: beyond full scale at the scale of the others (an auxiliary input?), left out"
    return fit


def _resolution(left: NDArray, good: NDArray[np.bool_], count: float, signal: Signal, columns: NDArray[np.int64]) -> dict[str, str]:
    """What is said about the scale; ``left``: (channels,) counts peak to peak."""
    alive = np.flatnonzero(good & (left > 0))
    if not len(alive):
        return {}
    least, most = left[alive].min(), left[alive].max()
    notes = {"scale": f"1 count = {count:.4g} {signal.unit}, from the training part; channels span {least:.0f} to {most:.0f} counts"}
    few = alive[left[alive] < _FEW_COUNTS]
    if len(few):
        worst = signal.channels[columns[few[np.argmin(left[few])]]]
        notes["few_counts"] = (
            f"{len(few)} channel(s) have fewer than {_FEW_COUNTS} counts left, channel {worst} {least:.0f}: they are much smaller than the "
            "others; leave the larger ones out with --without-channels to keep them"
        )
    return notes


class _Raw:
    """The chosen columns of a signal, as the file holds them, gaps filled."""

    def __init__(self, signal: Signal, columns: NDArray[np.int64], label: str) -> None:
        self.dtype, self._signal, self._columns, self._label = signal.data.dtype, signal, columns, label
        self.shape = (signal.clock.samples, len(columns))
        self._origin: NDArray | None = None
        self._all = len(signal.data.shape) == 1 or np.array_equal(columns, np.arange(signal.data.shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> NDArray:
        try:
            block = self._signal.clock.read(self._signal.data, part.start, part.stop)
        except UserError:
            raise
        # h5py, zarr and neo raise whatever they stumble upon in a broken file.
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"{self._label}: samples {part.start} to {part.stop} are not readable ({type(error).__name__}: {reason}): download it again"
            ) from error
        block = block.reshape(len(block), -1)
        if block.dtype.kind == "f":
            block = block.astype(np.float64)  # half precision has no room for what follows
        block = block if self._all else block[:, self._columns]
        return block if self._origin is None else (block - self._origin).view(np.int64)  # modulo 2^64 it is exact

    def less_origin(self, stop: int) -> NDArray[np.float64]:
        """Take from integers of 64 bits, where they are too large to be floats, a whole number, and say which, ``(channels,)``.

        It is the median of some of the first ``stop`` rows, so that what is left is as small as the signal.
        """
        sample = np.concatenate([block[:: max(1, stop // _SAMPLED)] for block in blocks(self, 0, stop)])
        middle = np.sort(sample, axis=0)[len(sample) // 2]
        large = (middle > _EXACT) | ((middle < 0) & (middle < -_EXACT))
        if not large.any():
            return np.zeros(self.shape[1])
        self._origin, self.dtype = np.where(large, middle, np.zeros_like(middle)), np.dtype(np.int64)
        return self._origin.astype(np.float64)


@dataclass(frozen=True)
class _Scaling:
    """count = clip(round((x - centre) * factor))."""

    count: float
    centre: NDArray  # (channels,), in raw values
    factor: NDArray[np.float64]  # (channels,), counts a raw value
    offset: NDArray[np.float64]  # (channels,), in unit, of count 0
    excursions: NDArray[np.float64] | None  # (channels,), counts; None where counts are the file's own
    clips: bool

    def apply(self, block: NDArray) -> NDArray[np.int16]:
        if not self.clips:
            return block.astype(np.int16, copy=False)
        if block.dtype.kind in "iu" and (self.factor == 1).all():
            return np.clip(block.astype(np.int64) - self.centre.astype(np.int64), -LIMIT, LIMIT).astype(np.int16)
        return np.clip(np.rint((block - self.centre) * self.factor), -LIMIT, LIMIT).astype(np.int16)


def _rows_of(intervals: Intervals, signal: Signal) -> NDArray[np.int64]:
    """Samples ``(intervals, 2)``, first and end, that lie in the intervals."""
    clock, found = signal.clock, []
    for first, stop, start in clock.stretches:
        rows = first + np.clip(np.rint((intervals - start) * clock.rate), 0, stop - first)
        found.append(rows[rows[:, 1] > rows[:, 0]].astype(np.int64))
    return np.concatenate(found)


def _scaling(raw: _Raw, gain: NDArray, offset: NDArray, good: NDArray[np.bool_], training: float, unheard: NDArray[np.int64]) -> _Scaling:
    integers, channels = raw.dtype.kind in "iu", len(gain)
    fits = integers and np.can_cast(raw.dtype, np.int16)
    judged = good if good.any() else np.ones(channels, bool)
    gains, uses = np.unique(gain[judged], return_counts=True)
    common = float(gains[np.argmax(uses)])
    shares = bool(2 * uses.max() > judged.sum() or len(gains) == 1)
    if fits and len(np.unique(gain)) == 1:
        return _Scaling(common, np.zeros(channels), np.ones(channels), offset, None, False)
    sample = _sample(raw, max(1, round(training * len(raw))), unheard)
    centre = np.nanmedian(sample, axis=0)
    distances = np.array_split(np.abs(sample - centre), min(_STRETCHES, len(sample)))
    excursion = np.median([np.nanmax(part, axis=0, initial=0.0) for part in distances], axis=0) * np.abs(gain)  # in unit
    alive = judged & (excursion > 0)
    typical = float(np.median(excursion[alive])) if alive.any() else 0.0
    if integers and shares and typical / abs(common) <= LIMIT / 4:
        count = common  # of the file's own: those channels' values stay whole
        zero = -offset / gain
        binary = (np.abs(zero - np.rint(zero)) < 1e-6) & (np.abs(centre - zero) < LIMIT / 2)
        centre = np.where(gain == common, np.where(binary, np.rint(zero), np.rint(centre)), centre)
        if fits:
            centre = np.where(gain == common, 0.0, centre)
    else:
        count = typical / _TYPICAL if typical > 0 else abs(common)
    factor = gain / count
    return _Scaling(count, centre, factor, centre * gain + offset, excursion / abs(count), True)


def _sample(raw: _Raw, stop: int, unheard: NDArray[np.int64]) -> NDArray[np.float64]:
    """Some rows of the first ``stop``, spread evenly but for a jitter that keeps periods of the signal out, ``(rows, channels)``.

    Rows of ``unheard`` are left out, unless none would be left.
    """
    wanted = min(stop, _SAMPLED)
    at = ((np.arange(wanted) + np.random.default_rng(0).random(wanted)) * (stop / wanted)).astype(np.int64)
    heard = ~np.logical_or.reduce([(at >= first) & (at < end) for first, end in unheard], initial=False)
    at = at[heard] if np.any(heard) else at
    found, first = [], 0
    for block in blocks(raw, 0, stop):
        inside = at[(at >= first) & (at < first + len(block))] - first
        found.append(block[inside].astype(np.float64))
        first += len(block)
    sample = np.concatenate(found)
    sample[~np.isfinite(sample)] = np.nan
    sample[:, np.isnan(sample).all(axis=0)] = 0.0  # of channels that are left out
    return sample


def _unknown(
    raw: _Raw, good: NDArray[np.bool_], signal: Signal, columns: NDArray[np.int64], label: str, notes: dict[str, str]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Good channels without those that are mostly NaN, and the stretches ``(holes, 2)`` in which another good one is NaN or infinite."""
    count = np.zeros(raw.shape[1], np.int64)
    for block in blocks(raw):
        count += np.count_nonzero(~np.isfinite(block), axis=0)
    if not count.any():
        return good, np.zeros((0, 2), np.int64)
    mostly = count > _MAX_UNKNOWN * len(raw)
    names = [signal.channels[columns[channel]] for channel in np.flatnonzero(mostly & good)]
    if names:
        shown = ", ".join(names[:8]) + (" and more" if len(names) > 8 else "")
        notes["nan_channels"] = f"{shown}: NaN in more than {100 * _MAX_UNKNOWN:.0f} % of the samples, left out"
    kept = good & ~mostly
    if not kept.any():
        raise UserError(
            f"{label}: every channel is NaN in more than {100 * _MAX_UNKNOWN:.0f} % of the samples, or bad: choose another series"
        )
    edges, first, before = [], 0, False
    for block in blocks(raw):
        wrong = ~np.isfinite(block[:, kept]).all(axis=1)
        change = np.flatnonzero(np.diff(np.concatenate([[before], wrong])))
        edges.append(first + change)
        before, first = bool(wrong[-1]), first + len(block)
    flat = np.concatenate([*edges, [first] if before else []]).astype(np.int64)
    holes = flat.reshape(-1, 2)
    if len(holes):
        length = (holes[:, 1] - holes[:, 0]) / signal.clock.rate
        notes["nan_samples"] = f"{len(holes)} stretch(es) of NaN, {length.sum():.3f} s in all, the longest {length.max():.3f} s"
    return kept, holes


def _without(
    stretches: tuple[tuple[int, int, float], ...], holes: NDArray[np.int64], rate: float, max_gap_s: float
) -> tuple[tuple[int, int, float], ...]:
    """Stretches with pauses where holes are longer than ``max_gap_s``, or where there is no sample before a hole to hold."""
    made = []
    for first, stop, start in stretches:
        at = first
        for hole, end in holes[(holes[:, 0] < stop) & (holes[:, 1] > first)]:
            if (end - hole) / rate <= max_gap_s and hole > at:
                continue
            if hole > at:
                made.append((at, int(hole), start + (at - first) / rate))
            at = int(min(end, stop))
        if at < stop:
            made.append((at, stop, start + (at - first) / rate))
    return tuple(made)


def _held(raw: _Raw, holes: NDArray[np.int64], first: int, stop: int) -> NDArray:
    """The rows ``[first, stop)``, those of holes replaced by the one before."""
    block = raw[first:stop]
    for hole, end in holes[(holes[:, 0] < stop) & (holes[:, 1] > first)]:
        before = block[hole - first - 1] if hole > first else raw[hole - 1 : hole][0] if hole > 0 else 0.0
        block[max(hole - first, 0) : end - first] = before
    if block.dtype.kind == "f":
        np.nan_to_num(block, copy=False)  # of channels that are left out
    return block
