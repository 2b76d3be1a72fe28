"""Energy of the self-test from a current probe's export: Nordic's PPK2 (nRF Connect Power Profiler) or a Joulescope, as CSV.

Columns, as the programs' sources write them (pc-nrfconnect-ppk, ``exportCsvAction``; pyjoulescope_ui, its exporters):

- PPK2: ``Timestamp(ms),Current(uA)``, then ``D0-D7`` (a word of eight digits, D0 first), or ``D0,D1,...,D7``, or both, or neither.
- Joulescope: ``#time (s),current (A),voltage (V)``, or its recorded statistics, ``#time,current,voltage,power,charge,energy``.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from firmware_sim.board.form import Energy
from firmware_sim.board.log import BoardLog
from realm_edge.errors import UserError
from realm_edge.files import require_regular, sha256_file
from realm_edge.printable import printable

MOST_BYTES = 256 << 20
LINES = tuple(f"D{n}" for n in range(8))  # digital ones of a PPK2
_WORD = "D0-D7"
_CLOCK_OFF = 0.05  # by which a told clock may differ from the counted one


@dataclass(frozen=True)
class Trace:
    """A probe's export.

    Attributes:
        seconds: (samples,), rising.
        amperes: (samples,).
        volts: (samples,); None: the probe does not measure them.
        lines: by name, whether a digital line is high, (samples,).
    """

    path: Path
    instrument: Literal["PPK2", "Joulescope"]
    seconds: NDArray[np.float64]
    amperes: NDArray[np.float64]
    volts: NDArray[np.float64] | None
    lines: dict[str, NDArray[np.bool_]]


def read_trace(path: Path) -> Trace:
    """Read an export.

    Raises:
        UserError: no file, too large, of other columns, a value that is no number, or times that do not rise.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file: name a CSV export of a PPK2 or a Joulescope")
    require_regular(path)
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path}: more than {MOST_BYTES >> 20} MiB: export the part around the self-test")
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        header = next(csv.reader([stream.readline(10_000)]), [])
    columns = [name.strip() for name in header]
    if columns[:2] == ["Timestamp(ms)", "Current(uA)"]:
        return _ppk2(path, columns)
    if [name.split(" ")[0] for name in columns[:3]] == ["#time", "current", "voltage"]:
        seconds, amperes, volts = _numbers(path, (0, 1, 2))
        return _checked(Trace(path, "Joulescope", seconds, amperes, volts, {}))
    had = printable(",".join(header)[:60])
    raise UserError(
        f"{path}: its first line is '{had}': export CSV with a header, of a PPK2 or a Joulescope (docs/boards.md has the columns)"
    )


