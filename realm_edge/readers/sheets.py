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
from realm_edge.readers.arrays import behavior_values, check_intervals, check_spikes, check_times, check_units
from realm_edge.readers.contents import Contents, Request, Units
from realm_edge.recording import BehaviorSeries, Intervals

_TIMES = ("time", "times", "timestamp", "timestamps", "t", "time_s", "times_s", "timestamps_s", "spike_time", "spike_times")
_OF_MEASURE = "unit"  # beside behaviour; beside spikes it names the neuron
_UNITS = (_OF_MEASURE, "unit_id", "cluster", "cluster_id", "neuron")
_ELECTRODES = ("electrode", "electrodes", "channel", "electrode_id", "channel_id")  # of a table of spikes
MOST_COLUMNS = 10_000  # each one is a series; time grows with them far more than with rows
_LOOKED_AT = 100  # lines at the start, in which comments end
_NAMED = 8  # columns that are left out
_DECIMAL_COMMA = r"[+-]?(\d*,)?\d+([eE][+-]?\d+)?"  # or a whole number
_THOUSANDS = r"[+-]?[1-9]\d{0,2}(,\d{3})+"  # which may be decimals as well
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
        provenance={"left_out": _left_out(table, text)} if text else {},
    )


def _left_out(table: pd.DataFrame, text: list[str]) -> str:
    """What is said of columns that hold no numbers, each with a cell that is none."""
    named = [f"column '{name}' holds no numbers ({_no_number(table[name])})" for name in text[:_NAMED]]
    more = [f"{len(text) - _NAMED} more column(s)"] if len(text) > _NAMED else []
    remedy = "separate values by commas" if len(table.columns) == 1 else "write plain numbers to use them"
    return f"{'; '.join(named + more)}: {remedy}"


def _no_number(column: pd.Series) -> str:
    """The first cell of a column that is no number, with its row, from 1 without the header."""
    for row, cell in enumerate(column):
        try:
            if not pd.isna(cell):
                float(cell)
        except (ValueError, TypeError, OverflowError):
            return f"'{cell!s:.40}' in row {row + 1}"
    return "every cell is empty"


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
            table = _csv(path, separator, decimal)
            if separator != "," and decimal == "." and any(_has_decimal_commas(table[name]) for name in table.columns):
                table = _csv(path, separator, ",")  # where the first row has whole numbers alone
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


def _csv(path: Path, separator: str, decimal: str) -> pd.DataFrame:
    read = partial(pd.read_csv, path, sep=separator, decimal=decimal, skipinitialspace=True, index_col=False, comment="#")
    names = [name for name in read(nrows=0).columns if str(name).strip().lower() in (*_UNITS, *_ELECTRODES)]
    table: pd.DataFrame = read(dtype=dict.fromkeys(names, str))
    for name in names:
        table[name] = _identities(table[name].astype("category"), decimal, f"{path}: column '{str(name).strip()}'")
    return table


def _identities(column: pd.Series, decimal: str, label: str) -> pd.Series:
    """A column of names, as numbers where all are; so "1" and "1.0" are one name.

    Raises:
        UserError: "01" and "1" would be one, too.
    """
    texts = column.cat.categories.astype(str).str.strip()
    numbers = pd.to_numeric(texts.str.replace(decimal, "."), errors="coerce")
    names = texts if numbers.isna().any() else numbers
    seen: dict[float, str] = {}
    for text, number in zip(texts.str.removesuffix(".0"), numbers, strict=True):
        if names is numbers and text.isdecimal() and seen.setdefault(number, text) != text:
            raise UserError(f"{label}: '{seen[number]}' and '{text}' are one number: write them alike, or as names that are no numbers")
    return pd.Series(names).reindex(column.cat.codes).set_axis(column.index)  # the code of an empty cell, -1, is no row


def _has_decimal_commas(column: pd.Series) -> bool:
    """Whether most cells are whole numbers or have a decimal comma, and one a comma that separates no thousands."""
    if column.dtype.kind in "biuf":
        return False
    texts = column.dropna().astype(str).str.strip()
    decimals = texts.str.fullmatch(_DECIMAL_COMMA)
    return bool(decimals.mean() > 0.5 and (decimals & texts.str.contains(",") & ~texts.str.fullmatch(_THOUSANDS)).any())


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
    try:
        return bool(column.dtype.kind in "biuf" or pd.to_numeric(column, errors="coerce").notna().mean() > 0.5)
    except OverflowError:  # of whole numbers beyond all floats
        return False


def _by_name(table: pd.DataFrame) -> Names:
    """The first column of each name."""
    return {name.lower(): (position, name) for position, name in reversed(list(enumerate(table.columns)))}


def _column(columns: Names, names: tuple[str, ...]) -> str | None:
    return min((columns[name] for name in names if name in columns), default=(0, None))[1]


def _numbers(table: pd.DataFrame, name: str, path: Path, remedy: str = "correct it") -> NDArray[np.float64]:
    column = table[name]
    try:
        numbers = column.dt.total_seconds() if column.dtype.kind == "m" else pd.to_numeric(column)  # decimals of Parquet among others
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: column '{name}' holds something that is no number ({_no_number(column)}): {remedy}") from error
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
    units = [] if unit is None or table[unit].dtype.kind in "iuf" else table[unit].dropna().unique()
    if unit is not None and unit.lower() == _OF_MEASURE and len(units) > 1:
        raise UserError(
            f"{path}: column '{unit}' holds '{units[0]!s:.40}' and '{units[1]!s:.40}': a series has one unit: convert its values to one"
        )
    return BehaviorSeries(values, check_times(times, len(values), str(path)), (name,), str(units[0]) if len(units) == 1 else "a.u.")


def _units(table: pd.DataFrame, path: Path) -> Units:
    columns = _by_name(table)
    unit = _column(columns, _UNITS)
    if unit is None:
        raise UserError(f"{path}: it has columns {', '.join(table.columns)}, and none that names the unit of each spike: call it 'unit'")
    times = _times(table, columns, path)
    if table[unit].isna().any():
        raise UserError(f"{path}: {int(table[unit].isna().sum())} rows name no unit in column '{unit}': correct or remove them")
    check_units(table[unit].nunique(), str(path))
    groups = table.groupby(unit, sort=True).indices
    trains = tuple(check_spikes(times[rows], f"{path}: unit {name}") for name, rows in groups.items())
    column = _column(columns, _ELECTRODES)
    if column is None or table[column].isna().any():
        return Units(trains)
    return Units(trains, electrodes=tuple(tuple(sorted(set(table[column].iloc[rows].astype(str)))) for rows in groups.values()))
