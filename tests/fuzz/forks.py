"""One call in a forked child: what came of it, whatever it was."""

import os
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from realm_edge.apart import MEMORY_BYTES
from realm_edge.errors import UserError

HANG_S = 30.0
_SHOWN = 2000  # characters of a traceback


@dataclass(frozen=True)
class Outcome:
    """``kind``: "accepted", "refused", "memory", "hang", "signal" or "raised"."""

    kind: str
    text: str = ""  # the message, the traceback or the signal's name


def tried(use: Callable[[], object]) -> Outcome:
    """Call ``use`` with the limits of time and memory that the product has for files of strangers."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        _answer(use, writes)
        os._exit(0)
    os.close(writes)
    answer, until = b"", time.monotonic() + HANG_S
    with os.fdopen(reads, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return Outcome("hang")
            part = pipe.read(1 << 16)
            if not part:
                break
            answer += part
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Outcome("signal", signal.Signals(os.WTERMSIG(status)).name)
    kind, _, text = answer.decode(errors="replace").partition("\n")
    return Outcome(kind or "raised", text)


def _answer(use: Callable[[], object], pipe: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    try:
        use()
        answer = "accepted\n"
    except UserError as error:
        answer = f"refused\n{error}"
    except MemoryError:
        answer = "memory\n"
    except BaseException:
        answer = "raised\n" + traceback.format_exc()[-_SHOWN:]
    os.write(pipe, answer.encode(errors="replace"))
