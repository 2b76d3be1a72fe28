"""Plexon's fragments, mended where Neo miscounts them, and files that end within one."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from realm_edge.errors import UserError
from realm_edge.readers.neo_flaws import Flaws


def mended(reader: Any, path: Path) -> Flaws:
    """Count the samples before each fragment, of those alone that the file holds whole for every channel of a stream.

    Neo 0.14.6 takes all fragments for equally long, leaves zeros in place of a channel's last one, which an empty one behind it
    prevents, and reads beyond the file's end what is nowhere.

    Raises:
        UserError: channels of one stream have other fragments.
    """
    end = reader._memmap.size
    missing = False
    for channel, fragments in reader._data_blocks[5].items():
        whole = np.concatenate([fragments, np.zeros(1, fragments.dtype)])
        there = np.clip((end - whole["pos"]) // 2 * 2, 0, whole["size"])  # bytes of whole samples
        missing |= bool((there < whole["size"]).any())
        whole["size"] = there
        whole["cumsum"][1:] = np.cumsum(there[:-1] // 2)
        reader._data_blocks[5][channel] = whole
    channels = reader.header["signal_channels"]
    for stream, samples in reader._stream_id_samples.items() if len(channels) else ():
        ids = [int(each) for each in channels["id"][channels["stream_id"] == stream]]
        tables = [reader._data_blocks[5][each] for each in ids]
        for one, table in zip(ids, tables, strict=True):
            if any(not np.array_equal(table[each][:-1], tables[0][each][:-1]) for each in ("timestamp", "cumsum")):
                raise UserError(
                    f"{path}: channels {ids[0]} and {one} of stream {stream} were not recorded at the same times: "
                    "export those that were to a file of their own"
                )
        reader._stream_id_samples[stream] = min(samples, *(int(table["size"].sum()) // 2 for table in tables))
    return Flaws((f"{path.name} ends within a block of samples: its end is missing",) if missing else ())


def ends_early(path: Path) -> bool:
    """Whether a file ends within a block; one look at each block's header, which Neo refuses to go past."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(156)
        if len(head) < 156:
            return True
        spikes, events, signals = struct.unpack_from("<3i", head, 140)
        at = 7504 + 1020 * spikes + 296 * (events + signals)
        while 0 < at < size:
            file.seek(at + 12)
            counts = file.read(4)
            if len(counts) < 4:
                return True
            waveforms, words = struct.unpack("<2H", counts)
            at += 16 + 2 * waveforms * words
    return at > size
