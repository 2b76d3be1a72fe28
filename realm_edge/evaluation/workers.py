"""Computes cells one after another or in several processes, and reads those that are there."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from realm_edge.evaluation.cells import Cell, Result, compute, read
from realm_edge.progress import Progress

_cells: Sequence[Cell] = ()  # of a worker process


def results(cells: Sequence[Cell], workers: int, progress: Progress) -> list[Result]:
    """Compute the cells that have no result file yet; the order of the results is that of ``cells``.

    Interrupted and started again, it goes on with the cells that are missing; what is pretrained goes on after its last epoch.

    Args:
        workers: processes; with 1 there is none beside this one. The results do not depend on it.

    Raises:
        UserError: a cell cannot be computed, or its result was made with other settings or recordings.
    """
    found = [read(cell) for cell in cells]
    missing = [index for index, result in enumerate(found) if result is None]
    progress.say(f"{len(cells)} cells, {len(cells) - len(missing)} of them done")
    start = time.monotonic()
    todo = [cells[index] for index in missing]
    computed = _in_processes(todo, workers) if min(workers, len(todo)) > 1 else ((at, compute(cell)) for at, cell in enumerate(todo))
    for count, (at, result) in enumerate(progress.track(computed, "decoders", total=len(todo)), 1):
        found[missing[at]] = result
        left = (time.monotonic() - start) / count * (len(todo) - count)
        progress.say(f"  {count}/{len(todo)} {todo[at].name}, about {left:.0f} s left")
    return [result for result in found if result is not None]


def _in_processes(cells: Sequence[Cell], workers: int) -> Iterator[tuple[int, Result]]:
    # Forking after torch has started threads can hang. The sessions travel once a worker, not once a cell.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(cells)), spawn, initializer=_start, initargs=(cells,))
    try:
        futures = {pool.submit(_compute, at): at for at in range(len(cells))}
        for future in as_completed(futures):
            yield futures[future], future.result()
        pool.shutdown()
    except BaseException:  # Ctrl-C too: what waits is dropped, what runs ends as if it had been interrupted itself
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise


def _start(cells: Sequence[Cell]) -> None:
    global _cells
    _cells = cells
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent alone decides


def _compute(at: int) -> Result:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # half-written files are removed on the way out
    try:
        return compute(_cells[at])
    except KeyboardInterrupt:
        os._exit(130)  # or the pool would begin with the next cell
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
