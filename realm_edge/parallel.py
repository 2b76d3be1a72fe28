"""Calls in several processes, side by side, that end with this one.

A call goes on there as it would here: it tells its progress, and it is interrupted where this process is, so that a training ends behind
the step in progress.
"""

import _thread
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any, TypeVar

from realm_edge.errors import UserError
from realm_edge.interrupt import ENDING, Ended, interrupts_held_back, told_to_end
from realm_edge.progress import Item, Progress

Result = TypeVar("Result")
Call = Callable[[Progress], Result]

NOTE_SECONDS = 0.1  # between two notes that are told; a terminal shows no more
_END = b""  # the order to end; others are pickles, which are longer
_BYTES = 1 << 16  # read at a time


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def parallel(calls: Sequence[Call[Result]], workers: int, progress: Progress) -> Generator[tuple[int, Result], None, None]:
    """Perform calls in several processes, in their order, as processes become free.

    Where this process is interrupted, or a call fails, the others are interrupted too, and have ended when the exception is raised. A
    second interruption kills them. Where this process is killed, they end at once.

    Args:
        calls: can be pickled, and so can what they return; what several of them refer to travels once a process.
        workers: processes, of which no more than calls are started; with 1 there is none beside this one.
        progress: shows what the calls say and track.

    Yields:
        Index among ``calls`` and what it returned, in the order in which they end.

    Raises:
        UserError: a process was killed.
        Exception: what a call raised, with its traceback there as the cause.
    """
    workers = min(workers, len(calls))
    if workers <= 1:
        for at, call in enumerate(calls):
            yield at, call(progress)
        return
    content, waiting, team = pickle.dumps(calls), deque(range(len(calls))), list[_Process]()
    try:
        with interrupts_held_back(), _signals_blocked():
            for _ in range(workers):
                team.append(_Process(progress.beside()))
        for one in team:  # they start at once, and each is waited for until it reads
            one.give(content)
        busy = {one.answers: one for one in team}
        for one in team:
            one.begin(waiting.popleft())
        while busy:
            for answers in wait(list(busy)):
                one = busy[answers]  # type: ignore[index]
                done = one.hear()
                if done is None:
                    continue
                at = one.at
                if waiting:
                    one.begin(waiting.popleft())
                else:
                    del busy[one.answers]
                yield at, done[0]
    finally:
        _end(team)


