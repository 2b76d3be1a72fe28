"""Signals that end a command: Ctrl-C, and what batch systems, torchrun and a terminal that closes send."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], None]


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: what cleans up after Ctrl-C does so after this too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def told_to_end() -> Iterator[None]:
    """Raise on SIGTERM and SIGHUP, on the first of them alone, so that no second one cuts the cleaning up short.

    Raises:
        Ended: one came.
    """
    came: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if not came:
            came.append(number)
            raise Ended(number)

    with _handled((signal.SIGTERM, signal.SIGHUP), end):
        yield


def behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The signal that an exception comes from; None where none came. A module in C that is being loaded makes an ImportError of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def interrupts_held_back() -> Iterator[Callable[[], bool]]:
    """Hold the signals back; yields a function that says whether one came. A second one interrupts at once.

    Raises:
        KeyboardInterrupt: at the end of the block, when one came; :class:`Ended` when it was not Ctrl-C.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:
            raise _exception(number)
        came.append(number)

    with _handled(ENDING, note):
        try:
            yield lambda: bool(came)
        except KeyboardInterrupt:
            if not came:
                raise
    if came:
        raise _exception(came[0])


def _exception(number: int) -> KeyboardInterrupt:
    return KeyboardInterrupt() if number == signal.SIGINT else Ended(number)


@contextmanager
def _handled(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    """Handle signals within the block, but for those that are ignored (nohup). Outside the main thread, which alone gets them, none is."""
    here = threading.current_thread() is threading.main_thread()
    wanted = [number for number in numbers if here and signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
