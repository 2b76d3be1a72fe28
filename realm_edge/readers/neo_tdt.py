"""TDT's tanks: blocks that lack a file, the index (``.tsq``) held against itself, and samples that the index names and no file has."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realm_edge.errors import UserError
from realm_edge.readers.neo_flaws import Flaws

_NEEDED = (".tbk", ".tdx", ".tev", ".tsq")  # without one of which Neo takes a directory for no block
_SEV = re.compile(r"_([^_]+)_[cC]h(\d+)\.sev$")  # store and channel
_STREAM, _MASK, _STOP = 0x8101, 0xFF0F, b"\x02"
_ROW = np.dtype(
    [
        *(("size", "<i4"), ("type", "<i4"), ("store", "S4"), ("channel", "<u2"), ("code", "<u2")),
        *(("stamp", "<f8"), ("at", "<i8"), ("format", "<i4"), ("rate", "<f4")),
    ]
)


def check(files: Iterable[Path]) -> Flaws:
    """Look for what is missing in the blocks that these files make up.

    Raises:
        UserError: no block has all its files, an index does not fit itself, or blocks differ in a store's rate or number format.
    """
    blocks: dict[Path, dict[str, Path]] = {}
    for file in files:
        blocks.setdefault(file.parent, {})[file.suffix.lower()] = file
    short, left_out, kinds = [], [], {}
    for folder, own in sorted(blocks.items()):
        lacking = [suffix for suffix in _NEEDED if suffix not in own]
        if lacking:
            left_out.append(f"{folder.name}: no {' or '.join(lacking)} in it: copy the block again, all files of it")
            continue
        if not own[".tev"].stat().st_size:
            raise UserError(f"{own['.tev']}: it is empty: copy the block again, or move it out of the tank")
        rows = np.fromfile(own[".tsq"], _ROW)
        if not len(rows) or rows["store"][-1] != _STOP:
            short.append(f"{own['.tsq'].name} does not end with the mark of a block's end: its end is missing")
        kinds[own[".tsq"]] = _stores(rows, own[".tsq"], {match.groups() for file in folder.iterdir() if (match := _SEV.search(file.name))})
    if not kinds:
        raise UserError(f"{sorted(blocks)[0]}: no block of TDT's with all files: {'; '.join(left_out)}")
    first, *others = kinds
    for other in others:
        for store in kinds[first].keys() & kinds[other].keys():
            if kinds[first][store] != kinds[other][store]:
                (rate, form), (rate_2, form_2) = kinds[first][store], kinds[other][store]
                raise UserError(
                    f"{other}: store {store} has {rate_2:g} Hz and number format {form_2}, in {first} {rate:g} Hz and format {form}: "
                    "make a recording of each block"
                )
    return Flaws(tuple(short), tuple(left_out))


def _stores(rows: NDArray, path: Path, files: set[tuple[str, ...]]) -> dict[str, tuple[float, int]]:
    """Rate in Hz and number format of each store of samples, the same for all its rows and channels.

    ``files`` are the store and channel of each ``.sev``.
    """
    streams = rows[(rows["type"] & _MASK) == _STREAM]
    found = {}
    for name in np.unique(streams["store"]):
        store, own = name.decode(errors="replace"), streams[streams["store"] == name]
        kinds = sorted({(float(rate), int(form)) for rate, form in np.unique(own[["rate", "format"]]).tolist()}, reverse=True)
        if len(kinds) > 1:
            raise UserError(f"{path}: store {store} changes its rate or number format within the block: {kinds}: export it in parts")
        channels, counts = np.unique(own["channel"], return_counts=True)
        stamps = own["stamp"][own["channel"] == channels[0]]
        for channel, count in zip(channels, counts, strict=True):
            if count != counts[0]:
                raise UserError(
                    f"{path}: channel {channel} of store {store} has {count} blocks of samples and channel {channels[0]} {counts[0]}: "
                    "the index is damaged or cut short: copy it again, or have TDT's software write it anew"
                )
            if not np.array_equal(own["stamp"][own["channel"] == channel], stamps):
                raise UserError(
                    f"{path}: channels {channels[0]} and {channel} of store {store} have other time stamps: "
                    "the index is damaged: copy it again, or have TDT's software write it anew"
                )
            if (store, str(channel)) not in files and any(store == other for other, _ in files):
                raise UserError(f"{path}: no .sev of channel {channel} of store {store} beside it: copy the block again, all files of it")
        found[store] = kinds[0]
    return found


def mended(reader: Any) -> Flaws:
    """Take out the blocks of samples that the index names and a ``.tev`` or ``.sev`` does not hold for every channel."""
    channels, missing = reader.header["signal_channels"], []
    for segment, index in reader._sigs_index.items():
        for stream, header in enumerate(reader.header["signal_streams"]):
            own = np.flatnonzero(channels["stream_id"] == header["id"]).tolist()
            points = int(reader._sig_sample_per_chunk[stream])
            length = points * reader._sig_dtype_by_group[stream].itemsize
            ends = [reader._sigs_data_buf[segment][each].size - length for each in own]
            there = np.logical_and.reduce(
                [(index[each]["offset"] >= 0) & (index[each]["offset"] <= end) for each, end in zip(own, ends, strict=True)]
            )
            if there.all():
                continue
            index |= {each: index[each][there] for each in own}
            reader._sigs_lengths[segment][stream] = points * int(there.sum())
            seconds = float((~there).sum()) * points / float(channels["sampling_rate"][own[0]])
            missing.append(f"block {segment + 1}: {seconds:.3f} s of {header['name']} are not in its .tev or .sev")
    return Flaws(tuple(missing))
