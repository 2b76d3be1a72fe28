"""Values that lie nowhere: HDF5 makes zeros of them.

They are those of a virtual dataset whose source is missing or too short, of storage that ends early, and of chunks that nobody wrote.
"""

from math import ceil, prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from realm_edge.errors import UserError
from realm_edge.readers.hdf5_names import SELF, objects

_NO_END = 1 << 63  # from here on, a bound is that of a selection that grows with the dataset


def check_whole(path: Path) -> None:
    """See that what a file's datasets take from elsewhere is there. Where they lead has been checked before: sources are opened here.

    Raises:
        UserError: some of it is not.
        Exception: h5py raises whatever it stumbles upon in a damaged file.
    """
    with h5py.File(path) as file:
        for item in objects(file):
            if isinstance(item, h5py.Dataset) and item.is_virtual:
                for source in item.virtual_sources():
                    _check_source(path, item.name, source)
            elif isinstance(item, h5py.Dataset) and item.external:
                _check_storage(path, item)


def never_written(data: h5py.Dataset) -> str:
    """What of a dataset was made room for and never written, as by a program that was ended; empty where it is whole.

    HDF5 reads a fill value there. One that is NaN says itself that nothing is known. Files at an address are not looked at: their index of
    chunks lies all over them.
    """
    filled = data.dtype.kind == "f" and np.isnan(data.fillvalue)
    if filled or data.is_virtual or data.external or not data.size or data.file.driver == "fileobj":
        return ""
    if data.chunks is not None:
        wanted, there = prod(ceil(length / chunk) for length, chunk in zip(data.shape, data.chunks, strict=True)), data.id.get_num_chunks()
        return f"{wanted - there} of its {wanted} chunks were never written" if there < wanted else ""
    contiguous = data.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
    return "its values were never written" if contiguous and data.id.get_offset() is None else ""


def _check_source(path: Path, name: str, source: Any) -> None:
    other = path if source.file_name == SELF else _place(path, source.file_name)
    try:
        with h5py.File(other) as file:
            shape = file[source.dset_name].shape
    except (OSError, KeyError, AttributeError, ValueError, RuntimeError):
        shape = None
    if shape is None or not _holds(shape, source):
        what = f"'{source.dset_name}' of '{source.file_name}'"
        raise UserError(f"{path}: {name} takes values from {what}, where they are not: put the file that has them beside this one")


def _holds(shape: tuple[int, ...], source: Any) -> bool:
    """Whether a dataset of this shape has what a source takes of it; one that takes all has no bounds of its own."""
    if source.src_space.get_select_type() == h5py.h5s.SEL_ALL:
        return prod(shape) >= source.vspace.get_select_npoints()
    _, last = source.src_space.get_select_bounds()
    return len(shape) == len(last) and all(at < length or at >= _NO_END for at, length in zip(last, shape, strict=True))


def _check_storage(path: Path, item: h5py.Dataset) -> None:
    left = prod(item.shape or ()) * item.dtype.itemsize
    for name, offset, size in item.external:
        wanted = min(size, left)  # the last may have no limit
        left -= wanted
        other = _place(path, name)
        if other.exists() and other.stat().st_size < offset + wanted:  # of one that is missing HDF5 itself tells
            raise UserError(f"{path}: {item.name} takes {offset + wanted:,} bytes of '{name}', which has fewer: export or copy it again")


def _place(path: Path, name: str) -> Path:
    """Beside the file; of a symbolic link beside what it leads to, too."""
    return next((base / name for base in (path.parent, path.resolve().parent) if (base / name).exists()), path.parent / name)
