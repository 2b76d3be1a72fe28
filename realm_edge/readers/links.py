"""Other files that a recording leads to: taken where they lie beside it, refused elsewhere.

HDF5 has external links, external storage and virtual datasets, Zarr has links by path: whoever wrote the file chooses whose bytes are
read. Those of files in its own folder belong to the recording and to its fingerprint; any others are refused before anything is read.
"""

import json
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py

from realm_edge.errors import UserError

_SELF = "."  # the file itself, as HDF5's virtual datasets and Zarr's links name it


def linked_files(path: Path) -> list[Path]:
    """The other files that an HDF5 file leads to, and those that these lead to, sorted; they need not exist.

    Raises:
        UserError: one of them lies outside the file's folder.
    """
    found: set[Path] = set()
    new = {path}
    while new:
        at = new.pop()
        for name in _names(at):
            other = at.parent / name
            _check_beside(path.parent, at, name, other)
            if not other.exists() and Path(name).exists():  # where HDF5 looks next: as of where the program runs
                raise UserError(f"{at}: it links to '{name}', which is not there beside it: put it there")
            if other.resolve() != path.resolve() and other not in found:
                found.add(other)
                new.add(other)
    return sorted(found)


def check_zarr(path: Path) -> None:
    """Check that a Zarr directory leads to nothing outside of itself.

    Raises:
        UserError: it does.
    """
    inside = path.resolve()
    for file in path.rglob("*"):
        if not file.resolve().is_relative_to(inside):
            raise UserError(f"{path}: {file.relative_to(path)} is a link to outside of it: copy what it links to in its place")
        if file.name in (".zattrs", ".zmetadata", "zarr.json"):
            try:
                attributes = json.loads(file.read_bytes())
            except (ValueError, RecursionError, OSError):
                continue  # whoever reads it says so
            for name in _sources(attributes):
                _check_beside(path, file, name, path / name)


def check_oebin(path: Path) -> None:
    """Check that a ``structure.oebin`` of Open Ephys names folders below its own.

    Raises:
        UserError: it does not, or is no JSON.
    """
    try:
        said = json.loads(path.read_bytes())
        parts = [part for kind in ("continuous", "events", "spikes") for part in said.get(kind) or []]
        names = [str(part.get("folder_name", part.get("folder", ""))) for part in parts]
    except (ValueError, RecursionError, AttributeError, TypeError, OSError) as error:
        raise UserError(f"{path}: not readable as JSON of Open Ephys ({type(error).__name__}): copy the recording again") from error
    for name in names:
        for kind in ("continuous", "events", "spikes"):
            _check_beside(path.parent, path, name, path.parent / kind / name)


def _check_beside(folder: Path, at: Path, name: str, other: Path) -> None:
    if not other.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{at}: it links to '{name}', which does not lie beside it: it was not read; put that file beside this one")


def _names(path: Path) -> set[str]:
    """Of files that an HDF5 file names; none where it cannot be opened, of which whoever reads it tells."""
    try:
        with h5py.File(path) as file:
            return set(_names_in(file)) - {_SELF}
    except OSError:
        return set()


def _names_in(file: h5py.File) -> Iterator[str]:
    """What is damaged is passed over: nobody can read from there either."""
    groups: list[h5py.Group] = [file]
    seen: set[int] = set()
    while groups:
        group = groups.pop()
        for name in _tried(list, group) or ():
            link = _tried(group.get, name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield link.filename
            item = _tried(operator.getitem, group, name) if isinstance(link, h5py.HardLink) else None
            if isinstance(item, h5py.Dataset):
                yield from _tried(_parts_of, item) or ()
            elif isinstance(item, h5py.Group):
                address = _tried(_address, item)
                if address is not None and address not in seen:  # a group may lie within itself
                    seen.add(address)
                    groups.append(item)


def _parts_of(dataset: h5py.Dataset) -> list[str]:
    """Files that values of a dataset lie in."""
    virtual = dataset.virtual_sources() if dataset.is_virtual else ()
    return [*(str(name) for name, _, _ in dataset.external or ()), *(str(source.file_name) for source in virtual)]


def _address(group: h5py.Group) -> int:
    return int(h5py.h5o.get_info(group.id).addr)


def _tried(look: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return look(*arguments, **named)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, UnicodeError):  # what h5py raises on damaged files
        return None


def _sources(value: Any) -> Iterator[str]:
    """Of links and references among Zarr's attributes, as hdmf-zarr writes them, the paths of what they lead into."""
    if isinstance(value, dict):
        source = value.get("source")
        if isinstance(source, str) and "path" in value and source != _SELF:
            yield source
        for each in value.values():
            yield from _sources(each)
    elif isinstance(value, list):
        for each in value:
            yield from _sources(each)
