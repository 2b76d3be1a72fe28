"""What is taken of a recording, where it holds several things."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.contents import Signal

Value = TypeVar("Value")
TABLES = (".csv", ".tsv", ".parquet")  # suffixes of files that sheets.py reads


@dataclass(frozen=True)
class Choices:
    """As the options of the same names say; nothing chosen takes the only one there is."""

    behavior: tuple[str, ...] = ()  # series; several are one target
    lfp: tuple[str, ...] = ()  # series; several follow one another
    channels: tuple[str, ...] = ()  # numbers, ranges, names or column=value; none: all
    without_channels: tuple[str, ...] = ()
    segments: str | None = None  # name of a table of intervals, or a file of them
    behavior_file: Path | None = None
    units_file: Path | None = None
    sync_offset: float = 0.0  # s that are added to the times of those two files
    spike_electrodes: int | None = None  # how many the sorted units were found on, where the recording does not say

    def as_json(self) -> dict[str, Any]:
        """What is chosen of the recording itself, beside the behaviour; without what is left to the rule."""
        plain = {name: getattr(self, name) for name in ("lfp", "channels", "without_channels", "segments", "spike_electrodes")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items() if value}


def pick(found: Mapping[str, Value], wanted: str, option: str, label: str) -> tuple[str, Value]:
    """What goes by a name, or by the end of one that names where it is.

    Raises:
        UserError: nothing does, or more than one; the message lists what there is.
    """
    matching = [name for name in found if name == wanted] or [name for name in found if name.endswith(f"/{wanted}")]
    if len(matching) == 1:
        return matching[0], found[matching[0]]
    there = ", ".join(sorted(found)) or "(there is none)"
    what = "no such series" if not matching else "several go by that name"
    raise UserError(f"{label}: {option} {wanted}: {what}: use {option} with one of: {there}")


def channels_of(signal: Signal, choices: Choices, label: str) -> NDArray[np.int64]:
    """The channels that are taken, in the file's order, ``(taken,)``.

    Raises:
        UserError: a name or number that no channel has, or none is left.
    """
    every = np.arange(len(signal.channels))
    taken = _named(signal, choices.channels, "--channels", label) if choices.channels else every
    left = np.setdiff1d(taken, _named(signal, choices.without_channels, "--without-channels", label))
    if not len(left):
        raise UserError(f"{label}: no channel is left of {len(every)}: take fewer out with --without-channels")
    return left


def _named(signal: Signal, items: tuple[str, ...], option: str, label: str) -> NDArray[np.int64]:
    found: list[int] = []
    for each in items:
        whole = _matching(signal, each.strip())  # a name or a cell may have a comma in it
        parts = [] if whole else [part.strip() for part in each.split(",") if part.strip()]
        if not whole and not parts:
            raise UserError(f"{label}: {option} '{each}': it names no channel: leave the option out, or name some")
        found += whole
        for part in parts:
            matching = _matching(signal, part)
            if not matching:
                columns = f", or column=value with one of {', '.join(signal.columns)}" if signal.columns else ""
                names = ", ".join(signal.channels[:6]) + (", ..." if len(signal.channels) > 6 else "")
                last = len(signal.channels) - 1
                numbers = "names or ranges of them" if _numbered(signal) else f"numbers or ranges from 0 to {last}, names"
                raise UserError(f"{label}: {option} {part}: no such channel: use {numbers} ({names}){columns}")
            found += matching
    return np.unique(np.array(found, np.int64))


def _numbered(signal: Signal) -> bool:
    """Whether all channels have numbers for names, so that numbers and ranges are of names."""
    return all(name.isdecimal() for name in signal.channels)


def _matching(signal: Signal, item: str) -> list[int]:
    if item in signal.channels:
        return [index for index, name in enumerate(signal.channels) if name == item]
    column, equals, value = item.partition("=")
    if equals and column in signal.columns:
        return [index for index, cell in enumerate(signal.columns[column]) if _same_cell(cell, value)]
    first, dash, last = item.partition("-")
    if not (first.isdecimal() and (last.isdecimal() if dash else True)):
        return []
    low, high = int(first), int(last if dash else first)
    if _numbered(signal):
        numbers = [int(name) for name in signal.channels]
        inside = min(numbers) <= low <= high <= max(numbers)
        return [index for index, number in enumerate(numbers) if inside and low <= number <= high]
    return list(range(low, high + 1)) if low <= high < len(signal.channels) else []


def _same_cell(cell: str, value: str) -> bool:
    try:
        return cell == value or float(cell) == float(value)
    except ValueError:
        return False


def usable(series: Mapping[str, Callable[[], Value]]) -> tuple[dict[str, Value], dict[str, str]]:
    """The series that can be used, and why each of the others cannot."""
    good: dict[str, Value] = {}
    bad: dict[str, str] = {}
    for name, read in series.items():
        try:
            good[name] = read()
        except UserError as error:
            bad[name] = str(error)
    return good, bad
