"""Two commands on one run: the second is told who is there; what ended, however it ended, is in nobody's way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from realm_edge.app import cli
from realm_edge.app.lock import LOCK, held
from realm_edge.app.rundir import RunDir
from realm_edge.app.workflow import opened
from realm_edge.errors import UserError
from realm_edge.settings import Settings

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from realm_edge.app.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait(10)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return RunDir.create(tmp_path / "run", Settings()).path


@pytest.mark.parametrize(
    "command",
    [
        ["data"], ["data", "--fresh"], ["train"], ["export"], ["quantize"], ["compile"], ["simulate"], ["report"], ["baselines"],
        ["verify"], ["run"], ["run", "--fresh"], ["evaluate"], ["study", "noise"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_second_command_says_at_once_who_is_there(out, command):
    before = sorted(out.rglob("*"))
    with holder(out) as first:
        began = time.monotonic()
        result = invoke(*command, "--out", out)
        assert time.monotonic() - began < 20
        assert result.exit_code == 2 and result.stdout == ""
        line = result.stderr.splitlines()[-1]
        assert line.startswith(f"realm-edge: error: {out}: process {first.pid} (realm-edge {out}, since {time.strftime('%Y-')}")
        assert line.endswith("is writing there: wait until it has ended, or name another --out")
        assert sorted(set(out.rglob("*")) - {out / LOCK}) == sorted(set(before) - {out / LOCK})  # --fresh has removed nothing


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_dead_process_is_free(out, number):
    with holder(out) as first:
        os.kill(first.pid, number)
        first.wait(10)
        with held(out):
            pass
    assert (out / LOCK).read_bytes() == b""


def test_it_is_let_go_of_after_failures_too(out):
    for _ in range(2):
        result = invoke("train", "--out", out)
        assert result.exit_code == 2 and "stage 'data' is missing" in result.stderr
    with pytest.raises(ZeroDivisionError), held(out):
        1 / 0  # noqa: B018
    with held(out), pytest.raises(UserError, match=f"process {os.getpid()}"), held(out):
        pass
    assert (out / LOCK).read_bytes() == b""


def test_of_processes_that_train_together_one_holds_it(out):
    with opened(out), opened(out, leads=False) as second:
        assert second.settings == Settings()
        with pytest.raises(UserError, match="is writing there"), opened(out):
            pass


def test_reading_needs_no_lock(out):
    with holder(out):
        assert RunDir.open(out).performed() == ()


def test_what_is_no_run_gets_no_lock(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    for command in ("train", "run", "data"):
        result = invoke(command, "--out", tmp_path)
        assert result.exit_code == 2 and "not a run directory" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    assert invoke("train", "--out", tmp_path / "none").exit_code == 2 and not (tmp_path / "none").exists()


def test_a_note_that_nobody_can_read_is_no_trouble(out):
    with holder(out):
        (out / LOCK).write_text("{")
        with pytest.raises(UserError, match="another process is writing there"), held(out):
            pass


def test_a_lock_that_was_removed_by_hand_is_made_anew(out):
    with held(out):
        (out / LOCK).unlink()
        with held(out):
            assert str(os.getpid()) in (out / LOCK).read_text()


def test_fresh_removes_all_but_the_lock(out):
    (out / "data").mkdir()
    (out / "data" / "session.npz").write_text("x")
    with held(out):
        RunDir.erase(out)
        assert [path.name for path in out.iterdir()] == [LOCK]
        assert RunDir.create(out, Settings(seed=3)).settings.seed == 3


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("gone")])
def test_what_is_no_lock_is_named(tmp_path, make):
    make(tmp_path / LOCK)
    with pytest.raises(UserError, match=rf"{LOCK}: no regular file: remove it, nothing is lost with it"), held(tmp_path):
        pass


def test_what_a_lock_leads_to_is_not_emptied(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="no regular file"), held(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
