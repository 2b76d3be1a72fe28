"""Intan's directories of one file a signal or channel, whose files are not all equally long."""

from pathlib import Path
from typing import Any

from realm_edge.errors import UserError
from realm_edge.readers.neo_flaws import Flaws


def mended(reader: Any, path: Path) -> Flaws:
    """Use as many samples as all files have that are sampled at the amplifiers' rate, the sample numbers (``time.dat``) among them.

    Raises:
        UserError: of a channel there is no file.
    """
    if reader.file_format == "header-attached":
        return Flaws()
    fastest, channels = reader._global_info["sampling_rate"], reader.header["signal_channels"]
    for header in reader.header["signal_streams"]:
        parts, ids = reader._raw_data[str(header["name"])], channels["id"][channels["stream_id"] == header["id"]]
        if isinstance(parts, list) and len(parts) != len(ids):
            there = [Path(str(part.filename)).stem for part in parts]
            lacking = [str(each) for each in ids if not any(file.endswith(str(each)) for file in there)]
            raise UserError(f"{path}: no .dat of {', '.join(lacking) or header['name']} beside it: copy all files again")
    slower = {
        str(header["name"])
        for header in reader.header["signal_streams"]
        if channels["sampling_rate"][channels["stream_id"] == header["id"]][0] < fastest
    }
    whole = {
        name: data if isinstance(data, list) else [data] for name, data in reader._raw_data.items() if name not in slower and len(data)
    }
    lengths = {Path(str(part.filename)).name: len(part) for parts in whole.values() for part in parts}
    samples = min(lengths.values())
    if max(lengths.values()) == samples:
        return Flaws()
    for name, parts in whole.items():
        cut = [part[:samples] for part in parts]
        reader._raw_data[name] = cut if isinstance(reader._raw_data[name], list) else cut[0]
    shortest = min(lengths, key=lengths.__getitem__)
    return Flaws((f"{shortest} has {samples} samples and others {max(lengths.values())}: all are read as far as it goes",))
