"""Behaviour, spike times or intervals from tables: ``.csv`` (or ``.tsv``) and ``.parquet``, one row per sample, spike or interval.

Behaviour: a column of times in s (``time``, say), every other column of numbers or of true and false is a series; a column ``unit`` that
holds one text throughout is their unit. Spikes: a column of times and one that names the unit (``unit``, say). Intervals: ``start`` and
``stop`` in s. Values are separated by commas, tabs or semicolons; where it is not by commas, decimal commas will do.
"""

import itertools
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.arrays import behavior_values, check_intervals, check_spikes, check_times
from realm_edge.readers.contents import Contents, Request, Units
from realm_edge.recording import BehaviorSeries, Intervals

_TIMES = ("time", "times", "timestamp", "timestamps", "t", "time_s", "times_s", "timestamps_s", "spike_time", "spike_times")
_UNITS = ("unit", "unit_id", "cluster", "cluster_id", "neuron")
_ELECTRODES = ("electrode", "electrodes", "channel", "electrode_id", "channel_id")  # of a table of spikes
MOST_COLUMNS = 10_000  # each one is a series; time grows with them far more than with rows
_LOOKED_AT = 100  # lines at the start, in which comments end
Names = dict[str, tuple[int, str]]  # columns by their names in lower case: position and name
_STARTS, _STOPS = ("start", "start_time", "start_s"), ("stop", "stop_time", "end", "end_time", "stop_s", "end_s")


def read(path: Path, request: Request) -> Contents:
    """See what is in a table; each column of numbers is a behaviour series.

    Raises:
        UserError: no such table.
    """
    table = _table(path)
    others = [name for name in table.columns if name.lower() not in (*_TIMES, *_UNITS)]
    text = [name for name in others if not _is_series(table[name])]
    columns, unused = _by_name(table), set(text)
    return Contents(
        name=path.stem,
        lfp={},
        behaviors={name: partial(_behavior, table, columns, name, path) for name in others if name not in unused},
        units=partial(_units, table, path),
        provenance={"left_out": f"column(s) {', '.join(text)}: not numbers"} if text else {},
    )


def intervals(path: Path) -> Intervals:
    """A table of intervals, ``(intervals, 2)`` s.

    Raises:
        UserError: no such columns, or an end before its start.
    """
    table = _table(path)
    names = [_column(_by_name(table), choices) for choices in (_STARTS, _STOPS)]
    if None in names:
        raise UserError(f"{path}: it has columns {', '.join(table.columns)}: intervals need 'start' and 'stop', in s")
    return check_intervals(np.stack([_numbers(table, str(name), path) for name in names], axis=1), str(path))


def _table(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".parquet":
            _check_width(_columns_of_parquet(path), path)
            table = pd.read_parquet(path)
            table = table.reset_index() if any(table.index.names) else table  # pandas stores an index that has a name as such
        else:
            separator, decimal, columns = _layout(path)
            _check_width(columns, path)
            table = pd.read_csv(path, sep=separator, decimal=decimal, skipinitialspace=True, index_col=False, comment="#")
    except ImportError as error:
        raise UserError(f"{path}: Parquet is read by pyarrow: pip install 'realm-edge[formats]'") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UserError:
        raise
    except Exception as error:  # pandas and pyarrow raise whatever they stumble upon in a broken file
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: not readable as a table ({type(error).__name__}: {reason}): write it again, in UTF-8") from error
    if not len(table):
        raise UserError(f"{path}: an empty table")
    table = table.rename(columns=lambda name: str(name).strip())
    numbers = [name for name in table.columns if name.startswith("Unnamed:") and (table[name] == np.arange(len(table))).all()]
    return table.drop(columns=numbers)  # of the rows, which pandas writes unless it is told not to


def _columns_of_parquet(path: Path) -> int:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        return int(file.metadata.num_columns)


def _check_width(columns: int, path: Path) -> None:
    if columns > MOST_COLUMNS:
        raise UserError(f"{path}: {columns:,} columns, of at most {MOST_COLUMNS:,}: write those that are needed, one row per sample")


def _layout(path: Path) -> tuple[str, str, int]:
    """What separates the values, and the decimal sign, by the header and the first row; and how many columns there are."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line for line in itertools.islice(file, _LOOKED_AT) if line.strip() and not line.startswith("#")][:2]
    header = lines[0] if lines else ""
    separator = max(",\t;", key=header.count)  # the comma, where there is none of them
    row = lines[-1] if len(lines) > 1 else ""
    return separator, "," if separator != "," and re.search(r"\d,\d", row) else ".", header.count(separator) + 1


def _is_series(column: pd.Series) -> bool:
    """Whether a column is meant to hold numbers; a single cell that is none is for whoever reads the column to refuse."""
    return bool(column.dtype.kind in "biuf" or pd.to_numeric(column, errors="coerce").notna().mean() > 0.5)


def _by_name(table: pd.DataFrame) -> Names:
    """The first column of each name."""
    return {name.lower(): (position, name) for position, name in reversed(list(enumerate(table.columns)))}


def _column(columns: Names, names: tuple[str, ...]) -> str | None:
    return min((columns[name] for name in names if name in columns), default=(0, None))[1]


def _numbers(table: pd.DataFrame, name: str, path: Path, remedy: str = "correct it") -> NDArray[np.float64]:
    column = table[name]
    try:
        numbers = column.dt.total_seconds() if column.dtype.kind == "m" else pd.to_numeric(column)  # decimals of Parquet among others
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: column '{name}' holds something that is no number: {remedy}") from error
    if numbers.dtype.kind not in "biuf":
        raise UserError(f"{path}: column '{name}' holds {column.dtype}, not numbers: {remedy}")
    return numbers.to_numpy(np.float64, na_value=np.nan)


def _times(table: pd.DataFrame, columns: Names, path: Path) -> NDArray[np.float64]:
    name = _column(columns, _TIMES)
    if name is None:
        raise UserError(f"{path}: it has columns {', '.join(table.columns)}, and none of times: call it 'time', in s")
    return _numbers(table, name, path)


def _behavior(table: pd.DataFrame, columns: Names, name: str, path: Path) -> BehaviorSeries:
    times = _times(table, columns, path)
    numbers = _numbers(table, name, path, "correct it, or choose other columns with --behavior")
    values = behavior_values(numbers[:, None], f"{path}: column '{name}'")
    unit = _column(columns, _UNITS)
    units = [] if unit is None or table[unit].dtype.kind in "iuf" else table[unit].unique()
    return BehaviorSeries(values, check_times(times, len(values), str(path)), (name,), str(units[0]) if len(units) == 1 else "a.u.")


def _units(table: pd.DataFrame, path: Path) -> Units:
    columns = _by_name(table)
    unit = _column(columns, _UNITS)
    if unit is None:
        raise UserError(f"{path}: it has columns {', '.join(table.columns)}, and none that names the unit of each spike: call it 'unit'")
    times = _times(table, columns, path)
    if table[unit].isna().any():
        raise UserError(f"{path}: {int(table[unit].isna().sum())} rows name no unit in column '{unit}': correct or remove them")
    groups = table.groupby(unit, sort=True).indices
    trains = tuple(check_spikes(times[rows], f"{path}: unit {name}") for name, rows in groups.items())
    column = _column(columns, _ELECTRODES)
    if column is None or table[column].isna().any():
        return Units(trains)
    return Units(trains, electrodes=tuple(tuple(sorted(set(table[column].iloc[rows].astype(str)))) for rows in groups.values()))
