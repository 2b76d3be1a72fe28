"""Recordings at an address: NWB files of an archive such as DANDI, of which only the parts that are needed are fetched."""

import hashlib
import re
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from realm_edge.errors import UserError
from realm_edge.files import sha256_json

if TYPE_CHECKING:
    import h5py

_TIMEOUT_S = 30
_PARTS, _PART_BYTES = 16, 1 << 16  # of a file whose server names no version, that its fingerprint is of


def address_of(path: Path) -> str | None:
    """The address that was given as a path, which knows no double slash; None for a path."""
    text = path.as_posix()
    for scheme in ("https:/", "http:/"):
        if text.lower().startswith(scheme):
            return f"{scheme}/{text[len(scheme) :].lstrip('/')}"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text) and not path.exists():
        raise UserError(f"{text}: addresses are read by https or http: name such a one, or download the file")
    return None


def shown(path: Path) -> str:
    """A path, or an address without what may be secret in it: name and password, and the query of a signed one."""
    address = address_of(path)
    if address is None:
        return str(path)
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def stem_of(address: str) -> str:
    """A name for the recording: the file's, or the asset's where the address ends in ``download/``."""
    parts = [part for part in unquote(urlsplit(address).path).split("/") if part and part != "download"]
    return parts[-1].removesuffix(".nwb") if parts else "recording"


def opened(address: str) -> "h5py.File":
    """The HDF5 file at an address; it is read by ranges of bytes as they are asked for.

    Raises:
        UserError: remfile is not installed, there is no network, no such file, or the server sends whole files only.
    """
    try:
        import h5py
        import remfile
    except ImportError as error:
        raise UserError(f"{shown(Path(address))}: files at an address are read by remfile: pip install 'realm-edge[formats]'") from error
    _part(address, 0, 1)  # remfile tries for long where nobody answers
    try:
        return h5py.File(remfile.File(address), "r")
    except Exception as error:  # requests and remfile raise whatever they stumble upon
        reason = " ".join(str(error).split())[:160]
        label = shown(Path(address))
        raise UserError(f"{label}: cannot be read ({type(error).__name__}: {reason}): check the address and the network") from error


def fingerprint(address: str) -> str:
    """SHA-256, as hex, of the file's size and its entity tag or date, as the server says; of parts of the file where it says neither.

    Raises:
        UserError: there is no network, no such file, or the server sends whole files only.
    """
    said, _ = _part(address, 0, 1)
    version = said.get("ETag") or said.get("Last-Modified")
    if version is None:
        size = int(said["Content-Range"].rpartition("/")[2])
        starts = sorted({size * part // _PARTS for part in range(_PARTS)} | {max(0, size - _PART_BYTES)})
        version = sha256_json([hashlib.sha256(_part(address, start, _PART_BYTES)[1]).hexdigest() for start in starts])
    return sha256_json([said["Content-Range"], version])


def _part(address: str, start: int, size: int) -> tuple[Message, bytes]:
    """What the server says of the file, and some bytes of it."""
    label = shown(Path(address))
    try:
        wanted = {"Range": f"bytes={start}-{start + size - 1}"}
        request = urllib.request.Request(address, headers=wanted)  # signed addresses allow GET alone
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            said: Message = answer.headers
            part = answer.read(size)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UserError(f"{label}: cannot be reached ({error}): check the address and the network") from error
    if not re.fullmatch(r"bytes \d+-\d+/\d+", said.get("Content-Range", "")):
        raise UserError(f"{label}: its server sends whole files only: download it, and name the file")
    return said, part
