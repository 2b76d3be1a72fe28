"""Progress on stderr: bars on a terminal, one line a task elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from realm_edge.printable import printable

Item = TypeVar("Item")


class Progress(Protocol):
    """What a stage may tell the user while it works."""

    def say(self, text: str) -> None:
        """Tell one thing."""
        ...

    def track(self, items: Iterable[Item], description: str, total: int | None = None, estimate: bool = True) -> Iterator[Item]:
        """Pass ``items`` through and show how many of ``total`` are done, and with ``estimate`` the time left, as if they were alike."""
        ...

    def note(self, text: str) -> None:
        """Show a few words beside what is tracked, in place of those before."""
        ...


class Silent:
    """Says nothing: for tests and library use."""

    def say(self, text: str) -> None:
        pass

    def track(self, items: Iterable[Item], description: str, total: int | None = None, estimate: bool = True) -> Iterator[Item]:
        yield from items

    def note(self, text: str) -> None:
        pass


class Terminal:
    """Writes to stderr, so that stdout stays clean for ``--json``."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars: RichProgress | None = None

    def say(self, text: str) -> None:
        self._console.print(printable(text), markup=False, soft_wrap=True)  # a line is for the terminal, or the log, to break

    def track(self, items: Iterable[Item], description: str, total: int | None = None, estimate: bool = True) -> Iterator[Item]:
        if not sys.stderr.isatty():
            start = time.monotonic()
            yield from items
            self.say(f"  {description}: {time.monotonic() - start:.1f} s")
            return
        shown, note = TextColumn("  {task.description}", markup=False), TextColumn("{task.fields[note]}", markup=False)
        left = [TimeRemainingColumn()] if estimate else []
        with RichProgress(shown, BarColumn(), MofNCompleteColumn(), *left, note, console=self._console, transient=True) as self._bars:
            task = self._bars.add_task(description, total=total, note="")
            yield from self._bars.track(items, task_id=task, total=total)

    def note(self, text: str) -> None:
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[-1], note=printable(text))
