"""Computes result files one after another or in several processes, and reads those that are there."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Protocol, TypeVar

from realm_edge.documents import Form, formed, jsonable
from realm_edge.errors import UserError
from realm_edge.evaluation.estimate import Pace, Part, Parts, seconds_left
from realm_edge.files import read_json, remove_leftovers, write_json
from realm_edge.interrupt import ENDING, interrupts_held_back
from realm_edge.progress import Progress
from realm_edge.seal import KEY, is_intact, sealed

Result = TypeVar("Result", bound=Form)  # one result file, but for what it was made from


class Work(Protocol[Result]):
    """What one result file needs; it is sent to other processes."""

    @property
    def kind(self) -> type[Result]: ...

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path:
        """The result file."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where computing it writes."""

    @property
    def made_from(self) -> dict[str, Any]:
        """All that decides the result."""

    @property
    def parts(self) -> Parts:
        """What computing it consists of."""

    def spent(self, result: Result) -> Sequence[tuple[Part, float]]:
        """The seconds that parts took, as far as the result says."""

    def compute(self) -> Result:
        """Do it."""


_cells: Sequence[Work[Any]] = ()  # of a worker process


def results(cells: Sequence[Work[Result]], workers: int, progress: Progress) -> list[Result]:
    """Compute the cells that have no result file yet; the order of the results is that of ``cells``.

    Interrupted and started again, it goes on with the cells that are missing; what is pretrained goes on after its last epoch.

    Args:
        workers: processes; with 1 there is none beside this one. The results do not depend on it.

    Raises:
        UserError: a cell cannot be computed, or its result was made with other settings or recordings.
    """
    _remove_half_written(cells)
    found = [_read(cell) for cell in cells]
    missing = [index for index, result in enumerate(found) if result is None]
    progress.say(f"{len(cells)} cells, {len(cells) - len(missing)} of them done")
    todo = [cells[index] for index in missing]
    workers = min(workers, len(todo))
    computed = _in_processes(todo, workers) if workers > 1 else ((at, _write(cell)) for at, cell in enumerate(todo))
    began = dict.fromkeys(range(workers), time.monotonic())
    for count, (at, result) in enumerate(progress.track(computed, "decoders", total=len(todo), estimate=False), 1):
        found[missing[at]] = result
        now = time.monotonic()
        undone = [index for index, where in enumerate(missing) if found[where] is None]
        running = [(todo[index], now - began.setdefault(index, now)) for index in undone[:workers]]  # workers take them in their order
        left = _left(cells, found, running, [todo[index] for index in undone[workers:]])
        progress.say(f"  {count}/{len(todo)} {todo[at].name}, about {left:.0f} s left")
    return [result for result in found if result is not None]


def _left(
    cells: Sequence[Work[Result]],
    found: Sequence[Result | None],
    running: Sequence[tuple[Work[Result], float]],
    waiting: Sequence[Work[Result]],
) -> float:
    done = [(cell, result) for cell, result in zip(cells, found, strict=True) if result is not None]
    ready = {part.once for cell, _ in done for part in cell.parts if part.once is not None}
    pace = Pace.of(spent for cell, result in done for spent in cell.spent(result))
    return seconds_left([(cell.parts, elapsed) for cell, elapsed in running], [cell.parts for cell in waiting], ready, pace)


def _in_processes(cells: Sequence[Work[Result]], workers: int) -> Iterator[tuple[int, Result]]:
    workers = min(workers, len(cells))
    spawn = multiprocessing.get_context("spawn")  # forking after torch has started threads can hang
    # The sessions travel once a worker, not once a cell, and in the background: as arguments they would make workers start in turn.
    with _blocked():  # the first queue starts the process that tracks semaphores, and a terminal that closes would end it first
        sent = spawn.Queue()
    sent.cancel_join_thread()
    for _ in range(workers):
        sent.put(cells)
    pool = ProcessPoolExecutor(workers, spawn, initializer=_start, initargs=(sent,))
    others = set(multiprocessing.active_children())
    try:
        with interrupts_held_back(), _blocked():
            futures = {pool.submit(_compute, at): at for at in range(len(cells))}
        for future in as_completed(futures):
            yield futures[future], future.result()
        pool.shutdown()
    except BaseException:  # Ctrl-C and SIGTERM too: what waits is dropped, what runs is ended
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        pool.shutdown(cancel_futures=True)  # waits for the pool's thread, which alone reaps them: two that wait for one child race
        _remove_half_written(cells)
        raise


def _remove_half_written(cells: Sequence[Work[Any]]) -> None:
    for folder in {folder for cell in cells for folder in cell.folders}:
        remove_leftovers(folder)


@contextmanager
def _blocked() -> Iterator[None]:
    """Start processes that do not hear the signals, which reach the whole group: they inherit the mask, and this process ends them."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _start(sent: "Queue[Sequence[Work[Any]]]") -> None:
    global _cells
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _cells = sent.get()


def _end_with_parent() -> None:
    """However it ends: killed, it can tell nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _compute(at: int) -> Any:
    return _write(_cells[at])


def _write(work: Work[Result]) -> Result:
    result = work.compute()
    write_json(work.path, sealed({"made_from": work.made_from, **jsonable(result)}))
    return result


def _read(work: Work[Result]) -> Result | None:
    if not work.path.exists():
        return None
    result, again = read_json(work.path), "remove it, and the same command computes it again"
    if not isinstance(result, dict) or result.get("made_from") != work.made_from:
        raise UserError(f"{work.path}: made with other settings or recordings, or by another version: name another --out, or remove it")
    if not is_intact(result):
        raise UserError(f"{work.path}: changed since it was written: {again}")
    return formed(work.kind, {key: value for key, value in result.items() if key not in ("made_from", KEY)}, work.path, again)
