"""Tables of behaviour, spike times and intervals, as programs write them."""

import decimal
import re
import time

import numpy as np
import pandas as pd
import pytest

from realm_edge.app.inspection_text import lines
from realm_edge.errors import UserError
from realm_edge.inspection import inspect
from realm_edge.readers import sheets
from realm_edge.readers.choices import Choices
from realm_edge.readers.contents import Request
from realm_edge.readers.reading import read_recording

T = np.arange(1500) / 50


def test_tables_as_programs_write_them(tmp_path):
    """Row numbers of pandas, spaces in the header, a comma at the end of each row."""
    table = pd.DataFrame({"time": T, "x": np.sin(T)})
    table.to_csv(tmp_path / "rows.csv")
    (tmp_path / "spaces.CSV").write_text("time ,x \n" + "".join(f"{t},{x}\n" for t, x in table.to_numpy()))
    (tmp_path / "commas.csv").write_text("time,x\n" + "".join(f"{t},{x},\n" for t, x in table.to_numpy()))
    for path in sorted(tmp_path.iterdir()):
        found = sheets.read(path, Request(0.02)).behaviors
        assert list(found) == ["x"], path
        np.testing.assert_allclose(found["x"]().times, T)
        np.testing.assert_allclose(found["x"]().values[:, 0], np.sin(T), atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time,x,y\n0,1,2\n1,--,3\n2,4,5\n", r"column 'x' holds something that is no number"),
        ("time;x\n0;1\n1;2\n", r"it has columns time, x, and none that names the unit of each spike: call it 'unit'"),
        ("x;y\n0;1\n1;2\n", r"it has columns x, y, and none of times: call it 'time', in s"),
        ("time,unit\n0.1,a\n0.2,\n", r"1 rows name no unit in column 'unit'"),
    ],
)
def test_cells_that_are_missing_or_no_numbers_are_told(tmp_path, content, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        found = sheets.read(tmp_path / "a.csv", Request(0.02))
        for read in (*found.behaviors.values(), found.units):
            read()


SPELLINGS = {  # separator, decimal sign, how it begins
    "commas": (",", ".", ""),
    "semicolons": (";", ".", ""),
    "as German Excel writes it": (";", ",", "\ufeff"),
    "tabs in a .csv": ("\t", ".", ""),
    "tabs and decimal commas": ("\t", ",", ""),
    "comments": (",", ".", "# made by a program, version 1,5\n"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_separators_and_decimal_signs(tmp_path, spelling):
    separator, decimal, beginning = SPELLINGS[spelling]
    rows = [f"{t:.2f}{separator}{np.sin(t):.6f}{separator}{np.cos(t):.6f}\n".replace(".", decimal) for t in T]
    (tmp_path / "a.csv").write_text(beginning + separator.join(("time", "x", "y")) + "\n" + "".join(rows))
    found = sheets.read(tmp_path / "a.csv", Request(0.02)).behaviors
    assert list(found) == ["x", "y"]
    np.testing.assert_allclose(found["y"]().times, T)
    np.testing.assert_allclose(found["y"]().values[:, 0], np.cos(T), atol=1e-6)


LEFT_OUT = "column 'state' holds no numbers ('running' in row 1): write plain numbers to use them"


def test_columns_of_truth_text_and_units(tmp_path):
    """True and false are numbers; text is left out with a line; a unit that is the same throughout is the unit."""
    table = pd.DataFrame({"time": T, "x": np.sin(T), "lick": T > 10, "state": "running", "unit": "cm/s"})
    for path in (tmp_path / "a.csv", tmp_path / "a.parquet"):
        table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
        found = sheets.read(path, Request(0.02))
        assert list(found.behaviors) == ["x", "lick"] and found.provenance["left_out"] == LEFT_OUT
        assert found.behaviors["x"]().unit == "cm/s"
        np.testing.assert_array_equal(found.behaviors["lick"]().values[:, 0], T > 10)


def test_an_index_with_a_name_is_a_column(tmp_path):
    pd.DataFrame({"time": T, "x": np.sin(T)}).set_index("time").to_parquet(tmp_path / "a.parquet")
    np.testing.assert_allclose(sheets.read(tmp_path / "a.parquet", Request(0.02)).behaviors["x"]().times, T)


def test_spikes_as_sorters_name_them(tmp_path):
    np.savez(tmp_path / "a.npz", lfp=np.ones((30_000, 1), np.int16), lfp_rate=1000, behavior=np.sin(T), behavior_times=T)
    pd.DataFrame({"spike_times": T + 0.001, "cluster_id": np.arange(1500) % 3}).to_csv(tmp_path / "phy.csv", index=False)
    recording = read_recording(tmp_path / "a.npz", Choices(units_file=tmp_path / "phy.csv"))
    assert [len(times) for times in recording.spike_times] == [500, 500, 500]
    np.testing.assert_allclose(recording.spike_times[1][:3], [0.021, 0.081, 0.141])


def test_numbers_of_other_types(tmp_path):
    """Decimals, time differences and numbers with cells that are missing are numbers."""
    ticks = pd.array([None if i == 7 else i for i in range(1500)], dtype="Int64")
    decimals = [decimal.Decimal(f"{x:.4f}") for x in np.sin(T)]
    table = pd.DataFrame({"time": pd.to_timedelta(T, unit="s"), "ticks": ticks, "x": decimals})
    table.to_parquet(tmp_path / "a.parquet")
    found = sheets.read(tmp_path / "a.parquet", Request(0.02)).behaviors
    np.testing.assert_allclose(found["x"]().times, T)
    np.testing.assert_allclose(found["x"]().values[:, 0], np.sin(T), atol=1e-4)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found["ticks"]().values[:, 0])), [7])


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.parquet"])
def test_tables_of_too_many_columns_name_themselves(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sheets, "MOST_COLUMNS", 3)
    table = pd.DataFrame({"time": T, "x": T, "y": T})
    for columns in (table, table.assign(z=T)):
        path = tmp_path / name
        columns.to_parquet(path) if path.suffix == ".parquet" else columns.to_csv(
            path, index=False, sep="\t" if path.suffix == ".tsv" else ","
        )
        if columns is table:
            assert list(sheets.read(path, Request(0.02)).behaviors) == ["x", "y"]
    with pytest.raises(UserError, match=rf"{name}: 4 columns, of at most 3: write those that are needed, one row per sample"):
        sheets.read(path, Request(0.02))


