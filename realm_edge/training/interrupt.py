"""Ctrl-C in the middle of training: the step is finished and saved first."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_held_back() -> Iterator[Callable[[], bool]]:
    """Hold back SIGINT (Ctrl-C) and SIGTERM (batch systems, torchrun); yields a function that says whether one came.

    A second one interrupts at once. Outside the main thread, which alone gets signals, nothing is held back.

    Raises:
        KeyboardInterrupt: at the end of the block, when one came.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)} if here else {}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
