"""One command at a time writes into a directory: a lock that the system lets go of when its process ends, however it ends."""

import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path

from realm_edge.errors import UserError
from realm_edge.files import naming

LOCK = ".lock"  # in the directory; empty while nobody holds it


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder``, which is made where it is missing, within the block.

    Raises:
        UserError: another process holds it; the message says which, by what command, and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as note:
        who = {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join(["realm-edge", *sys.argv[1:]])}
        with naming(folder / LOCK):
            note.truncate(0)
            note.write(json.dumps(who | {"since": datetime.now().astimezone().isoformat(" ", "seconds")}).encode())
        try:
            yield
        finally:
            note.truncate(0)


def _locked(folder: Path) -> FileIO:
    path = folder / LOCK
    while True:
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):  # what a link names is not ours to empty
            raise UserError(f"{path}: no regular file: remove it, nothing is lost with it")
        note = path.open("a+b", buffering=0)  # closing it has nothing left to write, which could fail
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(note.fileno())):
                return note
        except BlockingIOError:
            note.seek(0)
            said = note.read()
            note.close()
            raise UserError(f"{folder}: {_holder(said)} is writing there: wait until it has ended, or name another --out") from None
        except BaseException:
            note.close()
            raise
        note.close()  # somebody removed the file between opening and locking


def _holder(said: bytes) -> str:
    try:
        who = json.loads(said)
        here = f" on {who['host']}" if who["host"] != socket.gethostname() else ""
        return f"process {who['pid']}{here} ({who['command']}, since {who['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"  # which has not said yet who it is
