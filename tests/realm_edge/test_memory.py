"""Voltage is never in memory as a whole: what a recording needs does not grow with it."""

import tempfile
import tracemalloc

import h5py
import numpy as np
import pytest

from realm_edge import frontend, table
from realm_edge.inspection import convert
from realm_edge.numpy_files import Npz, rows_of_npy
from realm_edge.preparation import prepare, prepare_in
from realm_edge.readers import cache
from realm_edge.readers.choices import Choices
from realm_edge.readers.reading import read_recording
from realm_edge.session import load, save
from realm_edge.settings import SIX_BANDS, Settings
from realm_edge.table import Rows, blocks, write_npy
from tests.nwb_file import recording_file, velocity

pytestmark = pytest.mark.filterwarnings("ignore:The linked table for DynamicTableRegion")

SETTINGS = Settings(lfp=SIX_BANDS, window_bins=26)
CHANNELS, RATE = 32, 2000.0


def long_file(path, seconds, dtype):
    """LFP that is written a piece at a time."""
    recording_file(path, np.zeros((2, CHANNELS), dtype), velocity(data=np.sin(np.arange(50 * seconds) / 50), rate=50.0), rate=RATE)
    with h5py.File(path, "a") as file:
        series = file["processing/ecephys/LFP/lfp"]
        attributes = dict(series["data"].attrs)
        del series["data"]
        data = series.create_dataset("data", (round(seconds * RATE), CHANNELS), dtype, chunks=(4096, CHANNELS))
        data.attrs.update(attributes)
        rng = np.random.default_rng(0)
        for first in range(0, len(data), 1 << 14):
            x = rng.normal(0, 300, (min(1 << 14, len(data) - first), CHANNELS))
            data[first : first + len(x)] = np.rint(x) if np.dtype(dtype).kind == "i" else x * 1e-6
    return path


def peak(work, *arguments):
    """Most bytes that Python and numpy held at once."""
    tracemalloc.start()
    try:
        work(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def prepared(path, out):
    with tempfile.TemporaryFile(dir=out.parent) as spool:
        save(prepare_in(spool, read_recording(path), SETTINGS, heldout=True), out)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("work", ["data", "convert"])
def test_a_recording_four_times_as_long_needs_no_more(tmp_path, monkeypatch, dtype, work):
    for module in (table, frontend):
        monkeypatch.setattr(module, "BLOCK_VALUES", 1 << 18)
    monkeypatch.setattr("realm_edge.resample.BLOCK_VALUES", 1 << 18)
    monkeypatch.setattr(cache, "_CHUNK", 1 << 18)  # bytes that are hashed at once
    seconds, need = (25, 100), []
    for length in seconds:
        path = long_file(tmp_path / f"{length}.nwb", length, dtype)
        if work == "data":
            need.append(peak(prepared, path, tmp_path / f"{length}.npz"))
        else:
            need.append(peak(convert, path, tmp_path / f"{length}.realm", SETTINGS))
    size = seconds[1] * RATE * CHANNELS * np.dtype(dtype).itemsize
    assert need[1] < 1.1 * need[0] and need[1] < size, (need, size)


def test_the_session_is_the_one_that_is_made_in_memory(tmp_path, monkeypatch):
    path = long_file(tmp_path / "a.nwb", 30, "float32")
    whole = prepare(read_recording(path), SETTINGS, heldout=True)
    for module in (table, frontend):
        monkeypatch.setattr(module, "BLOCK_VALUES", 5000)
    monkeypatch.setattr("realm_edge.resample.BLOCK_VALUES", 5000)
    prepared(path, tmp_path / "s.npz")
    loaded = load(tmp_path / "s.npz")
    for name in ("lfp", "features", "targets", "good_channels", "starts"):
        np.testing.assert_array_equal(np.asarray(getattr(loaded, name)), np.asarray(getattr(whole, name)))
    save(whole, tmp_path / "w.npz")
    assert (tmp_path / "w.npz").read_bytes() == (tmp_path / "s.npz").read_bytes()


def test_a_slice_of_a_converted_recording_reads_that_slice(tmp_path):
    path = long_file(tmp_path / "a.nwb", 30, "int16")
    convert(path, tmp_path / "a.realm", SETTINGS)
    direct, stored = read_recording(path), read_recording(tmp_path / "a.realm", Choices(("velocity",)))
    assert peak(lambda: stored.lfp[1000:1100]) < 20 * 100 * CHANNELS
    np.testing.assert_array_equal(stored.lfp[1000:1100], direct.lfp[1000:1100])


X = np.arange(60, dtype=np.int32).reshape(20, 3)


def test_rows_of_files_are_slices_of_arrays(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", other=np.zeros(7), x=X, fortran=np.asfortranarray(X), flat=X[:, 0])
    np.savez_compressed(tmp_path / "small.npz", x=X)
    archive = Npz(tmp_path / "x.npz")
    for rows in (rows_of_npy(tmp_path / "x.npy"), archive.rows("x")):
        assert isinstance(rows, Rows) and rows.shape == X.shape and rows.dtype == X.dtype and len(rows) == 20
        for part in (slice(None), slice(3, 9), slice(-4, None), slice(9, 3), slice(0, 20, 7), slice(15, 99)):
            np.testing.assert_array_equal(rows[part], X[part])
        np.testing.assert_array_equal(np.concatenate(list(blocks(rows, 5, 17))), X[5:17])
        np.testing.assert_array_equal(np.asarray(rows, np.float32), X.astype(np.float32))
    np.testing.assert_array_equal(archive.rows("flat")[2:5], X[2:5, 0])
    for whole in (archive.rows("fortran"), Npz(tmp_path / "small.npz").rows("x")):
        assert isinstance(whole, np.ndarray)
        np.testing.assert_array_equal(whole, X)
    with pytest.raises(KeyError):
        archive.rows("y")
    np.save(tmp_path / "f.npy", np.asfortranarray(X))
    with pytest.raises(ValueError, match="Fortran"):
        rows_of_npy(tmp_path / "f.npy")
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-8])
    with pytest.raises(ValueError, match=r"an array of shape \(20, 3\) takes 368 bytes, and there are 360"):
        rows_of_npy(tmp_path / "cut.npy")
    rows = rows_of_npy(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(content[:-8])  # while it is open
    with pytest.raises(OSError, match=r"x\.npy: cut short at byte"):
        rows[:]


@pytest.mark.parametrize("array", [X, X[:, 0], X.astype(">f4"), np.array("text"), np.zeros((0, 3)), np.asfortranarray(X)])
def test_tables_are_written_as_numpy_writes_them(tmp_path, array):
    with (tmp_path / "x.npy").open("wb") as file:
        write_npy(file, array)
    np.save(tmp_path / "y.npy", np.array(array, order="C"))
    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "y.npy").read_bytes()
