"""Opens NWB as Zarr so that nothing is unpickled, and no link or reference leads out of the store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from hdmf_zarr.nwb import NWBZarrIO
from numcodecs.pickles import Pickle
from numcodecs.registry import register_codec

from realm_edge.readers import links

_OF_TEXT = ("vlen-utf8", "vlen-bytes")


class _NoPickle(Pickle):
    """Numcodecs' newer versions refuse as well, unless a variable of the environment says otherwise."""

    def decode(self, buf: Any, out: Any = None) -> Any:
        raise ValueError("pickled values, which are not unpickled")


class _Own(NWBZarrIO):
    """All links and references, of attributes, cells and tables, are resolved here, when they are followed."""

    def resolve_ref(self, zarr_ref: Any) -> Any:
        links.check_within(Path(self.source), "a reference", zarr_ref)
        return super().resolve_ref(zarr_ref)


def opened(path: Path) -> NWBZarrIO:
    """Open a store for reading.

    Raises:
        UserError: it leads to something outside of it.
    """
    register_codec(_NoPickle, Pickle.codec_id)
    links.check_zarr(path)
    _check_cells(path)
    return _Own(str(path), mode="r", load_namespaces=True)


def _check_cells(path: Path) -> None:
    """References in cells lie in chunks, coded as JSON."""
    store = str(path)
    root = zarr.open_consolidated(store, mode="r") if (path / ".zmetadata").exists() else zarr.open(store, mode="r")
    for place, array in _arrays(root):
        codecs = {codec.codec_id for codec in array.filters or ()}
        if not array.dtype.hasobject or codecs & {Pickle.codec_id, *_OF_TEXT}:
            continue
        try:
            cells = list(_cells(array[...]))
        except Exception:  # broken ones lead nowhere
            continue
        for cell in cells:
            links.check_within(path, place, cell)


def _arrays(item: Any) -> Iterator[tuple[str, zarr.Array]]:
    if isinstance(item, zarr.Array):
        yield item.path, item
    else:
        for _, each in (*item.groups(), *item.arrays()):
            yield from _arrays(each)


def _cells(value: Any) -> Iterator[dict]:
    if isinstance(value, dict) and ("source" in value or "path" in value):
        yield value
    elif isinstance(value, np.ndarray | np.void | list | tuple):
        for each in value.tolist() if isinstance(value, np.ndarray | np.void) else value:
            yield from _cells(each)
