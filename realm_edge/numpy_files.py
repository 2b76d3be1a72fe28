"""The one loader of NumPy's files: ``.npy`` and ``.npz``, of which nothing is believed that does not fit the file.

A shape must take exactly the bytes that are there, before any memory is taken for it; types are plain numbers, truth and text, never
objects; members of an archive are stored or deflated, and not encrypted. Rows of what is stored plainly can be read a block at a time.
"""

import os
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from realm_edge.table import Rows, rows_at, rows_in_file

_KINDS = "biufcSU"  # of types: numbers, truth and text
_MOST_DIMS = 8


@dataclass(frozen=True)
class _Array:
    """What a ``.npy`` says of itself."""

    shape: tuple[int, ...]
    fortran: bool  # order, where there is more than one dimension
    dtype: np.dtype
    header: int  # bytes before the values

    @property
    def size(self) -> int:
        """Bytes of the values."""
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        return size

    def of(self, content: bytes) -> NDArray:
        """The array of these bytes.

        Raises:
            ValueError: text that no Unicode is.
        """
        if self.dtype.kind == "U" and (np.frombuffer(content, self.dtype.byteorder.replace("|", "=") + "u4") > sys.maxunicode).any():
            raise ValueError("text that is no Unicode")
        return np.frombuffer(content, self.dtype).reshape(self.shape, order="F" if self.fortran else "C").copy()


def rows_of_npy(path: Path) -> Rows:
    """A ``.npy`` file, read a block at a time.

    Raises:
        ValueError: not such a file, one of objects or in Fortran's order, or with other than the bytes that its shape takes.
    """
    file = path.open("rb")
    array = _described(file, os.fstat(file.fileno()).st_size)
    if array.fortran:
        raise ValueError("an array in Fortran's order")
    return rows_in_file(file, array.header, array.shape, array.dtype)


class Npz(Mapping[str, NDArray]):
    """Arrays of an ``.npz``, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        """Look at every array's header.

        Raises:
            ValueError: no such archive, two members of one name, or a member that is no array, encrypted, or not as long as its shape says.
            OSError: no such file.
        """
        self._path = path
        try:
            with zipfile.ZipFile(path) as archive:
                self._entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
                if len(self._entries) != len(archive.infolist()):
                    raise ValueError("two arrays of one name")
                self._arrays = {name: _member(archive, entry) for name, entry in self._entries.items()}
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, zlib.error, EOFError, UnicodeError) as error:
            raise ValueError(str(error) or type(error).__name__) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __getitem__(self, name: str) -> NDArray:
        """An array in memory.

        Raises:
            ValueError: its bytes are damaged.
            KeyError: no such array.
        """
        array = self._arrays[name]
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(self._entries[name]) as file:
                file.read(array.header)
                content = file.read(array.size)
                if len(content) != array.size or file.read(1):  # the last read also holds the whole against its CRC
                    raise ValueError(f"array '{name}' has {len(content)} bytes, not {array.size}")
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError) as error:
            raise ValueError(f"array '{name}': {error}") from error
        return array.of(content)

    def rows(self, name: str, held: bool = True) -> Rows | NDArray:
        """An array whose rows are read a block at a time; in memory where it is compressed or in Fortran's order.

        Args:
            held: the file stays open, and its rows are there whatever becomes of its name; else it is opened for each read
                (:func:`realm_edge.table.rows_at`).

        Raises:
            ValueError: its bytes are damaged.
            KeyError: no such array.
        """
        array, entry = self._arrays[name], self._entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or array.fortran:
            return self[name]
        file = self._path.open("rb")
        file.seek(entry.header_offset + 26)  # APPNOTE.TXT, 4.3.7: lengths of the file name and the extra field of a local header
        lengths = np.frombuffer(file.read(4), "<u2")
        start = entry.header_offset + 30 + int(lengths.sum())
        if len(lengths) != 2 or start + entry.file_size > os.fstat(file.fileno()).st_size:
            raise ValueError(f"array '{name}' is cut short")
        file.seek(start)
        if _described(file, entry.file_size) != array:  # the archive's directory leads elsewhere
            raise ValueError(f"array '{name}' is not where the archive says")
        if held:
            return rows_in_file(file, start + array.header, array.shape, array.dtype)
        file.close()
        return rows_at(self._path, start + array.header, array.shape, array.dtype)


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> _Array:
    if not entry.filename.endswith(".npy"):
        raise ValueError(f"'{entry.filename}' is no array")
    if entry.flag_bits & 1:
        raise ValueError(f"'{entry.filename}' is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"'{entry.filename}' is compressed in a way that numpy does not write")
    with archive.open(entry) as file:
        return _described(file, entry.file_size)


def _described(file: IO[bytes], size: int) -> _Array:
    """The header of a ``.npy`` of ``size`` bytes, at whose start ``file`` is."""
    start = file.tell()
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (zipfile.BadZipFile, zlib.error, OSError):
        raise
    except Exception as error:  # numpy parses the header as Python, and raises whatever that does
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"no array of numpy's ({type(error).__name__}: {reason})") from error
    if dtype.hasobject or dtype.kind not in _KINDS or (dtype.itemsize == 0 and dtype.kind not in "SU"):
        raise ValueError("an array of objects" if dtype.hasobject else f"an array of {dtype}")
    if len(shape) > _MOST_DIMS or any(length < 0 for length in shape):
        raise ValueError(f"an array of shape {shape}"[:100])
    array = _Array(shape, bool(fortran) and len(shape) > 1, dtype, file.tell() - start)
    if array.header + array.size != size:
        raise ValueError(f"an array of shape {shape} takes {array.header + array.size} bytes, and there are {size}"[:160])
    return array
