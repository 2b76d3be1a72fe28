"""Calls in forked children: what came of each, whatever it was."""

import json
import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from realm_edge.apart import MEMORY_BYTES
from realm_edge.errors import UserError

HANG_S = 30.0
_BATCH = 100  # calls of a child, if none ends it
_SHOWN = 2000  # characters of a traceback


@dataclass(frozen=True)
class Outcome:
    """``kind``: "accepted", "refused", "memory", "hang", "signal" or "raised"."""

    kind: str
    text: str = ""  # the message, the traceback or the signal's name


def outcomes(numbers: Iterable[int], attempt: Callable[[int], object]) -> Iterator[tuple[int, Outcome]]:
    """``attempt`` of each number, with the limits of time and memory that the product has for files of strangers."""
    numbers = iter(numbers)
    while batch := list(islice(numbers, _BATCH)):
        while batch:
            for number, outcome in _of_a_child(batch, attempt):
                batch.remove(number)
                yield number, outcome


def _of_a_child(batch: Sequence[int], attempt: Callable[[int], object]) -> Iterator[tuple[int, Outcome]]:
    """Outcomes up to the one that ended the child."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        _answer(batch, attempt, writes)
        os._exit(0)
    os.close(writes)
    left = list(batch)
    with os.fdopen(reads, "rb", buffering=0) as pipe:
        for line in _lines(pipe.fileno()):
            if line is None:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                yield left[0], Outcome("hang")
                return
            number, kind, text = json.loads(line)
            left.remove(number)
            yield number, Outcome(kind, text)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        yield left[0], Outcome("signal", signal.Signals(os.WTERMSIG(status)).name)


def _lines(pipe: int) -> Iterator[bytes | None]:
    """Lines as they come; None, and the end, where none comes for too long."""
    held, until = b"", time.monotonic() + HANG_S
    while True:
        while b"\n" in held:
            line, _, held = held.partition(b"\n")
            yield line
            until = time.monotonic() + HANG_S
        ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            yield None
            return
        part = os.read(pipe, 1 << 16)
        if not part:
            return
        held += part


def _answer(batch: Sequence[int], attempt: Callable[[int], object], pipe: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    for number in batch:
        kind, text = _outcome(attempt, number)
        os.write(pipe, (json.dumps([number, kind, text]) + "\n").encode())
        if kind == "memory":
            return


def _outcome(attempt: Callable[[int], object], number: int) -> tuple[str, str]:
    try:
        attempt(number)
        return "accepted", ""
    except UserError as error:
        return "refused", str(error)[:_SHOWN]
    except MemoryError:
        return "memory", ""
    except BaseException:
        return "raised", traceback.format_exc()[-_SHOWN:]
