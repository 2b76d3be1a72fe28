"""Computes result files one after another or in several processes, and reads those that are there."""

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Protocol

from realm_edge.errors import UserError
from realm_edge.files import leftovers, read_json, write_json
from realm_edge.progress import Progress

Result = dict[str, Any]  # one result file


class Work(Protocol):
    """What one result file needs; it is sent to other processes."""

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

    def compute(self) -> Result:
        """The content of the result file, but for ``made_from``."""


_cells: Sequence[Work] = ()  # of a worker process


def results(cells: Sequence[Work], workers: int, progress: Progress) -> list[Result]:
    """Compute the cells that have no result file yet; the order of the results is that of ``cells``.

    Interrupted and started again, it goes on with the cells that are missing; what is pretrained goes on after its last epoch.

    Args:
        workers: processes; with 1 there is none beside this one. The results do not depend on it.

    Raises:
        UserError: a cell cannot be computed, or its result was made with other settings or recordings.
    """
    found = [_read(cell) for cell in cells]
    missing = [index for index, result in enumerate(found) if result is None]
    progress.say(f"{len(cells)} cells, {len(cells) - len(missing)} of them done")
    start = time.monotonic()
    todo = [cells[index] for index in missing]
    computed = _in_processes(todo, workers) if min(workers, len(todo)) > 1 else ((at, _write(cell)) for at, cell in enumerate(todo))
    for count, (at, result) in enumerate(progress.track(computed, "decoders", total=len(todo)), 1):
        found[missing[at]] = result
        left = (time.monotonic() - start) / count * (len(todo) - count)
        progress.say(f"  {count}/{len(todo)} {todo[at].name}, about {left:.0f} s left")
    return [result for result in found if result is not None]


def _in_processes(cells: Sequence[Work], workers: int) -> Iterator[tuple[int, Result]]:
    workers = min(workers, len(cells))
    spawn = multiprocessing.get_context("spawn")  # forking after torch has started threads can hang
    # The sessions travel once a worker, not once a cell, and in the background: as arguments they would make workers start in turn.
    sent = spawn.Queue()
    sent.cancel_join_thread()
    for _ in range(workers):
        sent.put(cells)
    pool = ProcessPoolExecutor(workers, spawn, initializer=_start, initargs=(sent,))
    others = set(multiprocessing.active_children())
    try:
        with _no_interrupt():
            futures = {pool.submit(_compute, at): at for at in range(len(cells))}
        for future in as_completed(futures):
            yield futures[future], future.result()
        pool.shutdown()
    except BaseException:  # Ctrl-C too: what waits is dropped, what runs is ended
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        pool.shutdown(cancel_futures=True)  # waits for the pool's thread, which alone reaps them: two that wait for one child race
        for folder in {folder for cell in cells for folder in cell.folders}:
            for half_written in leftovers(folder):
                half_written.unlink()
        raise


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold Ctrl-C back while workers start. They inherit the mask: of Ctrl-C, which reaches the whole group, only this process hears."""
    waiting: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))  # threads that torch started do not have the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if waiting:
        raise KeyboardInterrupt


def _start(sent: "Queue[Sequence[Work]]") -> None:
    global _cells
    _cells = sent.get()


def _compute(at: int) -> Result:
    return _write(_cells[at])


def _write(work: Work) -> Result:
    result = {"made_from": work.made_from, **work.compute()}
    write_json(work.path, result)
    return result


def _read(work: Work) -> Result | None:
    if not work.path.exists():
        return None
    result = read_json(work.path)
    if not isinstance(result, dict) or result.get("made_from") != work.made_from:
        raise UserError(f"{work.path}: made with other settings or recordings, or by another version: name another --out, or remove it")
    return result
