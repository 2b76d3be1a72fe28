"""Recordings at an address: NWB files of an archive such as DANDI, of which only the parts that are needed are fetched."""

import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from realm_edge.errors import UserError
from realm_edge.files import sha256_json

if TYPE_CHECKING:
    import h5py

_TIMEOUT_S = 30


def address_of(path: Path) -> str | None:
    """The address that was given as a path, which knows no double slash; None for a path."""
    text = path.as_posix()
    for scheme in ("https:/", "http:/"):
        if text.startswith(scheme):
            return f"{scheme}/{text.removeprefix(scheme).lstrip('/')}"
    return None


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
        raise UserError(f"{address}: files at an address are read by remfile: pip install 'realm-edge[formats]'") from error
    _said(address)  # remfile tries for long where nobody answers
    try:
        return h5py.File(remfile.File(address), "r")
    except Exception as error:  # requests and remfile raise whatever they stumble upon
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{address}: cannot be read ({type(error).__name__}: {reason}): check the address and the network") from error


def fingerprint(address: str) -> str:
    """SHA-256, as hex, of what the server says of the file: its size and its entity tag or date. The file itself is not fetched.

    Raises:
        UserError: there is no network, no such file, or the server sends whole files only.
    """
    said = _said(address)
    return sha256_json([said["Content-Range"], said.get("ETag") or said.get("Last-Modified")])


def _said(address: str) -> Message:
    request = urllib.request.Request(address, headers={"Range": "bytes=0-0"})  # signed addresses allow GET alone
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            said: Message = answer.headers
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise UserError(f"{address}: cannot be reached ({error}): check the address and the network") from error
    if "Content-Range" not in said:
        raise UserError(f"{address}: its server sends whole files only: download it, and name the file")
    return said
