"""Arrays of rows that need not be in memory: voltage is read a block of rows at a time, wherever it lies."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK_VALUES = 1 << 21  # rows times channels that are in memory at once: 16 MiB as float64


class Table(Protocol):
    """Rows and columns of which a slice of rows can be had: an array in memory, an HDF5 dataset, or :class:`Rows`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any: ...


class Rows:
    """A table ``(rows, columns)`` whose rows that a function reads; as an array where numpy asks for one."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, read: Callable[[int, int], NDArray]) -> None:
        self.shape, self.dtype, self._read = shape, np.dtype(dtype), read

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> NDArray:
        first, stop, step = part.indices(len(self))
        return self._read(first, max(first, stop))[::step]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=False)


def rows_in_file(file: IO[bytes], offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
    """A C-ordered array in an open file. Rows are read, not mapped: mapped pages would count as this process's memory."""
    return Rows(shape, dtype, partial(_read, file, offset, shape[1:], np.dtype(dtype)))


def rows_at(path: Path, offset: int, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
    """As :func:`rows_in_file`, from a file that is opened for each read: hundreds of tables keep none open, and go to other processes.

    Reading raises OSError where the file is gone, or another one has its name by now.
    """
    return Rows(shape, dtype, partial(_read_anew, path, _which(os.stat(path)), offset, shape[1:], np.dtype(dtype)))


def _read_anew(
    path: Path, which: tuple[int, ...], offset: int, columns: tuple[int, ...], dtype: np.dtype, first: int, stop: int
) -> NDArray:
    with path.open("rb") as file:
        if _which(os.fstat(file.fileno())) != which:
            raise OSError(f"{path}: replaced while it was in use")
        return _read(file, offset, columns, dtype, first, stop)


def _which(file: os.stat_result) -> tuple[int, ...]:
    """Tells a file from one that took its name: files are replaced, never written anew."""
    return file.st_dev, file.st_ino, file.st_size


def _read(file: IO[bytes], offset: int, columns: tuple[int, ...], dtype: np.dtype, first: int, stop: int) -> NDArray:
    block = np.empty((stop - first, *columns), dtype)
    if not block.size:
        return block
    wanted, at = block.data.cast("B"), offset + first * dtype.itemsize * int(np.prod(columns))
    while len(wanted):  # the kernel reads at most 2 GiB at a time
        count = os.preadv(file.fileno(), [wanted], at)
        if not count:
            raise OSError(f"{file.name}: cut short at byte {at}")
        wanted, at = wanted[count:], at + count
    return block


def write_npy(file: IO[bytes], table: Table) -> None:
    """Write a table as ``numpy.save`` writes an array, a block at a time."""
    header = {"descr": np.lib.format.dtype_to_descr(table.dtype), "fortran_order": False, "shape": tuple(table.shape)}
    np.lib.format.write_array_header_1_0(file, header)
    if not table.shape:
        file.write(np.asarray(table).tobytes())
        return
    for block in blocks(table):
        file.write(np.ascontiguousarray(block, table.dtype).data)


def blocks(table: Table, first: int = 0, stop: int | None = None) -> Iterator[NDArray]:
    """The rows ``[first, stop)``, a block of :data:`BLOCK_VALUES` values at a time."""
    stop = len(table) if stop is None else stop
    rows = block_rows(table.shape)
    return (np.asarray(table[at : min(at + rows, stop)]) for at in range(first, stop, rows))


def block_rows(shape: tuple[int, ...]) -> int:
    """Rows of a block."""
    return max(1, BLOCK_VALUES // max(1, int(np.prod(shape[1:]))))


def spooled(file: IO[bytes], parts: Iterable[NDArray], columns: int, dtype: DTypeLike) -> Rows:
    """Append blocks of rows to a file that is open for reading and writing, and give them as a table."""
    offset, rows = file.seek(0, os.SEEK_END), 0
    for part in parts:
        file.write(np.ascontiguousarray(part, dtype).data)
        rows += len(part)
    file.flush()
    return rows_in_file(file, offset, (rows, columns), dtype)