def test_columns_are_found_at_once_in_wide_tables(tmp_path):
    """Reading a series does not go through all the others."""
    table = pd.DataFrame({f"c{index}": T[:2] for index in range(4000)} | {"time": T[:2]})
    table.to_csv(tmp_path / "a.csv", index=False)
    found = sheets.read(tmp_path / "a.csv", Request(0.02)).behaviors
    before = time.process_time()
    assert len([read() for read in found.values()]) == 4000
    assert time.process_time() - before < 12


NO_NUMBERS = {
    "percent": ("{:.2f}%", "'0.00%' in row 1"),
    "words": ("yes", "'yes' in row 1"),
    "hexadecimal": ("0x10", "'0x10' in row 1"),
    "thousands": ('"{:,.1f}"', "'1,000.0' in row 1"),
    "beyond all floats": ("9" * 400, "'" + "9" * 40 + "' in row 1"),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_columns_of_cells_that_are_no_numbers_are_told_with_a_cell(tmp_path, kind):
    """By inspect and by data, of which the second has nothing to decode."""
    spelling, cell = NO_NUMBERS[kind]
    start = 1000 if kind == "thousands" else 0
    np.savez(tmp_path / "a.npz", lfp=np.arange(60_000, dtype=np.int16).reshape(-1, 2) % 701, lfp_rate=1000)
    (tmp_path / "hand.csv").write_text("time,x\n" + "".join(f"{t},{spelling.format(t + start)}\n" for t in T))
    told = f"column 'x' holds no numbers ({cell}): write plain numbers to use them"
    choices = Choices(behavior_file=tmp_path / "hand.csv")
    summary = inspect(tmp_path / "a.npz", choices).summary
    assert f"left out: hand.csv: {told}" in "\n".join(lines(summary))
    with pytest.raises(UserError, match=rf"hand\.csv: no behaviour series: .*; left out: {re.escape(told)}"):
        read_recording(tmp_path / "a.npz", choices)


def test_columns_that_are_left_out_are_told_beside_others(tmp_path):
    np.savez(tmp_path / "a.npz", lfp=np.arange(60_000, dtype=np.int16).reshape(-1, 2) % 701, lfp_rate=1000)
    table = pd.DataFrame({"time": T, "x": np.sin(T)} | {f"label{index}": "left" for index in range(10)})
    table.to_csv(tmp_path / "hand.csv", index=False)
    recording = read_recording(tmp_path / "a.npz", Choices(behavior_file=tmp_path / "hand.csv"))
    told = recording.provenance["left_out"]
    assert (
        told.startswith("hand.csv: column 'label0' holds no numbers ('left' in row 1); column 'label1'") and "; 2 more column(s): " in told
    )
    assert recording.behavior_names == ("x",)


def test_values_that_blanks_separate(tmp_path):
    (tmp_path / "a.csv").write_text("time x\n" + "".join(f"{t:.2f} {np.sin(t):.4f}\n" for t in T))
    found = sheets.read(tmp_path / "a.csv", Request(0.02)).provenance["left_out"]
    assert found == "column 'time x' holds no numbers ('0.00 0.0000' in row 1): separate values by commas"


def test_a_cell_that_is_no_number_is_shown(tmp_path):
    (tmp_path / "a.csv").write_text("time,x\n0,1\n1,2\n2,n/k\n3,4\n")
    with pytest.raises(UserError, match=r"column 'x' holds something that is no number \('n/k' in row 3\): correct it"):
        sheets.read(tmp_path / "a.csv", Request(0.02)).behaviors["x"]()


def test_decimal_commas_after_rows_of_whole_numbers(tmp_path):
    rows = "".join(f"{t:g};{np.sin(t):.6g}\n".replace(".", ",") for t in T)
    (tmp_path / "a.csv").write_text("time;x\n" + rows)
    assert rows.startswith("0;0\n")
    found = sheets.read(tmp_path / "a.csv", Request(0.02)).behaviors["x"]()
    np.testing.assert_allclose(found.times, T)
    np.testing.assert_allclose(found.values[:, 0], np.sin(T), atol=1e-5)
    (tmp_path / "b.csv").write_text("time;x\n0;0\n1;1,000\n2;2,500\n3;3,000\n")  # thousands, or decimals: nobody knows
    assert (
        sheets.read(tmp_path / "b.csv", Request(0.02)).provenance["left_out"].startswith("column 'x' holds no numbers ('1,000' in row 2)")
    )


def spikes(path, names, electrodes=None):
    table = {"time": [str(1 + index) for index in range(len(names))], "unit": names} | ({"electrode": electrodes} if electrodes else {})
    path.write_text("\n".join([",".join(table), *(",".join(row) for row in zip(*table.values(), strict=True))]) + "\n")
    return sheets.read(path, Request(0.02))


def test_names_of_units_that_are_one_number(tmp_path):
    for names, electrodes, column in ((["01", "1"], None, "unit"), (["a", "b"], ["7", "007"], "electrode")):
        with pytest.raises(UserError, match=rf"a\.csv: column '{column}': '0+\d' and '\d' are one number: write them alike"):
            spikes(tmp_path / "a.csv", names, electrodes)
    found = spikes(tmp_path / "b.csv", ["10", "2", "2.0", "10"], ["3", "4", "4", "3"]).units()
    assert [list(times) for times in found.times] == [[2, 3], [1, 4]] and found.electrodes == (("4",), ("3",))
    found = spikes(tmp_path / "c.csv", ["a10", "a2", "a10"]).units()
    assert [list(times) for times in found.times] == [[1, 3], [2]]
    assert len(spikes(tmp_path / "d.csv", ["01", "02", "a"]).units().times) == 3


def test_behaviour_in_two_units_is_refused(tmp_path):
    units = np.where(T < 10, "m", "cm")
    pd.DataFrame({"time": T, "x": T, "unit": units}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match=r"a\.csv: column 'unit' holds 'm' and 'cm': a series has one unit: convert its values to one"):
        sheets.read(tmp_path / "a.csv", Request(0.02)).behaviors["x"]()


def test_more_units_than_any_probe_has(tmp_path):
    with pytest.raises(UserError, match=r"a\.csv: 10,001 units, of at most 10,000: does each spike have a number of its own\?"):
        spikes(tmp_path / "a.csv", [str(index) for index in range(10_001)]).units()
