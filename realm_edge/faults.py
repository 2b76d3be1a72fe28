"""Faults of the machine in one line: a full disk, a quota, rights, names that are too long, memory that is used up."""

import errno
import os
import shutil
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path

from realm_edge.errors import UserError
from realm_edge.files import cache_folder, working_directory

_KEPT = "what is finished is kept, and the same command goes on from there"
_FULL = f"free some, or {{elsewhere}}; {_KEPT}"
_RIGHTS = "change its rights, or {elsewhere}"
_REMEDIES = {
    errno.ENOSPC: f"no space is left there: {_FULL}",
    errno.EDQUOT: f"your quota is used up there: {_FULL}",
    errno.EFBIG: f"the file would be larger than this system allows: raise the limit (ulimit -f), or {{elsewhere}}; {_KEPT}",
    errno.EROFS: "the place is read-only: {elsewhere}",
    errno.EACCES: f"permission denied: {_RIGHTS}",
    errno.EPERM: f"not permitted: {_RIGHTS}",
    errno.ENOENT: "no such file or directory: name one that is there, or {elsewhere}",
    errno.EEXIST: "a file lies where a directory is needed: move it away, or {elsewhere}",
    errno.EISDIR: "a directory lies where a file is needed: move it away, or {elsewhere}",
    errno.ENOTDIR: "a part of the path is no directory: move it away, or {elsewhere}",
    errno.ENAMETOOLONG: "the name is longer than the file system allows: use a shorter one",
    errno.EMFILE: f"too many open files: raise the limit (ulimit -n); {_KEPT}",
    errno.EIO: f"the device failed: look at its log (dmesg), or {{elsewhere}}; {_KEPT}",
}
_OPTIONS = ("--out", "TMPDIR", "XDG_CACHE_HOME")  # that name places
# Closing a file that could not be written fails once more, with an error of its own: these lie behind it.
_BEHIND = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_FULL_PLACES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNNAMED = "a temporary file"
_SCARCE = 1 << 20  # bytes; a place with less is full


def fault(error: BaseException | None) -> OSError | MemoryError | None:
    """The fault of the machine that an exception is, or that lies behind it; None where it is a bug."""
    if isinstance(error, OSError | MemoryError):
        return error
    if isinstance(error, RuntimeError) and ("allocate memory" in str(error) or "out of memory" in str(error)):  # torch's
        return MemoryError()
    while error is not None:
        if isinstance(error, OSError) and error.errno in _BEHIND:
            return error
        error = error.__cause__ or error.__context__
    return None


def told(error: OSError | MemoryError) -> str:
    """One line: where, what, and what to do."""
    if isinstance(error, MemoryError):
        return f"memory is used up: end other programs, or lower the sizes, batch or window_bins in --config; {_KEPT}"
    named = error.filename2 if error.errno in _FULL_PLACES and error.filename2 is not None else error.filename  # of a copy, where it goes
    if named is None and error.errno == errno.ENOENT:
        try:
            working_directory()
        except UserError as gone:
            return str(gone)
    where = str(named) if named is not None else _place(error)
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is not None:
        return f"{where}: {remedy.format(elsewhere=_elsewhere(where))}"
    return f"{where}: {error.strerror or ' '.join(str(error).split()) or type(error).__name__}"


def _elsewhere(where: str) -> str:
    """What names another place; first what named this one."""
    of_tempfile = tuple(f"{tempfile.gettempdir()}{os.sep}{prefix}" for prefix in ("realm-edge-", "tmp"))
    of_cache = any(where == f"{_UNNAMED} in {cache}" or where.startswith(f"{cache}{os.sep}") for cache in _caches())
    if where.startswith(of_tempfile) or (where.startswith(_UNNAMED) and not of_cache):
        first = "TMPDIR"
    else:
        first = "XDG_CACHE_HOME" if of_cache else "--out"
    *others, last = [first, *(option for option in _OPTIONS if option != first)]
    return f"name another place with {', '.join(others)} or {last}"


def _place(error: OSError) -> str:
    """Where a file without a name lies."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)] or [""]
    if frames[-1] == "click.utils":  # click.echo
        return "standard output"
    if frames[-1].startswith("rich."):  # progress
        return "standard error"
    places = _temporary()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        places = [place for place in places if shutil.disk_usage(place).free < _SCARCE] or places
    elif error.errno in (errno.EROFS, errno.EACCES):
        places = [place for place in places if not os.access(place, os.W_OK)] or places
    return f"{_UNNAMED} in " + " or ".join(str(place) for place in places) if places else "a file without a name"


def _temporary() -> list[Path]:
    """The directories that files without a name are made in; Python passes over a TMPDIR that it cannot write to, compilers do not."""
    found = [Path(os.environ["TMPDIR"])] if os.environ.get("TMPDIR") else []
    with suppress(OSError):  # there is none
        found.append(Path(tempfile.gettempdir()))
    return [place for place in dict.fromkeys((*found, *_caches(), Path("/dev/shm"))) if place.is_dir()]


def _caches() -> list[Path]:
    """Where realm-edge and its compiler keep what they made, as far as it is there."""
    try:
        above = cache_folder().parent
    except UserError:
        return []
    return [next(place for place in (above, *above.parents) if place.is_dir())]
