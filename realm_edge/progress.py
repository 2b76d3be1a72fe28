"""Progress on stderr: bars on a terminal, one line a task elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

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

    def beside(self) -> "Progress":
        """The progress of what goes on at the same time: what it tracks is shown together with the rest, and its notes are its own."""
        ...


class Silent:
    """Says nothing: for tests and library use."""

    def say(self, text: str) -> None:
        pass

    def track(self, items: Iterable[Item], description: str, total: int | None = None, estimate: bool = True) -> Iterator[Item]:
        yield from items

    def note(self, text: str) -> None:
        pass

    def beside(self) -> Progress:
        return self


class Terminal:
    """Writes to stderr, so that stdout stays clean for ``--json``."""

    def __init__(self, display: "_Display | None" = None) -> None:
        self._display = display or _Display(Console(stderr=True, highlight=False))
        self._tasks: list[TaskID] = []  # of this progress, the innermost last

    def say(self, text: str) -> None:
        self._display.console.print(printable(text), markup=False, soft_wrap=True)  # a line is for the terminal, or the log, to break

    def track(self, items: Iterable[Item], description: str, total: int | None = None, estimate: bool = True) -> Iterator[Item]:
        if not sys.stderr.isatty():
            start = time.monotonic()
            yield from items
            self.say(f"  {description}: {time.monotonic() - start:.1f} s")
            return
        with self._display.shown() as bars:
            task = bars.add_task(description, total=total, note="", estimate=estimate)
            self._tasks.append(task)
            try:
                yield from bars.track(items, task_id=task, total=total)
            finally:
                self._tasks.remove(task)
                bars.remove_task(task)

    def note(self, text: str) -> None:
        if self._tasks and self._display.bars is not None:
            self._display.bars.update(self._tasks[-1], note=printable(text))

    def beside(self) -> Progress:
        return Terminal(self._display)


class _Display:
    """The bars of all that goes on; they are there while one of them is."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars: RichProgress | None = None

    @contextmanager
    def shown(self) -> Iterator[RichProgress]:
        if self.bars is None:
            text, note = TextColumn("  {task.description}", markup=False), TextColumn("{task.fields[note]}", markup=False)
            self.bars = RichProgress(text, BarColumn(), MofNCompleteColumn(), _Left(), note, console=self.console, transient=True)
            self.bars.start()
        bars = self.bars
        try:
            yield bars
        finally:
            if not bars.tasks and bars is self.bars:
                self.bars = None
                bars.stop()


class _Left(TimeRemainingColumn):
    """The time left, of the tasks whose items are alike."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["estimate"] else Text()