def _ppk2(path: Path, columns: Sequence[str]) -> Trace:
    digital = [name for name in columns[2:] if name in LINES]
    wanted = [*digital, *([_WORD] if _WORD in columns and not digital else [])]
    milliseconds, microamperes, *found = _numbers(path, (0, 1, *(columns.index(name) for name in wanted)))
    lines = {name: values != 0 for name, values in zip(wanted, found, strict=True)}
    if wanted == [_WORD]:
        lines = {name: found[0] // 10 ** (7 - n) % 10 != 0 for n, name in enumerate(LINES)}
    return _checked(Trace(path, "PPK2", milliseconds / 1e3, microamperes / 1e6, None, lines))


def _numbers(path: Path, columns: tuple[int, ...]) -> list[NDArray[np.float64]]:
    try:
        found = np.loadtxt(path, delimiter=",", skiprows=1, usecols=columns, ndmin=2, comments=None, quotechar='"', encoding="utf-8")
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: not numbers in every line ({printable(str(error))[:100]}): export it again") from error
    if len(found) < 2:
        raise UserError(f"{path}: holds {len(found)} samples: export the part around the self-test")
    return list(found.T)


def _checked(trace: Trace) -> Trace:
    for values in (trace.seconds, trace.amperes, *(() if trace.volts is None else (trace.volts,))):
        if not np.isfinite(values).all():
            raise UserError(f"{trace.path}: line {int(np.flatnonzero(~np.isfinite(values))[0]) + 2}: no number: export it again")
    falls = np.flatnonzero(np.diff(trace.seconds) <= 0)
    if len(falls):
        raise UserError(f"{trace.path}: line {int(falls[0]) + 3}: its time is not after the one before: export it again")
    return trace


def energy(trace: Trace, log: BoardLog, volts: float | None, line: str | None, window_s: tuple[float, float] | None) -> Energy:
    """What the core took in the first run of the self-test, over the cycles that it counted meanwhile; in a given window, over its clock's.

    Args:
        log: whose cycles are a measurement.
        volts: at which the probe supplied the board, where it does not measure them.
        line: digital line that was high during the run; None: the only one that was high in one piece.
        window_s: on the probe's clock, in place of a line; the core has to be in the first run all of it.

    Raises:
        UserError: no such line or window, a voltage or clock that nobody told, or a clock that the probe's contradicts.
    """
    if trace.volts is None and volts is None:
        raise UserError(f"{trace.path}: a {trace.instrument} tells no voltage: give --volts")
    if trace.volts is not None and volts is not None:
        raise UserError(f"--volts {volts:g}: {trace.path} has the voltage: leave it out")
    name, first, last = ("given", *_window(trace, window_s)) if window_s else _high(trace, line)
    span = slice(first, last + 1)
    seconds = trace.seconds[span]
    across = np.full(len(seconds), volts) if trace.volts is None else trace.volts[span]
    length = float(seconds[-1] - seconds[0])
    watts = float(np.trapezoid(trace.amperes[span] * across, seconds)) / length
    if not watts > 0:
        raise UserError(
            f"{trace.path}: {1e6 * watts:g} uW on the average of the window: the probe is the wrong way round, or the window wrong"
        )
    cycles = length * _clock(trace, log) if window_s else _counted(trace, log, length)
    return Energy.model_validate(
        {
            "instrument": trace.instrument,
            "file_sha256": sha256_file(trace.path),
            "window_s": (float(seconds[0]), float(seconds[-1])),
            "window_by": name,
            "samples": len(seconds),
            "volts": float(across.mean()),
            "volts_measured": trace.volts is not None,
            "milliamperes": 1e3 * float(np.trapezoid(trace.amperes[span], seconds)) / length,
            "microwatts": 1e6 * watts,
            "cycles": cycles,
            "cycles_by": "clock" if window_s else "counter",
            "pj_per_cycle": 1e12 * watts * length / cycles,
        }
    )


def _window(trace: Trace, window_s: tuple[float, float]) -> tuple[int, int]:
    """Indices of the first and last sample in it."""
    begin, end = window_s
    inside = np.flatnonzero((trace.seconds >= begin) & (trace.seconds <= end))
    if len(inside) < 2:
        has = f"{trace.seconds[0]:g} to {trace.seconds[-1]:g} s"
        raise UserError(f"--window {begin:g}:{end:g}: holds {len(inside)} samples of {trace.path}, which has {has}: name a longer one")
    return int(inside[0]), int(inside[-1])


def _high(trace: Trace, line: str | None) -> tuple[str, int, int]:
    """The line, and where it is high."""
    pieces = {name: _pieces(high) for name, high in trace.lines.items()}
    if line is not None and line not in pieces:
        has = f"has {', '.join(pieces)}" if pieces else "has no digital lines"
        raise UserError(f"--mark {line}: {trace.path} {has}: name one of them, or give --window")
    usable = [name for name in ([line] if line else pieces) if name and len(pieces[name]) == 1]
    if len(usable) != 1:
        told = ", ".join(f"{name} {len(found)} times" for name, found in pieces.items() if found) or "none"
        raise UserError(f"{trace.path}: no single line is high in one piece ({told}): give --mark, or --window")
    ((first, last),) = pieces[usable[0]]
    if last == first:
        raise UserError(f"{trace.path}: {usable[0]} is high for one sample: the probe is too slow for it; give --window")
    return usable[0], first, last


def _pieces(high: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each time that it is high."""
    steps = np.diff(np.concatenate(([0], high.astype(np.int8), [0])))
    return list(zip(np.flatnonzero(steps == 1).tolist(), (np.flatnonzero(steps == -1) - 1).tolist(), strict=True))


def _clock(trace: Trace, log: BoardLog) -> int:
    if not log.clock_hz:
        raise UserError(f"{trace.path}: cycles of a given window need the core's clock: build the self-test with it, the log does not tell")
    return log.clock_hz


def _counted(trace: Trace, log: BoardLog, seconds: float) -> int:
    cycles = sum(line.sum for line in log.regions if line.stage == "model")
    if not cycles:
        raise UserError(f"{trace.path}: the log has no cycles of the first run: nothing to divide energy by")
    clock = cycles / seconds
    if log.clock_hz and abs(clock / log.clock_hz - 1) > _CLOCK_OFF:
        raise UserError(
            f"{trace.path}: {cycles} cycles in {seconds:g} s are a clock of {clock:.4g} Hz, the log tells {log.clock_hz}: "
            "the line was not high during the first run alone, or the clock is another"
        )
    return cycles
