"""Tables of behaviour, spike times and intervals, as programs write them."""

import decimal
import time

import numpy as np
import pandas as pd
import pytest

from realm_edge.errors import UserError
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


def test_columns_of_truth_text_and_units(tmp_path):
    """True and false are numbers; text is left out with a line; a unit that is the same throughout is the unit."""
    table = pd.DataFrame({"time": T, "x": np.sin(T), "lick": T > 10, "state": "running", "unit": "cm/s"})
    for path in (tmp_path / "a.csv", tmp_path / "a.parquet"):
        table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path)
        found = sheets.read(path, Request(0.02))
        assert list(found.behaviors) == ["x", "lick"] and found.provenance["left_out"] == "column(s) state: not numbers"
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
