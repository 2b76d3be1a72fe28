"""The other files that an HDF5 file names, wherever in it: also in what no group lists, and references alone lead to."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import h5py
import numpy as np

from realm_edge.errors import UserError

SELF = "."  # the file itself, as virtual datasets and Zarr's links name it
Object = Any  # a group, dataset or type of h5py, which has no types of its own


def names_in(file: h5py.File, label: str) -> Iterator[str]:
    """Names of the files of external links, external storage and virtual datasets, as they are stored.

    Raises:
        UserError: a virtual dataset has a name of which HDF5 would make another.
        Exception: h5py raises whatever it stumbles upon in a damaged file.
    """
    for item in objects(file):
        if isinstance(item, h5py.Group):
            links = (item.get(name, getlink=True) for name in item)
            yield from (link.filename for link in links if isinstance(link, h5py.ExternalLink))
        elif isinstance(item, h5py.Dataset):
            yield from (str(name) for name, _, _ in item.external or ())
            yield from (_plain(str(source.file_name), label) for source in (item.virtual_sources() if item.is_virtual else ()))


def _plain(name: str, label: str) -> str:
    if "%" in name:  # HDF5 puts the number of a block for %b, and % for %%
        raise UserError(f"{label}: it links to '{name}', a name with %: rename that file, and write the virtual dataset anew")
    return name


def objects(file: h5py.File) -> Iterator[Object]:
    """Everything that readers can get to, once each."""
    seen: set[int] = set()
    waiting: list[Iterator[Object]] = [iter([file["/"]])]
    while waiting:
        item = next(waiting[-1], None)
        if item is None:
            waiting.pop()
            continue
        address = int(h5py.h5o.get_info(item.id).addr)
        if address not in seen:  # a group may lie within itself
            seen.add(address)
            yield item
            waiting.append(chain(_members(item), _referenced(item, file)))


def _members(item: Object) -> Iterator[Object]:
    if isinstance(item, h5py.Group):
        yield from (item[name] for name in item if isinstance(item.get(name, getlink=True), h5py.HardLink))


def _referenced(item: Object, file: h5py.File) -> Iterator[Object]:
    """What the references in a dataset and in attributes lead to, of objects and of regions."""
    if isinstance(item, h5py.Dataset) and _holds_references(item.id.get_type()):
        if item.external or item.is_virtual:
            raise ValueError("references that are stored elsewhere")
        yield from _targets(item[()], file)
    for name in item.attrs:
        if _holds_references(item.attrs.get_id(name).get_type()):
            yield from _targets(item.attrs[name], file)


def _targets(value: Any, file: h5py.File) -> Iterator[Object]:
    for reference in _references(value):
        try:
            target = file[reference]
        except Exception:  # it leads nowhere, for readers too
            continue
        yield target


def _holds_references(kind: h5py.h5t.TypeID) -> bool:
    match kind.get_class():
        case h5py.h5t.REFERENCE:
            return True
        case h5py.h5t.COMPOUND:
            return any(_holds_references(kind.get_member_type(index)) for index in range(kind.get_nmembers()))
        case h5py.h5t.ARRAY | h5py.h5t.VLEN:
            return _holds_references(kind.get_super())
    return False


def _references(value: Any) -> Iterator[h5py.Reference]:
    """In a value as h5py reads it: one, an array of them, fields of a table, or lists of different lengths."""
    if isinstance(value, h5py.Reference):
        yield from [value] if value else []
    elif isinstance(value, np.ndarray | np.void) and value.dtype.names:
        yield from chain.from_iterable(_references(value[name]) for name in value.dtype.names)
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        yield from chain.from_iterable(_references(each) for each in value.flat)
