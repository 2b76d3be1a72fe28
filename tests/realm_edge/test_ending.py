"""Commands that are told to end: nothing goes on running, nothing half-written stays, and the status says by what."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from realm_edge.app import cli
from realm_edge.errors import UserError
from realm_edge.interrupt import Ended, behind, interrupts_held_back, told_to_end

# A sweep of cells that sleep after they began to write; each notes its process.
SWEEP = """
import os, sys, time
from dataclasses import dataclass
from pathlib import Path
from realm_edge.evaluation.estimate import Part
from realm_edge.evaluation.workers import results
from realm_edge.files import replacing
from realm_edge.progress import Silent

@dataclass(frozen=True)
class Cell:
    out: Path
    at: int
    name = "cell"
    made_from = {}
    parts = (Part("cell"),)

    @property
    def path(self):
        return self.out / f"{self.at}.json"

    @property
    def folders(self):
        return (self.out,)

    def spent(self, result):
        return []

    def compute(self):
        with replacing(self.out / f"model{self.at}") as partial:
            partial.write_text("half")
            (self.out / f"pid{self.at}").write_text(str(os.getpid()))
            while time.sleep(0.05) or True:
                pass

def sweep(out, workers):
    results([Cell(Path(out), at) for at in range(3)], int(workers), Silent())
"""
COMMAND = """
import sys
from realm_edge.app import cli
from sweep import sweep

@cli.main.command(name="sweep")
def command():
    sweep(*sys.argv[2:])

if __name__ == "__main__":
    sys.exit(cli.main(["sweep"]))
"""


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Ended, whether or not anyone has asked for its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def started(folder: Path, workers: int) -> tuple[subprocess.Popen[str], list[int]]:
    """A sweep, in a process group of its own, once its workers are in the middle of their cells; and their processes."""
    (folder / "sweep.py").write_text(SWEEP)
    (folder / "command.py").write_text(COMMAND)
    (folder / "out").mkdir()
    root = Path(__file__).parents[2]
    command = [sys.executable, "command.py", "sweep", str(folder / "out"), str(workers)]
    paths = os.pathsep.join((str(root), str(folder)))
    parent = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    notes = [folder / "out" / f"pid{at}" for at in range(workers)]
    try:
        until(lambda: all(note.exists() and note.read_text() for note in notes))
    except AssertionError:
        os.killpg(parent.pid, signal.SIGKILL)
        raise
    return parent, [int(note.read_text()) for note in notes]


@pytest.fixture(autouse=True)
def _terminals_that_close_are_heard():
    """Where the tests run under nohup, too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_workers_and_leaves_nothing_half_written(tmp_path, number, group, workers):
    parent, children = started(tmp_path, workers)
    assert len(set(children)) == workers and len(list((tmp_path / "out").glob(".*.partial-*"))) == workers
    (os.killpg if group else os.kill)(parent.pid, number)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 128 + number
    named = "" if number == signal.SIGINT else f" by {number.name}"
    assert said == f"realm-edge: interrupted{named}: what is finished is kept, and the same command goes on from there\n"
    until(lambda: all(gone(pid) for pid in children), 5)
    assert not list((tmp_path / "out").glob(".*.partial-*"))


def test_workers_end_when_the_parent_is_killed(tmp_path):
    parent, children = started(tmp_path, 2)
    parent.kill()
    parent.wait(10)
    until(lambda: all(gone(pid) for pid in children), 10)
    assert list((tmp_path / "out").glob(".*.partial-*"))  # nobody was left to remove them
    for at in range(2):
        (tmp_path / "out" / f"pid{at}").unlink()
    again = subprocess.Popen(
        [sys.executable, "command.py", "sweep", "out", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[2]), str(tmp_path)))},
        start_new_session=True,
    )
    try:
        until((tmp_path / "out" / "pid0").exists)
        assert [path.name for path in (tmp_path / "out").glob(".*.partial-*")] == [f".model0.partial-{again.pid}"]
    finally:
        again.kill()
        again.wait(10)


def test_the_first_signal_alone_raises():
    with pytest.raises(Ended) as ended, told_to_end():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)  # while cleaning up
    assert ended.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_while_a_module_in_c_is_loaded_is_no_bug(monkeypatch, capsys):
    """Such a module makes an ImportError of it, and a library may make a UserError of that."""

    def command(kind: type[Exception]) -> None:
        try:
            try:
                raise Ended(signal.SIGTERM)
            except KeyboardInterrupt as interrupt:
                raise ImportError("initialization failed") from interrupt
        except ImportError as error:
            raise kind("not installed") from error

    for kind in (ImportError, UserError):
        monkeypatch.setattr(click.Group, "invoke", lambda self, ctx, kind=kind: command(kind))
        with pytest.raises(SystemExit) as ended:
            cli.main(["doctor"])
        assert ended.value.code == 143
        assert capsys.readouterr().err == (
            "realm-edge: interrupted by SIGTERM: what is finished is kept, and the same command goes on from there\n"
        )
    assert behind(ImportError("no such module")) is None


def test_what_is_held_back_is_raised_at_the_end_as_what_it_was():
    for number, expected in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Ended), (signal.SIGHUP, Ended)):
        finished = False
        with pytest.raises(KeyboardInterrupt) as raised, interrupts_held_back() as came:
            assert not came()
            os.kill(os.getpid(), number)
            assert came()
            finished = True
            raise KeyboardInterrupt  # as the fit loop does at the end of a step
        assert finished and type(raised.value) is expected
        assert getattr(raised.value, "number", signal.SIGINT) == number


def test_nohup_stays_in_force():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with told_to_end(), interrupts_held_back() as came:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not came()
    finally:
        signal.signal(signal.SIGHUP, before)
