"""Other files that a recording leads to: taken where they lie beside it, refused elsewhere.

HDF5 has external links, external storage and virtual datasets, Zarr has links by path: whoever wrote the file chooses whose bytes are
read. Those of files in its own folder belong to the recording and to its fingerprint; any others are refused before anything is read.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from realm_edge.errors import UserError
from realm_edge.files import read_bytes, require_regular
from realm_edge.readers.hdf5_holes import check_whole
from realm_edge.readers.hdf5_names import SELF, names_in


def linked_files(path: Path) -> list[Path]:
    """The other files that an HDF5 file leads to, and those that these lead to, sorted, as far as they are there.

    Raises:
        UserError: one of them lies outside the file's folder, or is not where it should be and HDF5 would find it elsewhere; or a part of
            the file is so damaged that nobody knows where it leads; or one of them, or the file, is no regular file, or lacks values.
    """
    if path.exists():
        require_regular(path)
    found: set[Path] = set()
    new = {path}
    while new:
        at = new.pop()
        names = _names(at)
        for name in names - {SELF}:
            for base in {at.parent, at.resolve().parent}:  # a symbolic link's place, and that of the file itself, where HDF5 looks
                other = base / name
                _check_beside((path.parent, path.resolve().parent), at, name, other)
                if not other.exists():
                    _check_nowhere_else(at, name, base)
                    continue
                require_regular(other)
                if other.resolve() != path.resolve() and other not in found:
                    found.add(other)
                    new.add(other)
        if names:
            with _damage_told(str(at)):
                check_whole(at)
    return sorted(found)


def _check_nowhere_else(at: Path, name: str, base: Path) -> None:
    """Where the named place is empty, HDF5 looks beside the file and where the program runs, for the name and for its last part."""
    last = Path(name).name
    if any(each.exists() for each in (base / last, Path(name), Path(last))):
        raise UserError(f"{at}: it links to '{name}', which is not there: put it there, or correct the link")


def check_zarr(path: Path) -> None:
    """Check that a Zarr directory leads to nothing outside of itself.

    Raises:
        UserError: it does.
    """
    inside = path.resolve()
    for file in path.rglob("*"):
        if not file.resolve().is_relative_to(inside):
            raise UserError(f"{path}: {file.relative_to(path)} is a link to outside of it: copy what it links to in its place")
        if not file.is_dir():
            require_regular(file)
        if file.name in (".zattrs", ".zmetadata", "zarr.json"):
            try:
                attributes = json.loads(read_bytes(file))
            except (ValueError, RecursionError, OSError):
                continue  # whoever reads it says so
            for reference in _references(attributes):
                check_within(path, str(file.relative_to(path)), reference)


def check_within(store: Path, place: str, reference: Any) -> None:
    """Check that a link or reference of a Zarr store leads into the store itself: its source is ".", as hdmf-zarr writes it.

    Others need not lead where they seem to: hdmf-zarr takes ".." out of a path before symbolic links are followed, and "::" is an address.

    Raises:
        UserError: it leads elsewhere, or may.
    """
    if not isinstance(reference, dict) or reference.get("source") == SELF:
        return
    name = str(reference.get("source", reference.get("path")))  # without a source, hdmf-zarr takes the path for one
    raise UserError(f"{store}: {place}: it links to '{name:.200}', which is not in this store: it was not read; copy it into the store")


def check_oebin(path: Path) -> None:
    """Check that a ``structure.oebin`` of Open Ephys names folders below its own.

    Raises:
        UserError: it does not, or is no JSON.
    """
    try:
        said = json.loads(read_bytes(path))
        parts = [part for kind in ("continuous", "events", "spikes") for part in said.get(kind) or []]
        names = [str(part.get("folder_name", part.get("folder", ""))) for part in parts]
    except (ValueError, RecursionError, AttributeError, TypeError, OSError) as error:
        raise UserError(f"{path}: not readable as JSON of Open Ephys ({type(error).__name__}): copy the recording again") from error
    for name in names:
        for kind in ("continuous", "events", "spikes"):
            _check_beside((path.parent,), path, name, path.parent / kind / name)


def _check_beside(folders: Sequence[Path], at: Path, name: str, other: Path) -> None:
    if not any(other.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise UserError(f"{at}: it links to '{name}', which does not lie beside it: it was not read; put that file beside this one")


def check_alone(file: h5py.File, label: str) -> None:
    """Check that an open HDF5 file, which lies beside nothing, leads to no other.

    Raises:
        UserError: it does, or a part of it is damaged.
    """
    for name in sorted(_names_of(file, label) - {SELF}):
        raise UserError(f"{label}: it links to '{name}', and what lies at an address links to nothing: download both, and name the file")


def _names(path: Path) -> set[str]:
    """Of files that an HDF5 file names; none where it cannot be opened, of which whoever reads it tells."""
    try:
        file = h5py.File(path)
    except OSError:
        return set()
    with file:
        return _names_of(file, str(path))


def _names_of(file: h5py.File, label: str) -> set[str]:
    with _damage_told(label):
        return set(names_in(file, label))


@contextmanager
def _damage_told(label: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # h5py raises whatever it stumbles upon; readers may get where this did not
        reason = " ".join(str(error).split())[:100]
        raise UserError(
            f"{label}: damaged, so that nobody knows which files it leads to ({reason}): export or download it again"
        ) from error


def _references(value: Any, is_link: bool = False) -> Iterator[dict]:
    """Links and references among Zarr's attributes, as hdmf-zarr writes them."""
    if isinstance(value, dict):
        if is_link or {"source", "path"} <= value.keys():
            yield value
        for key, each in value.items():
            yield from _references(each, key == "zarr_link" or (key == "value" and "zarr_dtype" in value))
    elif isinstance(value, list):
        for each in value:
            yield from _references(each, is_link)