def _end(team: "Sequence[_Process]") -> None:
    try:
        for one in team:
            one.tell_to_end()
        for one in team:
            one.wait()
    except BaseException:  # a second interruption
        for one in team:
            one.kill()
        for one in team:
            one.wait()
        raise


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start processes that do not hear the signals, which reach the whole group: they inherit the mask, and this process tells them."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Process:
    """One of the processes, as this one sees it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tracked: dict[int, _Tracked] = {}
        self._ready = False  # it has the calls
        self.at = -1  # index of its call
        self.answers, theirs = Pipe()
        with theirs:
            # multiprocessing would import a script that calls this a second time, and run it again where it is not made for that.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from realm_edge.parallel import serve; serve({theirs.fileno()})"],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def give(self, content: bytes) -> None:
        """Hand over the calls."""
        self._send(content)
        self._ready = True

    def begin(self, at: int) -> None:
        """Have it perform a call."""
        self.at = at
        self._send(pickle.dumps(at))

    def _send(self, order: bytes) -> None:
        try:
            self.answers.send_bytes(order)
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended() from None

    def hear(self) -> tuple[Any] | None:
        """Show what it tells; what its call returned, once it has, as a tuple."""
        try:
            kind, *value = self.answers.recv()
        except (EOFError, ConnectionResetError):
            raise self._ended() from None
        match kind:
            case "returned":
                return (value[0],)
            case "raised":
                error, there = value
                raise error from _ThereError(there)
            case "say":
                self._progress.say(*value)
            case "note":
                self._progress.note(*value)
            case "track":
                number, *shown = value
                self._tracked[number] = _Tracked(self._progress, *shown)
            case "item":
                self._tracked[value[0]].next()
            case "tracked":
                self._tracked.pop(value[0]).end(whole=value[1])
        return None

    def _ended(self) -> UserError:
        status = self._process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return UserError(
            f"a process that trained beside this one ended {how}, as where memory is used up: "
            "the same command goes on from there, with --workers 1 in less memory"
        )

    def tell_to_end(self) -> None:
        """It ends when the call in progress has heard of it; at once where it does not know its calls yet."""
        if not self._ready:
            self.kill()
        with suppress(OSError):
            self.answers.send_bytes(_END)

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        """Until it has ended; what it still tells is lost."""
        with suppress(OSError):
            while os.read(self.answers.fileno(), _BYTES):
                pass
        self._process.wait()
        self.answers.close()
        for tracked in self._tracked.values():
            tracked.end(whole=False)
        self._tracked.clear()


class _ThereError(Exception):
    """The traceback of another process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Tracked:
    """What another process tracks, as items that come when it says so."""

    def __init__(self, progress: Progress, description: str, total: int | None, estimate: bool) -> None:
        self._over = False
        self._shown = self._track(progress, description, total, estimate)

    def _track(self, progress: Progress, description: str, total: int | None, estimate: bool) -> Generator[None, None, None]:
        yield from progress.track(self._items(), description, total, estimate)

    def _items(self) -> Iterator[None]:
        while not self._over:
            yield

    def next(self) -> None:
        next(self._shown)

    def end(self, whole: bool) -> None:
        """All items have come, or no more will."""
        self._over = True
        if whole:
            next(self._shown, None)
        else:
            self._shown.close()


# --- in the other process ---------------------------------------------------------------------------------------------------------------


def serve(descriptor: int) -> None:
    """Be one of the processes, on a connection to the one that started it."""
    os.dup2(2, 1)  # what a library prints is no result of the command
    here, orders = Connection(descriptor), SimpleQueue[bytes]()
    with suppress(Ended), told_to_end():
        threading.Thread(target=_listen, args=(here, orders), daemon=True).start()
        calls: Sequence[Call[Any]] = pickle.loads(orders.get())
        while order := orders.get():
            _perform(here, calls[pickle.loads(order)])


def _listen(here: Connection, orders: "SimpleQueue[bytes]") -> None:
    """Pass orders on; to end, by what a signal would do. Where the other process is gone, nobody is left to work for."""
    with suppress(EOFError, OSError):
        while True:
            order = here.recv_bytes()
            if order == _END:
                _thread.interrupt_main(signal.SIGTERM)
            orders.put(order)
    os._exit(1)


def _perform(here: Connection, call: Call[Any]) -> None:
    try:
        here.send(("returned", call(_Telling(here))))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        here.send(("raised", _sendable(error), "".join(traceback.format_exception(error))))


def _sendable(error: BaseException) -> BaseException:
    """The exception, or one that says the same where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Telling:
    """Progress of a call, which the other process shows."""

    def __init__(self, here: Connection) -> None:
        self._here = here
        self._numbers = itertools.count()
        self._next_note = 0.0

    def say(self, text: str) -> None:
        self._here.send(("say", text))

    def note(self, text: str) -> None:
        if (now := time.monotonic()) >= self._next_note:
            self._next_note = now + NOTE_SECONDS
            self._here.send(("note", text))

    def track(self, items: Iterable[Item], description: str, total: int | None = None, estimate: bool = True) -> Iterator[Item]:
        number, whole = next(self._numbers), False
        self._here.send(("track", number, description, total, estimate))
        try:
            for item in items:
                self._here.send(("item", number))
                yield item
            whole = True
        finally:
            self._here.send(("tracked", number, whole))

    def beside(self) -> Progress:
        return self
