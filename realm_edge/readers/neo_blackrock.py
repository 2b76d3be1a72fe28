"""Blackrock: which of a recording's files Neo is to open together, and events that end within a packet."""

import struct
from pathlib import Path
from typing import Any

from realm_edge.errors import UserError
from realm_edge.readers.neo_flaws import Flaws

_EVENTS = struct.Struct("<8sBBHII")  # type of file, version (2), flags, bytes of all headers, bytes of a packet


def version(events: Path) -> tuple[int, ...]:
    """Of a ``.nev``."""
    with events.open("rb") as file:
        return tuple(file.read(10)[8:])


def cut_short(events: Path) -> Flaws:
    """Whether a ``.nev`` ends within a packet, which Neo leaves out."""
    with events.open("rb") as file:
        head = file.read(_EVENTS.size)
    if len(head) < _EVENTS.size:
        return Flaws()
    *_, headers, packet = _EVENTS.unpack(head)
    cut = packet and (events.stat().st_size - headers) % packet
    return Flaws((f"{events.name} ends within a packet: its end is missing",) if cut else ())


def one_of_several(error: Exception, files: tuple[Path, ...], named: Path) -> dict[str, Any]:
    """How Neo is to open the ``.nsX`` that was named, where it refuses them together because they pause at other times.

    Raises:
        UserError: none was named.
    """
    if "Segment nb not consistent" not in str(error):
        raise error
    signals = sorted(file for file in files if file.suffix.lower().startswith(".ns"))
    if named not in signals:
        raise UserError(f"{named}: {' and '.join(file.name for file in signals)} pause at other times: name one of them") from error
    return {"nsx_to_load": [int(named.suffix[3:])]}
