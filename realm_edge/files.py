"""Files that are either whole or absent, and their hashes."""

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from realm_edge.errors import UserError

PARTIAL = re.compile(r"^\..+\.partial-(\d+)$")  # as replacing() names them
LONGEST_NAME = 255  # bytes, on every file system in use


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it over ``path`` on success, remove it on any failure (Ctrl-C too).

    The file is on the disk before it takes its name, and the name before this returns: a power cut leaves the old file or the new one.

    Raises:
        OSError: from within the block too, and then it names ``path``.
        UserError: ``path`` is a device.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _spare_devices(path)
    partial = path.with_name(_partial_name(path.name))
    try:
        with naming(path, instead_of=partial):
            yield partial
            to_disk(partial)
            os.replace(partial, path)
            to_disk(path.parent)
    finally:
        with suppress(OSError):  # what went wrong before is what is told
            partial.unlink()


def _spare_devices(path: Path) -> None:
    """A user who may do all would have a file in the place of ``/dev/null``."""
    if os.path.lexists(path) and stat.S_IFMT(path.lstat().st_mode) in (stat.S_IFCHR, stat.S_IFBLK):
        raise UserError(f"{path}: a device: name a file to write")


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """As :func:`replacing`, for a directory: yield an empty one beside ``path`` that takes its place, whole.

    Raises:
        OSError: from within the block too, and then it names ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(_partial_name(path.name))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with naming(path, instead_of=partial):
            partial.mkdir()
            yield partial
            for each in (*sorted(partial.rglob("*")), partial):
                to_disk(each)
            if path.exists():
                shutil.rmtree(path)
            os.replace(partial, path)
            to_disk(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def naming(path: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Name the file in errors of the system that name none, as those of writing to an open one, or that name another.

    Raises:
        OSError: from within the block.
    """
    try:
        yield
    except OSError as error:
        if error.filename in (None, str(instead_of), instead_of):
            error.strerror = error.strerror or str(error)  # of numpy's errors, the text alone
            error.filename = str(path)
        raise


def _partial_name(name: str) -> str:
    """For names that leave no room for more, their hash takes their place."""
    marked = f".{name}.partial-{os.getpid()}"
    if len(os.fsencode(marked)) <= LONGEST_NAME:
        return marked
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()}.partial-{os.getpid()}"


def to_disk(path: Path) -> None:
    """See that a file, or the names in a directory, outlast a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot: then it has nothing to wait for
            raise
    finally:
        os.close(descriptor)


def working_directory() -> str:
    """The current directory.

    Raises:
        UserError: somebody removed it.
    """
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the current directory is gone: change to another one (cd)") from error


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/realm-edge``, by default ``~/.cache/realm-edge``.

    Raises:
        UserError: neither that variable nor a home directory is known, or its name has a line break.
    """
    try:
        above = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise UserError("HOME: there is no home directory to keep a cache in: set HOME, or XDG_CACHE_HOME to a directory") from error
    if not str(above).isprintable():  # the compiler's notes of what it read cannot hold it
        raise UserError(f"{str(above)!r}: its name has a line break, or what nobody can read: set XDG_CACHE_HOME to another directory")
    return above / "realm-edge"


def leftovers(path: Path) -> Iterator[Path]:
    """Files and directories that could not be renamed or removed because the process that was writing them was killed."""
    for candidate in sorted(path.rglob(".*.partial-*")):
        match = PARTIAL.match(candidate.name)
        if match and not _is_alive(int(match[1])):
            yield candidate


def remove_leftovers(path: Path) -> tuple[Path, ...]:
    """Remove :func:`leftovers`; returns what was removed."""
    removed = tuple(leftovers(path))
    for leftover in removed:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    return removed


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state != "Z"  # a zombie has ended: in containers often nobody asks for its status


def read_bytes(path: Path, most: int = -1) -> bytes:
    """Read a regular file, without waiting: opening a FIFO would wait for who writes, and one has no end.

    Args:
        most: bytes that are read; -1 for all.

    Raises:
        OSError: no such file, or no regular one.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        return stream.read(most)


def require_regular(path: Path) -> None:
    """See that a file that is there is a regular one: libraries that open others would wait for ever.

    Raises:
        UserError: it is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: no regular file: put one in its place, or remove it")


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that readers see the old file or the new one, never half of it."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """As :func:`write_bytes`, for UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON; the message names it.
    """
    try:
        return json.loads(read_bytes(path), parse_constant=_finite, parse_float=_finite)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); remove it and rerun the stage that writes it") from error


def _finite(text: str) -> float:
    """A number of JSON, of which ``NaN``, ``Infinity`` and ``1e999`` are none that this project writes."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, as hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
