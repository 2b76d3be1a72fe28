"""Readers of recordings, chosen by the file's suffix."""

from pathlib import Path

from realm_edge.errors import UserError
from realm_edge.files import sha256_file
from realm_edge.readers import npz, nwb
from realm_edge.recording import Recording

_READERS = {".nwb": nwb.read, ".npz": npz.read}


def read_recording(path: Path, behavior: str | None) -> Recording:
    """Read one recording.

    Args:
        path: ``.nwb`` (NWB 2, :mod:`realm_edge.readers.nwb`) or ``.npz`` (:mod:`realm_edge.readers.npz`).
        behavior: name of the behaviour series; None takes the only one there is.

    Raises:
        UserError: missing, unreadable or unsuitable file; the message names it and what would help.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: unknown kind of recording '{path.suffix}': use one of {', '.join(_READERS)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    recording = reader(path, behavior)
    recording.provenance.update(file=str(path), sha256=sha256_file(path))
    return recording
