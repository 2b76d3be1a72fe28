"""Values that lie nowhere: of a virtual dataset whose source is missing or too short, and of storage that ends early, HDF5 makes zeros."""

from math import prod
from pathlib import Path
from typing import Any

import h5py

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
