"""Whole runs that are ended at random moments: the same command goes on, and comes to the bytes of the run that nobody ended.

``./start test -m slow tests/test_kills.py -s`` prints the table that docs/faults.md shows.
"""

import os
import random
import select
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.forked_cli import Forked, Server, serving
from tests.small_run import arguments, content, half_written, needs_emulator, write_inputs

pytestmark = pytest.mark.slow
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOMENTS = 20
_random = random.Random(11)
SHARES = [_random.uniform(0.0, 0.97) for _ in range(MOMENTS)]  # of the time that the run takes


@dataclass(frozen=True)
class Whole:
    """The run that nobody ended."""

    inputs: Path
    content: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    needs_emulator()
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    write_inputs(folder)
    _begin(server, folder, folder).wait()  # the first call of QEMU, and what it caches
    start = time.monotonic()
    (folder / "again").mkdir()
    status = _begin(server, folder, folder / "again").wait()
    assert status == 0, (folder / "again" / "log").read_text()
    made = [content(place / "run") for place in (folder, folder / "again")]
    assert made[0] == made[1]
    return Whole(folder, made[0], time.monotonic() - start)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    rows = ["", "| moment | stage | signal | status | resumed | equal |", "|---|---|---|---|---|---|"]
    yield rows
    print("\n".join(rows))


def _begin(server: Server, inputs: Path, folder: Path) -> Forked:
    """All share a cache: with none, compilers take longer than the run, and most moments lie before its first stage."""
    return server.start(arguments(inputs, folder / "run"), folder / "log", {"XDG_CACHE_HOME": str(inputs / "cache")})


def _ended(server: Server, inputs: Path, folder: Path, number: signal.Signals, seconds: float) -> int:
    """Begin the run and send it a signal after that time; its exit status. Ctrl-C reaches the whole group."""
    run = _begin(server, inputs, folder)
    if not select.select([run.answers], [], [], seconds)[0]:
        (os.killpg if number == signal.SIGINT else os.kill)(run.pid, number)
    return run.wait()


def _stage(log: Path) -> str:
    begun = [line for line in log.read_text().splitlines() if line.startswith("[")] if log.exists() else []
    return begun[-1].partition("]")[0][1:] if begun else "start"


@pytest.mark.parametrize("at", range(MOMENTS))
def test_a_run_that_is_ended_goes_on_to_the_same_bytes(server: Server, whole: Whole, table: list[str], tmp_path: Path, at: int) -> None:
    number, seconds = SIGNALS[at % len(SIGNALS)], SHARES[at] * whole.seconds
    while (status := _ended(server, whole.inputs, tmp_path, number, seconds)) == 0:  # it was over before: the machine is less busy now
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        seconds *= 0.7
    assert status == (-number if number == signal.SIGKILL else 128 + number), (tmp_path / "log").read_text()
    stage = _stage(tmp_path / "log")
    if number != signal.SIGKILL:
        assert half_written(tmp_path, whole.inputs) == []
    resumed = _begin(server, whole.inputs, tmp_path).wait()
    equal = content(tmp_path / "run") == whole.content
    table.append(
        f"| {seconds:.1f} s of {whole.seconds:.1f} s | {stage} | {number.name} | {status} | {'yes' if resumed == 0 else resumed} "
        f"| {'yes' if equal else 'NO'} |"
    )
    assert resumed == 0, (tmp_path / "log").read_text()
    assert equal and half_written(tmp_path, whole.inputs) == []
    assert not (tmp_path / "run" / "train.partial").exists()
