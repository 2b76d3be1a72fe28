"""Files that nobody vouches for are read in a process apart, with limits of time and memory.

Their readers are C code and large libraries: what a damaged file makes them do (a signal, an endless loop, memory without end) then
costs that process, and one line is told. The process stays for the next file, so that its libraries are loaded once.
"""

import atexit
import contextlib
import ctypes
import io
import json
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from realm_edge.errors import UserError
from realm_edge.faults import told
from realm_edge.files import working_directory
from realm_edge.interrupt import Ended, told_to_end
from realm_edge.progress import Progress, Silent
from realm_edge.readers.remote import shown

MEMORY_BYTES = 4 << 30  # of its own; pages of files that are mapped do not count
SECONDS = 25.0  # that reading may take,
BYTES_A_SECOND = 1e6  # and one more for each of these
REMOTE_SECONDS = 3600.0  # where the file lies at an address, and its size is not known
_END_S = 5.0  # that the process has to clean up
_PDEATHSIG = 1  # prctl(2): PR_SET_PDEATHSIG
_SHOWN = 160  # characters of what a library says


def apart(function: str, *arguments: Any, files: Sequence[Path], progress: Progress | None = None) -> Any:
    """Call a function in the process apart.

    Args:
        function: ``"package.module:function"``; what it needs is loaded there and not here.
        arguments: can be pickled; :class:`NOTES` stands for ``progress`` among them.
        files: that are read, for the limit of time and for messages.
        progress: is told what the function notes.

    Returns:
        What the function returns, which goes through JSON.

    Raises:
        UserError: raised by the function; or the process ended by a signal, took too long or too much memory, or something else was raised.
    """
    global _child
    if _child is None:
        _child = _Child()
    try:
        return _child.call(function, arguments, files, progress or Silent())
    except UserError:
        if not _child.idle:
            _forget()
        raise
    except BaseException:  # Ctrl-C and SIGTERM too
        _forget()
        raise


class NOTES:
    """Stands for the progress among the arguments of :func:`apart`."""


class _Child:
    """The process apart, as this one sees it."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from realm_edge.apart import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            start_new_session=True,  # Ctrl-C is for this process to pass on
        )
        self._buffer = b""
        self.idle = True

    def call(self, function: str, arguments: Sequence[Any], files: Sequence[Path], progress: Progress) -> Any:
        label = _label(files)
        until = time.monotonic() + _seconds(files)
        self.idle = False
        try:
            assert self._process.stdin is not None
            pickle.dump((function, arguments, label, working_directory()), self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended(files) from None
        while True:
            line = self._line(until, files)
            if line is None:
                raise self._ended(files)
            kind, value = line
            if kind == "note":
                progress.note(value)
                continue
            self.idle = kind in ("value", "error")
            if kind == "value":
                return value
            raise UserError(value)

    def _line(self, until: float, files: Sequence[Path]) -> tuple[str, Any] | None:
        """What the process says next; None where it has ended."""
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self._process.kill()
                them, one = _words(files)
                late = f"reading {them} did not end within {_seconds(files):.0f} s"
                raise UserError(
                    f"{_label(files)}: {late}: {one} is damaged, or this machine is busy: try again, or export or download it again"
                )
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            if not part:
                return None
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        kind, value = json.loads(line)
        return kind, value

    def _ended(self, files: Sequence[Path]) -> UserError:
        status = self._process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        self._said.seek(max(0, self._said.seek(0, io.SEEK_END) - _SHOWN))
        last = " ".join(self._said.read().decode(errors="replace").split())
        them, one = _words(files)
        said = f" ({last})" if last else ""
        return UserError(f"{_label(files)}: the process that read {them} ended {how}{said}: {one} is damaged: export it again")

    def end(self) -> None:
        """Let it clean up for a moment, unless it has nothing to."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        (self._process.kill if self.idle else self._process.terminate)()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()


_child: _Child | None = None


def _forget() -> None:
    global _child
    child, _child = _child, None
    if child is not None:
        child.end()


atexit.register(_forget)


def _label(files: Sequence[Path]) -> str:
    """All of them: nobody knows which one it was."""
    return ", ".join(shown(file) for file in files)


def _words(files: Sequence[Path]) -> tuple[str, str]:
    return ("it", "it") if len(files) == 1 else ("them", "one of them")


def _seconds(files: Sequence[Path]) -> float:
    sizes = [_size(file) for file in files]
    return SECONDS + sum(REMOTE_SECONDS if size is None else size / BYTES_A_SECOND for size in sizes)


def _size(path: Path) -> int | None:
    """Bytes of a file, or of all in a directory; None of what is neither."""
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size if path.exists() else None
    except OSError:
        return None


class _Notes(Silent):
    """Progress of the process apart: notes go to the other one."""

    def __init__(self, answers: IO[str]) -> None:
        self._answers = answers

    def note(self, text: str) -> None:
        _say(self._answers, "note", text)


def _say(answers: IO[str], kind: str, value: Any) -> None:
    answers.write(json.dumps([kind, value], allow_nan=False) + "\n")
    answers.flush()


def serve() -> None:
    """Be the process apart: calls come on standard input, answers go to standard output; ends with the process that started it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    with contextlib.suppress(EOFError, Ended), told_to_end():
        while True:
            function, arguments, label, folder = pickle.load(sys.stdin.buffer)
            os.chdir(folder)
            if not _answered(answers, function, arguments, label):
                break


def _answered(answers: IO[str], function: str, arguments: Sequence[Any], label: str) -> bool:
    """Answer a call; whether the process can be trusted with another one."""
    module, _, name = function.partition(":")
    try:
        value = getattr(import_module(module), name)(*(_Notes(answers) if each is NOTES else each for each in arguments))
        _say(answers, "value", value)
        return True
    except UserError as error:
        _say(answers, "error", str(error))
        return True
    except MemoryError:
        _say(
            answers,
            "fault",
            f"{label}: reading it takes more than {MEMORY_BYTES >> 30} GiB of memory: store it without compression, or in parts",
        )
    except OSError as error:
        place = f"{label}: " if error.filename is None else ""
        _say(answers, "fault", place + told(error))
    except Exception as error:
        reason = " ".join(str(error).split())[:_SHOWN]
        _say(answers, "fault", f"{label}: not readable ({type(error).__name__}: {reason}): export it again, or report it with the file")
    return False
